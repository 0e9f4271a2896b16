"""Benchmarks the Keras reference and its TFLite and ONNX artifacts: parity, latency, reports."""

from runtime.system import interrupt

interrupt.install_for(__name__)
