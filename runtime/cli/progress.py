"""A progress line on the terminal."""

import time
from collections.abc import Callable
from typing import TextIO

# Work that is done by then has no need of it.
_AFTER_S = 1.0
_EVERY_S = 0.2
_BAR = 24


class Progress:
    """Draws `[####····]  1,234 of 10,000  2,345/s  0:04 left` on a stream, over itself.

    Args:
        stream: a terminal; None draws nothing.
        count: gives how many there are in all, or None where that is not known; asked once, when
            the line first appears.
    """

    def __init__(self, stream: TextIO | None, count: Callable[[], int | None]) -> None:
        self._stream, self._count = stream, count
        self._total: int | None = None
        self._began = time.monotonic()
        self._next = self._began + _AFTER_S
        self._shown = False
        self.done = 0

    def advance(self, done: int) -> None:
        """Count `done` more, and draw the line when it is time."""
        self.done += done
        now = time.monotonic()
        if self._stream is None or now < self._next:
            return
        if not self._shown:
            self._total = self._count()
        self._next = now + _EVERY_S
        self._shown = True
        self._stream.write("\r" + self._line(now) + "\x1b[K")
        self._stream.flush()

    def clear(self) -> None:
        """Take the line away, so that something else can be printed."""
        if self._stream is not None and self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _line(self, now: float) -> str:
        rate = self.done / (now - self._began)
        if not self._total:
            return f"{self.done:,} images  {rate:,.0f}/s"
        filled = min(_BAR * self.done // self._total, _BAR)
        left = round(max(self._total - self.done, 0) / rate) if rate else 0
        return (
            f"[{'#' * filled:·<{_BAR}}]  {self.done:,} of {self._total:,}  {rate:,.0f}/s  "
            f"{left // 60}:{left % 60:02} left"
        )
