"""The numbers of meters and displays: their regions in an image, their values and their checks.

`options` has the command-line options of `digit-edge watch`, `camera` and `serve`, `regions` the
parts of an image, `read_regions` what is read in them, and `plausibility` the comparison with the
last values.
"""
