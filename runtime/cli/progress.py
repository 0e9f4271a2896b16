"""`Progress`: a progress line of `digit-edge classify`, `read` and `bulk` on the terminal."""

import time
from collections.abc import Callable
from typing import TextIO

_DELAY_S = 1.0  # from the start until the line first appears
_INTERVAL_S = 0.2  # between two updates of the line
_BAR_CHARS = 24  # width of the bar


class Progress:
    """Draws and redraws the line `[####····]  1,234 of 10,000  2,345/s  0:04 left`.

    Args:
        stream: a terminal; None draws nothing, and `text` returns the line.
        count: returns the total number of images, or None if unknown. Called once, when the line
            first appears.
    """

    def __init__(self, stream: TextIO | None, count: Callable[[], int | None]) -> None:
        self._stream, self._count = stream, count
        self._total: int | None = None
        self._start_s = time.monotonic()
        self._next_draw_s = self._start_s + _DELAY_S
        self._shown = False
        self.done = 0

    def advance(self, done: int) -> None:
        """Count `done` more images, and redraw the line if its interval is over."""
        self.done += done
        now_s = time.monotonic()
        if self._stream is None or now_s < self._next_draw_s:
            return
        self._next_draw_s = now_s + _INTERVAL_S
        text = self.text()
        self._shown = True
        self._stream.write("\r" + text + "\x1b[K")
        self._stream.flush()

    def clear(self) -> None:
        """Erase the line, so that results can be printed in its place."""
        if self._stream is not None and self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def text(self) -> str:
        """Return the line."""
        if self._total is None:
            self._total = self._count()
        rate = self.done / max(time.monotonic() - self._start_s, 1e-6)
        if not self._total:
            return f"{self.done:,} images  {rate:,.0f}/s"
        filled = min(_BAR_CHARS * self.done // self._total, _BAR_CHARS)
        left_s = round(max(self._total - self.done, 0) / rate) if rate else 0
        return (
            f"[{'#' * filled:·<{_BAR_CHARS}}]  {self.done:,} of {self._total:,}  {rate:,.0f}/s  "
            f"{left_s // 60}:{left_s % 60:02} left"
        )
