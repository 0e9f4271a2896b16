"""Compares the predictions of artifacts with those of Keras: `digit-edge benchmark-parity`."""
