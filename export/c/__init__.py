"""Export an int8 .tflite artifact as C99 code or for TensorFlow Lite Micro (TFLM).

`digit-edge export-c` uses this package. The exported code runs on microcontrollers and on other
devices without an inference engine.
"""
