"""Evaluates a trained classifier: accuracy, calibration, and the rejection of other images."""
