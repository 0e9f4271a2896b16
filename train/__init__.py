"""Trains the nine-layer Keras CNN on MNIST digits or on other small labeled images."""

from runtime.system import interrupt

interrupt.install_for(__name__)
