"""Loads labeled images: downloads MNIST, and reads, validates and splits data sets.

`digit-edge train`, `digit-edge export` and the benchmarks call `train.data.load.load`.
"""
