"""Emulated microcontrollers: the C of `export.c`, proven and measured on each."""
