"""From an image file to the pixels that a model takes.

`pipeline` runs these steps, in this order:

    decode                  the file or array → luminance or color; `decode_cost` and
                            `decode_memory` reject images that would take too long or too much
                            memory; `fast_png` and `grayscale` are its parts
    background              light and paper removed
    connected_components    the ink as components
    segment                 which components are the digit (`segment_tiny`: of small pictures);
                            `ruled_lines` removes lines of the paper
    mnist_format            28 × 28 pixels, centered by mass
"""
