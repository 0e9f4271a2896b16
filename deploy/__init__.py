"""Install the runtime on a Raspberry Pi: offline bundle, installer, services, emulated Pis.

`deploy.bundle` makes the bundle. `deploy.emulation` tests the installation on emulated Pis.
Importing this package also installs the handling of Ctrl-C.
"""

from runtime.system import interrupt

interrupt.install_for(__name__)
