"""Exports a trained Keras model as TFLite and ONNX artifacts, float32 and int8.

An artifact is a model file with its spec inside. The commands are `digit-edge export`,
export-tflite, export-onnx, export-spec and export-web. Importing this package also installs the
handling of Ctrl-C.
"""

from runtime.system import interrupt

interrupt.install_for(__name__)
