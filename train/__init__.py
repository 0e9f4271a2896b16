"""Trains the nine-layer Keras CNN on digits, or on any small labeled images."""

from runtime.system import interrupt

interrupt.install_for(__name__)
