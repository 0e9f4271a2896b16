"""Compares the predictions of each artifact with those of the Keras reference."""
