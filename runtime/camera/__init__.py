"""The command `digit-edge camera`: report each digit that a camera sees.

`sources` yields the frames of a camera, a stream, a video or a folder. `run` classifies them and
sends each digit that `debounce` confirms to the outputs. `preview` shows the frames in a window or,
with `preview_server`, in browsers.
"""
