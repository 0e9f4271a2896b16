"""Runs work in a process of its own, so that a crash of native code does not end the caller."""

import json
import os
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

from runtime.errors import EdgeError
from runtime.system import interrupt

_NO_MEMORY = "there is not memory enough for it: end other programs, or raise the limit"


class WorkerCrashed(EdgeError):
    """The process was ended by a signal or an exception, took too long, or found no memory."""


def run_in_fork(work: Callable[[], Any], timeout_s: float) -> Any:
    """Call `work` in a forked copy of this process.

    Args:
        work: gives something that JSON can hold.
        timeout_s: after so long the copy is killed.

    Returns:
        What `work` gave; where processes cannot be forked, of a call in this one.

    Raises:
        WorkerCrashed: the copy was ended by a signal, an exception, the time-out or want of memory.
        EdgeError: `work` raised one; the message is the same.
    """
    if not hasattr(os, "fork"):
        return work()
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    # Deferred: an exception between the fork and `try` would leave the copy running.
    with interrupt.deferred():
        with warnings.catch_warnings():
            # Of NumPy's idle threads: OpenBLAS ends them before a fork, and begins them anew after.
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                child = os.fork()
            except OSError as error:
                os.close(reader)
                os.close(writer)
                raise WorkerCrashed(
                    f"no process for it: {error.strerror}; end other programs"
                ) from error
        if child == 0:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller ends this process
            _answer(work, writer)
        os.close(writer)
        answer = None
        try:
            with interrupt.child(child), interrupt.immediate():
                answer = _read_all(reader, time.monotonic() + timeout_s)
        finally:
            os.close(reader)
            if answer is None:
                os.kill(child, signal.SIGKILL)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if answer is None:
        raise WorkerCrashed(f"no answer after {timeout_s:g} s")
    if status < 0:
        raise WorkerCrashed(f"died with {signal.Signals(-status).name}")
    try:
        outcome = json.loads(answer)
    except ValueError:
        raise WorkerCrashed(f"ended without an answer, with status {status}") from None
    if "refused" in outcome:
        raise EdgeError(outcome["refused"])
    if "crashed" in outcome:
        raise WorkerCrashed(outcome["crashed"])
    return outcome["done"]


def _answer(work: Callable[[], Any], writer: int) -> NoReturn:
    """In the copy: write what `work` gave or refused, and end without the caller's clean-up."""
    outcome: dict[str, Any] = {}
    try:
        outcome = {"done": work()}
    except EdgeError as error:
        outcome = {"refused": str(error)}
    except MemoryError:
        outcome = {"crashed": _NO_MEMORY}
    finally:
        # Engines raise what they like; and whatever happened, even here, the caller's clean-up and
        # buffers are not this process's to handle.
        try:
            failure = sys.exc_info()[1]
            if failure is not None:
                told = (str(failure).splitlines() or [""])[0]
                outcome = {"crashed": f"{type(failure).__name__}: {told}"}
            with open(writer, "w") as file:
                json.dump(outcome, file)
        finally:
            os._exit(0)


def _read_all(reader: int, end: float) -> bytes | None:
    """All that comes until the other end closes; None where that takes past `end`."""
    parts: list[bytes] = []
    while True:
        ready, _, _ = select.select([reader], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            return None
        part = os.read(reader, 1 << 16)
        if not part:
            return b"".join(parts)
        parts.append(part)
