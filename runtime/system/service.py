"""ServiceLifecycle: SIGTERM, and systemd's notifications and watchdog."""

import signal
import threading
import time
from types import FrameType, TracebackType

from runtime.system import interrupt
from runtime.system.sd_notify import notify, watchdog_interval_s


class ServiceLifecycle:
    """Used as a context on the main thread: SIGTERM ends it in good order, `stopping` says so.

    Ctrl-C raises KeyboardInterrupt in `heartbeat` and `wait`, and nowhere else.

    Call `heartbeat` in every round of work: the watchdog of systemd restarts a program that does
    not send heartbeats.
    """

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._interval = watchdog_interval_s()
        self._next = 0.0

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
        # What is left to do ends by itself: being told again to stop is no failure.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        notify("STOPPING=1")
        self._deferred.__exit__(kind, error, trace)

    @property
    def stopping(self) -> bool:
        """Whether to end now."""
        return self._stop.is_set()

    def ready(self, status: str) -> None:
        """Say once that work begins; `status` is shown by `systemctl status`."""
        notify(f"READY=1\nSTATUS={status}")

    def heartbeat(self) -> None:
        """Say that all is well, no more often than needed; raise KeyboardInterrupt at Ctrl-C."""
        interrupt.check()
        now = time.monotonic()
        if self._interval is not None and now >= self._next:
            notify("WATCHDOG=1")
            self._next = now + self._interval / 2

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until it is time to end; whether it is not."""
        end = time.monotonic() + seconds
        while not self._stop.is_set() and (left := end - time.monotonic()) > 0:
            self.heartbeat()
            with interrupt.immediate():
                self._stop.wait(min(left, 1.0 if self._interval is None else self._interval / 2))
        return not self._stop.is_set()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop.set()
