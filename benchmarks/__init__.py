"""Compares Keras, TFLite and ONNX on the same pixels: parity, latency, one report."""

from runtime.system import interrupt

interrupt.install_for(__name__)
