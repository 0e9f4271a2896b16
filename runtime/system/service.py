"""`ServiceLifecycle`: stop at SIGTERM, and report to systemd that the service is alive.

The commands `digit-edge watch` and `digit-edge camera` run their main loop within it.
"""

import os
import select
import signal
import time
from contextlib import suppress
from types import FrameType, TracebackType

from runtime.system import interrupt
from runtime.system.sd_notify import notify, watchdog_interval_s


class ServiceLifecycle:
    """A context manager for the main thread of a service.

    After SIGTERM, `stopping` is True, and the service should finish its work and exit. Ctrl-C
    raises KeyboardInterrupt in `heartbeat`, in `wait` and at the end of the block only.

    Call `heartbeat` in each iteration of the main loop. If the unit file sets `WatchdogSec`,
    systemd restarts a service that sends no heartbeat for that time.
    """

    def __init__(self) -> None:
        self._stopping = False
        # The signal handler wakes `wait` with a byte. The handler must not take a lock, as
        # threading.Event does: the main thread, which the handler interrupts, may hold that lock.
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_writer, False)
        self._interval_s = watchdog_interval_s()
        self._next_s = 0.0

    def __enter__(self) -> "ServiceLifecycle":
        self._deferred = interrupt.deferred()
        self._deferred.__enter__()
        signal.signal(signal.SIGTERM, self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Shutdown is already in progress; ignore further SIGTERMs.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        notify("STOPPING=1")
        os.close(self._wake_reader)
        os.close(self._wake_writer)
        self._deferred.__exit__(kind, error, trace)

    @property
    def stopping(self) -> bool:
        """Whether SIGTERM was received; the service should then finish its work and exit."""
        return self._stopping

    def ready(self, status: str) -> None:
        """Notify systemd that the service is ready.

        Args:
            status: one line, which `systemctl status` shows.
        """
        notify(f"READY=1\nSTATUS={status}")

    def heartbeat(self) -> None:
        """Send systemd a heartbeat if the last one is old enough; do nothing without systemd.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
        """
        interrupt.check()
        now_s = time.monotonic()
        if self._interval_s is not None and now_s >= self._next_s:
            notify("WATCHDOG=1")
            self._next_s = now_s + self._interval_s / 2

    def wait(self, seconds: float) -> bool:
        """Wait and send heartbeats.

        Args:
            seconds: time to wait; 0 returns at once, without a heartbeat.

        Returns:
            False if SIGTERM was received, before or during the wait; otherwise True.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
        """
        end_s = time.monotonic() + seconds
        step_s = 1.0 if self._interval_s is None else self._interval_s / 2
        while not self._stopping and (remaining_s := end_s - time.monotonic()) > 0:
            self.heartbeat()
            with interrupt.immediate():
                select.select([self._wake_reader], [], [], min(remaining_s, step_s))
        return not self._stopping

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        with suppress(BlockingIOError):  # the pipe is full: `wait` is going to wake up
            os.write(self._wake_writer, b"\0")
