"""Varies training images: geometric augmentation, and corruption such as noise and blur."""
