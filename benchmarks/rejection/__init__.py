"""Measures out-of-distribution rejection: how well artifacts reject images that are not digits."""
