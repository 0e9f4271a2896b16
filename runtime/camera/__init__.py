"""The command `digit-edge camera`: report each digit that a camera sees.

`sources` yields the frames of a camera, a stream, a video or a folder. `run` classifies the frames.
`debounce` decides when a digit has appeared, and `run` then writes the digit to the outputs.
`preview` shows the frames in a window or, with `preview_server`, in browsers.
"""
