"""Explains where an int8 model differs from its float model."""
