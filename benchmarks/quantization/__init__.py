"""Explains the errors of an int8 artifact: their sources, its layers, and a lint of its graph."""
