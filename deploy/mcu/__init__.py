"""Test and measure the C code of `digit-edge export-c` on microcontrollers that QEMU emulates.

Developers run it with `python -m deploy.mcu` or `make mcu`.
"""
