"""What one request, and all of them together, may cost."""

import asyncio
import functools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from runtime.decode import MAX_DECODED_BYTES
from runtime.server.problems import Problem

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """What is refused.

    Attributes:
        body_bytes: a larger body, 413.
        memory_bytes: what all bodies that are held may take together; past that, 503.
        pixels: an image of more, 413.
        work_bytes: what looking at images may take together; an image of more, 413, and what does
            not fit at once waits.
        seconds: for a request to arrive (408), and then for its answer (503).
        waiting: requests that wait for their turn; one more gets 503.
        connections: kept open at once; the longest idle one makes room for a new one.
        workers: threads that decode and classify.
    """

    body_bytes: int = 16 << 20
    memory_bytes: int = 32 << 20
    pixels: int = 24_000_000
    work_bytes: int = MAX_DECODED_BYTES
    seconds: float = 30.0
    waiting: int = 512
    connections: int = 1024
    workers: int = min(4, os.cpu_count() or 1)


class Memory:
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
                raise Problem(503, "too much is being sent at once: try again in a second")
            self.held += size
            taken += size

        try:
            yield take
        finally:
            self.held -= taken


class Room:
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
                raise Problem(503, "too many large images at once: try again in a second")
            self._free -= size
        try:
            yield
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()


class Workers:
    """Threads that classify, and a queue before them that has an end."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pool = ThreadPoolExecutor(limits.workers, thread_name_prefix="classify")
        self.waiting = 0

    async def run(self, job: Callable[[], T]) -> T:
        """Run `job` in a thread and return what it returns.

        Raises:
            Problem: 503 where too many wait, or where the answer takes too long: then `job` is
                dropped, or, where it runs already, left to end.
        """
        if self.waiting >= self._limits.waiting:
            raise Problem(503, f"{self.waiting} requests wait already: try again in a second")
        self.waiting += 1
        try:
            # wait_for cancels what it waits for: a job that has not begun never will.
            future = asyncio.get_running_loop().run_in_executor(self._pool, functools.partial(job))
            return await asyncio.wait_for(future, self._limits.seconds)
        except (TimeoutError, asyncio.TimeoutError) as error:
            raise Problem(
                503, f"no answer within {self._limits.seconds:g} s: try again, or send less at once"
            ) from error
        finally:
            self.waiting -= 1

    def close(self) -> None:
        """End the threads once their jobs are done."""
        self._pool.shutdown(wait=True, cancel_futures=True)
