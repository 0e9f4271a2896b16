"""Limits on one request and on all requests together."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from runtime.serve.problem_details import HttpProblem

WORK_BYTES = 160_000_000  # of 260 MB; the idle server takes 33 MB, its idle worker 48


@dataclass(frozen=True)
class Limits:
    """What is refused.

    Attributes:
        body_bytes: a larger body, 413.
        memory_bytes: what all bodies that are held may take together; past that, 503.
        pixels: an image of more, 413.
        work_bytes: what images may take together, in the server and while the worker decodes
            them; an image of more, 413, and what does not fit at once waits.
        seconds: for a request to arrive (408), then to wait for its turn (503), then for the
            worker process to answer (422, and the process is killed).
        waiting: requests that wait for their turn; one more gets 503.
        connections: kept open at once; the longest idle one makes room for a new one.
        workers: requests that the worker process decodes and classifies at a time.
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
    """Counts the bytes of all bodies that are held."""

    def __init__(self, limit: int) -> None:
        self.limit, self.held = limit, 0

    @contextmanager
    def lease(self) -> Iterator[Callable[[int], None]]:
        """Yield a function that takes bytes; all it took is given back at the end.

        That function raises Problem 503 where there is no room, and gives back all it took.
        """
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            if self.held + size > self.limit:
                # At once, not where the request ends: else all who arrive in step are refused.
                self.held -= taken
                taken = 0
                raise HttpProblem(503, "too much is being sent at once: try again in a second")
            self.held += size
            taken += size

        try:
            yield take
        finally:
            self.held -= taken


class DecodeBudget:
    """What the threads that look at images may take together."""

    def __init__(self, limits: Limits) -> None:
        self._limits, self._free = limits, limits.work_bytes
        self._changed = threading.Condition()

    @contextmanager
    def lease(self, size: int) -> Iterator[None]:
        """Wait for `size` bytes, no more than there are in all; give them back at the end.

        Raises Problem 503 where none become free in time.
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
