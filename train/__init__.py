"""Trains the nine-layer Keras CNN on MNIST digits or on other small labeled images.

The command is `digit-edge train`. Importing this package also installs the handling of Ctrl-C.
"""

from runtime.system import interrupt

interrupt.install_for(__name__)
