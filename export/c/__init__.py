"""An int8 .tflite artifact as C99 source: for microcontrollers and devices without an engine."""
