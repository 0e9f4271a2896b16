"""Compares Keras, TFLite and ONNX on the same pixels: parity, latency, one report."""

from runtime import interrupt

interrupt.install_for(__name__)
