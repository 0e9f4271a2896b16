"""Emulated Raspberry Pis: Debian's packages in a folder, run by QEMU; no root, no card."""
