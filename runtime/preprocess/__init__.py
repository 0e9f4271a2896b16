"""From an image file to the pixels that a model takes.

`pipeline.preprocess` runs three steps:

    decode          the file or array → luminance, or a second time the most telling color
    segment         the ink of the digit: `background` removes light and paper, `ruled_lines`
                    the lines of the paper, `connected_components` finds the pieces to choose among;
                    `segment_tiny` does the same for small pictures in less time
    mnist_format    28 × 28 pixels, centered by mass

Images that are in MNIST's format already skip them. `decode_cost` and `decode_memory` estimate what
decoding would take; `decode` rejects images that are too expensive. `fast_png` and `grayscale` are
parts of `decode`. `runtime.multi_digit` builds on `background` and the parts below it.
"""
