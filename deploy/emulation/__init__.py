"""Test and measure the runtime on emulated Raspberry Pis: Debian packages in a folder, run by QEMU.

The emulation needs neither root permissions nor the image of an SD card. The command is
`python -m deploy.emulation`; `make pi` and `make pi-page` run this command.
"""
