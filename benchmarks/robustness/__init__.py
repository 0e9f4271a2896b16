"""Measures accuracy on corrupted images."""
