"""Compares artifacts with the Keras model."""
