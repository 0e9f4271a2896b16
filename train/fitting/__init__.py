"""Fits a classifier to its training images: the steps, the teachers, and TensorBoard's log."""
