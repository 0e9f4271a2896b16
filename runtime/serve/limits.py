"""Limits on requests: `Limits` holds the numbers, two budgets share memory between requests.

`UploadBudget` counts the bytes of request bodies in the server process. `DecodeBudget` counts the
memory of images that the worker's threads decode at the same time.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from runtime.serve.problem_details import HttpProblem

# Memory to decode images. Together with the idle server (33 MB) and its idle worker (48 MB) it
# stays below 260 MB.
WORK_BYTES = 160_000_000


@dataclass(frozen=True)
class Limits:
    """The limits of a server; a request beyond one gets the HTTP status in parentheses.

    Attributes:
        body_bytes: size of one request body (413).
        memory_bytes: size of all request bodies that the server holds at the same time (503).
        pixels: pixels of an image (413); a JPEG may have four times this number.
        work_bytes: estimated memory to decode images. One image that needs more gets 413; images
            that together need more are decoded one after another.
        seconds: time limit for each phase of a request: for the body to arrive (408), for a free
            worker thread (503), and for the worker's response (422; the worker is killed).
        waiting: requests in the queue or in the worker (503).
        connections: open connections; a further one closes the longest idle one.
        workers: requests that the worker process handles in parallel.
    """

    body_bytes: int = 16 << 20
    memory_bytes: int = 32 << 20
    pixels: int = 24_000_000
    work_bytes: int = WORK_BYTES
    seconds: float = 30.0
    waiting: int = 512
    connections: int = 256
    workers: int = min(4, os.cpu_count() or 1)


class UploadBudget:
    """Counts the bytes of all request bodies that the server holds.

    Args:
        limit: the number of bytes beyond which a request is rejected.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    @contextmanager
    def lease(self) -> Iterator[Callable[[int], None]]:
        """Yield a function that reserves a number of bytes; release all of them at the end.

        The function releases its reservations and raises HttpProblem 503 if the limit is exceeded.
        """
        reserved = 0

        def reserve(size: int) -> None:
            nonlocal reserved
            if self.held + size > self.limit:
                # Release now, not at the end of the request: otherwise uploads that arrive in
                # lockstep would all be rejected.
                self.held -= reserved
                reserved = 0
                raise HttpProblem(503, "too many uploads at once: try again in a second")
            self.held += size
            reserved += size

        try:
            yield reserve
        finally:
            self.held -= reserved


class DecodeBudget:
    """Memory shared by the threads that decode images; at most `limits.work_bytes`."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._free = limits.work_bytes
        self._changed = threading.Condition()

    @contextmanager
    def lease(self, size: int) -> Iterator[None]:
        """Wait until `size` bytes are free; release them at the end.

        Args:
            size: at most `limits.work_bytes`.

        Raises:
            HttpProblem: 503 if they do not become free within `limits.seconds`.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._free >= size, self._limits.seconds):
                raise HttpProblem(503, "too many large images at once: try again in a second")
            self._free -= size
        try:
            yield
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()
