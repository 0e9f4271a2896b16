"""Loads labeled images: downloads MNIST, reads data sets, validates them and splits them.

`train.data.load` is the entry: `digit-edge train`, `digit-edge export` and the benchmarks call it.
"""
