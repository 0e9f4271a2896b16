"""Test and measure the runtime on emulated Raspberry Pis: Debian packages in a folder, run by QEMU.

Needs neither root nor a disk image of a card. The command is `python -m deploy.emulation`.
"""
