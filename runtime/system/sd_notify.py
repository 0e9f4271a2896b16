"""Tells systemd how a service is: ready, alive, stopping (the protocol of sd_notify(3))."""

import os
import socket
from contextlib import suppress


def notify(state: str) -> bool:
    """Send `state`, such as "READY=1" or "WATCHDOG=1", to the service manager.

    Returns:
        False where no manager listens (`NOTIFY_SOCKET` is not set) or it is gone: a service goes
        on without it.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]  # Linux's abstract sockets begin with a zero byte
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.sendto(state.encode(), address)
        return True
    return False


def watchdog_interval_s() -> float | None:
    """How often to send "WATCHDOG=1": half of what systemd waits; None where it does not watch."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None  # set for the parent; what it started inherits the variable only
    try:
        microseconds = int(os.environ.get("WATCHDOG_USEC", ""))
    except ValueError:
        return None
    return microseconds / 2e6 if microseconds > 0 else None
