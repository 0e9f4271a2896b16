"""Classifies the images that arrive in a folder: `digit-edge watch`."""
