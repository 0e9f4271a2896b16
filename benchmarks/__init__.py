"""Compares Keras, TFLite and ONNX on the same pixels: parity, latency, one report."""
