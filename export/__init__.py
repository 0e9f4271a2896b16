"""Turns a trained Keras model into TFLite and ONNX artefacts, float32 and int8."""
