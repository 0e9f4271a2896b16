"""Notify systemd that a service is ready, alive or stopping: the protocol of sd_notify(3).

Used by `runtime.system.service` for `watch` and `camera`, and by `runtime.serve`.
"""

import os
import socket
from contextlib import suppress


def notify(state: str) -> bool:
    """Send `state`, such as "READY=1" or "WATCHDOG=1", to the service manager.

    Returns:
        False if there is no manager (`NOTIFY_SOCKET` is not set) or it does not receive.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]  # an abstract socket of Linux, whose name begins with NUL
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.sendto(state.encode(), address)
        return True
    return False


def watchdog_interval_s() -> float | None:
    """Return the interval for "WATCHDOG=1", half of systemd's timeout; None without watchdog."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None  # the watchdog is for the parent process; this one inherited the variable
    try:
        microseconds = int(os.environ.get("WATCHDOG_USEC", ""))
    except ValueError:
        return None
    return microseconds / 2e6 if microseconds > 0 else None
