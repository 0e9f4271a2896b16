"""The command `digit-edge camera`: report each digit or number that a camera sees.

`sources` yields the frames of a camera, a stream, a video or a folder. `watch_digit` classifies
them, or `watch_numbers` reads them; `debounce` decides when a digit or number has appeared, and
`run` then writes it to the outputs.
`preview` shows the frames in a window or, with `preview_server`, in browsers.
"""
