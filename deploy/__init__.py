"""Install the runtime on a Raspberry Pi: offline bundle, installer, services, emulated Pis."""

from runtime.system import interrupt

interrupt.install_for(__name__)
