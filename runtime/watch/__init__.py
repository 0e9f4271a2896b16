"""Classifies the images that arrive in a folder: `python -m runtime.watch`."""
