"""Convert an image file into the 28 × 28 pixels of one digit, the input of a model.

`pipeline.preprocess` runs three steps:

- `decode` reads a file or an array as luminance. If the luminance shows no ink, the first principal
  component of the colors is used.
- `segment` finds the digit's ink. `region` finds a sheet, a window or a drawn circle around it.
  `tight_crop` recognizes pictures without a margin. `background` subtracts the paper and uneven
  light. `ruled_lines` removes the lines of writing paper. `connected_components` labels the pieces
  of ink.
- `mnist_format` scales the ink to 28 × 28 pixels, centered by mass.

Images that are already in MNIST's format skip the last two steps.

For `decode`, `decode_cost` and `decode_memory` estimate time and memory, so that expensive images
are rejected. `fast_png` reads small PNG files, and `grayscale` converts colors.

`runtime.Classifier`, training and the benchmarks call `pipeline`. `runtime.multi_digit` reads
numbers of several digits with the modules of the second and third step.
"""
