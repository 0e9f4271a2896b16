"""Package data: the published artifacts, `digits*.tflite` and `digits*.onnx`.

The repository also contains their Keras reference, `digits.keras`, which the wheel does not.
"""
