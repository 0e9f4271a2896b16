"""Benchmark of out-of-distribution rejection: `digit-edge benchmark-rejection`.

It measures how well artifacts reject images that are not digits.
"""
