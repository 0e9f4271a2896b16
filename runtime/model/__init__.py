"""The model file: artifact, spec, rejection model, tolerance."""
