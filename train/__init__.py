"""Trains the nine-layer Keras CNN on digits, or on any small labelled images."""
