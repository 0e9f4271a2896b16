"""How the runtime gets onto a Raspberry Pi: the installer, its services, and Pis to try them on."""

from runtime.system import interrupt

interrupt.install_for(__name__)
