"""Turns an image file into the pixels of one digit that a model takes.

`pipeline.preprocess` runs three steps:

    decode          file or array → luminance; if no ink is found there, the first principal
                    component of the colors
    segment         the digit's ink: `background` subtracts uneven light and paper, `ruled_lines`
                    removes the lines of the paper, `connected_components` labels the pieces of
                    ink; `segment_tiny` does the same for small pictures in less time
    mnist_format    28 × 28 pixels, centered by mass

Images that are already in MNIST's format skip the last two steps. `decode_cost` and
`decode_memory` estimate the time and memory of decoding; `decode` rejects images that are too
expensive. `fast_png` reads small PNG files and `grayscale` converts colors, both for `decode`.
`runtime.multi_digit` reuses `background` and the modules that it calls.
"""
