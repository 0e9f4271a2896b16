"""Limits on the requests of `digit-edge serve`.

`Limits` contains the numbers. `UploadBudget` counts the bytes of all request bodies in the server
process. `DecodeBudget` counts the memory of the images that the worker's threads decode in
parallel. The server decodes images in a separate process, the worker.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from runtime.serve.problem_details import HttpProblem

# Default limit on the memory to decode images. An image that needs more is rejected; see
# `Limits.work_bytes`. With the idle server (33 MB) and the idle worker (48 MB), the total stays
# below 260 MB.
WORK_BYTES = 160_000_000


@dataclass(frozen=True)
class Limits:
    """The limits of a server. A request beyond a limit gets the HTTP status in parentheses.

    Attributes:
        body_bytes: size of one request body (413).
        memory_bytes: size of all request bodies that the server holds at the same time (503).
        pixels: pixels of an image (413); a JPEG may have four times this number.
        work_bytes: estimated memory to decode images. An image that needs more gets 413. If several
            images together need more, the images are decoded one after another.
        seconds: time limit for each phase of a request, in seconds. The phases are the arrival of
            the body (408), the wait for a free thread of the worker (503), and the worker's
            response (422). After the last, the worker is also killed.
        waiting: number of requests in the queue or in the worker (503).
        connections: number of open connections; a further connection closes the longest idle one.
        workers: number of requests that the worker processes in parallel; further requests queue.
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
        limit: number of bytes; a request that exceeds this number is rejected with status 503.

    Attributes:
        limit: the same number.
        held: number of bytes that are reserved now.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    @contextmanager
    def lease(self) -> Iterator[Callable[[int], None]]:
        """Yield a function that reserves a number of bytes; release all its bytes at the end.

        If the limit is exceeded, the function releases its earlier reservations and raises
        HttpProblem 503.
        """
        reserved = 0

        def reserve(size: int) -> None:
            nonlocal reserved
            if self.held + size > self.limit:
                # Release now, not at the end of the request. Otherwise, of several uploads that
                # arrive equally fast, all would be rejected.
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
    """Counts the memory of the images that threads decode in parallel.

    Args:
        limits: `work_bytes` is the size of the budget; `seconds` limits the wait for free memory.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._free = limits.work_bytes
        self._changed = threading.Condition()

    @contextmanager
    def lease(self, size: int) -> Iterator[None]:
        """Wait until `size` bytes are free, and reserve them; release them at the end.

        Args:
            size: number of bytes, at most `limits.work_bytes`.

        Raises:
            HttpProblem: 503 if the bytes do not become free within `limits.seconds`.
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
