"""Trains the nine-layer Keras CNN on digits, or on any small labelled images."""

from runtime.system import interrupt

interrupt.install_for(__name__)
