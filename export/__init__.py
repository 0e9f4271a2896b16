"""Exports a trained Keras model as TFLite and ONNX artifacts, float32 and int8."""

from runtime.system import interrupt

interrupt.install_for(__name__)
