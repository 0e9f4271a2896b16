"""Classifies images with an exported digit model; needs NumPy, Pillow and one engine."""
