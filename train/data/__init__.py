"""Loads labeled images: downloads MNIST, reads data sets, validates them and splits them."""
