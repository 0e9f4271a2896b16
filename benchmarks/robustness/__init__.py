"""Benchmark of the accuracy on corrupted images: `digit-edge benchmark-robustness`."""
