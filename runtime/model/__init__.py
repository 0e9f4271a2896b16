"""The model file: artifact, spec, rejection model, and the tolerance of its parity."""
