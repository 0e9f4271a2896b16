"""The model file: its format, metadata and rejection model, and the tolerance of comparisons."""
