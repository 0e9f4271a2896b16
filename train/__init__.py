"""Trains the nine-layer Keras CNN on digits, or on any small labelled images."""

from runtime import interrupt

interrupt.install_for(__name__)
