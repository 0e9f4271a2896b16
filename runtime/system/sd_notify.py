"""Notify systemd that a service is ready, alive or stopping: the protocol of sd_notify(3).

`runtime.system.service` uses it for `digit-edge watch` and `camera`, and `runtime.serve` for
`digit-edge serve`.
"""

import os
import socket
from contextlib import suppress


def notify(state: str) -> bool:
    """Send a state to the service manager, systemd.

    Args:
        state: assignments of sd_notify(3), one a line, such as "READY=1" or "WATCHDOG=1".

    Returns:
        True if the state was sent. False if there is no manager (`NOTIFY_SOCKET` is not set), or if
        the manager's socket does not accept the message.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]  # Linux: the name of an abstract socket begins with NUL
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.sendto(state.encode(), address)
        return True
    return False


def watchdog_interval_s() -> float | None:
    """Return the interval in seconds for sending "WATCHDOG=1": half of systemd's timeout.

    systemd restarts a service that sends nothing for the whole timeout (`WatchdogSec`).

    Returns:
        None if the unit has no watchdog, or if the watchdog is for another process.
    """
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None  # the watchdog is for the parent process, whose variables were inherited
    try:
        microseconds = int(os.environ.get("WATCHDOG_USEC", ""))
    except ValueError:
        return None
    return microseconds / 2e6 if microseconds > 0 else None
