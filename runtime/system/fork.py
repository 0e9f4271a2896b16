"""`run_in_fork`: call a function in a forked process, so that a native crash cannot end the caller.

`digit-edge selftest` runs each engine in such a process.
"""

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

_NO_MEMORY = "not enough memory: end other programs, or raise the memory limit"


class WorkerCrashed(EdgeError):
    """The forked process crashed, raised an exception, timed out, or ran out of memory."""


def run_in_fork(work: Callable[[], Any], timeout_s: float) -> Any:
    """Call a function in a forked copy of this process.

    On a system without fork (Windows), the function is called in this process, and its exceptions
    are raised unchanged.

    Args:
        work: a function that returns a value that can be encoded as JSON.
        timeout_s: the copy is killed after this time, in seconds.

    Returns:
        The value that `work` returned, decoded from JSON.

    Raises:
        WorkerCrashed: the copy could not be started, crashed, raised an exception other than
            EdgeError, timed out, or ran out of memory.
        EdgeError: `work` raised an EdgeError, whose message is kept.
    """
    if not hasattr(os, "fork"):
        return work()
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    # Deferred, because an interrupt between the fork and `try` would leave the copy running.
    with interrupt.deferred():
        with warnings.catch_warnings():
            # Python warns of a fork in a process with threads. NumPy's threads are safe: OpenBLAS
            # stops them before a fork and restarts them afterwards.
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                child = os.fork()
            except OSError as error:
                os.close(reader)
                os.close(writer)
                raise WorkerCrashed(
                    f"cannot start a process: {error.strerror}; end other programs"
                ) from error
        if child == 0:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller kills this process
            _run_in_child(work, writer)
        os.close(writer)
        result = None
        try:
            with interrupt.child(child), interrupt.immediate():
                result = _read_all(reader, time.monotonic() + timeout_s)
        finally:
            os.close(reader)
            if result is None:
                os.kill(child, signal.SIGKILL)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if result is None:
        raise WorkerCrashed(f"no answer after {timeout_s:g} s")
    if status < 0:
        raise WorkerCrashed(f"died with {signal.Signals(-status).name}")
    try:
        outcome = json.loads(result)
    except ValueError:
        raise WorkerCrashed(f"ended without an answer, with status {status}") from None
    if "error" in outcome:
        raise EdgeError(outcome["error"])
    if "crashed" in outcome:
        raise WorkerCrashed(outcome["crashed"])
    return outcome["returned"]


def _run_in_child(work: Callable[[], Any], writer: int) -> NoReturn:
    """Call `work` in the copy, write its outcome as JSON, and exit without any clean-up."""
    outcome: dict[str, Any] = {}
    try:
        outcome = {"returned": work()}
    except EdgeError as error:
        outcome = {"error": str(error)}
    except MemoryError:
        outcome = {"crashed": _NO_MEMORY}
    finally:
        # Engines raise exceptions of any type. This process must end here in all cases: exit
        # handlers and buffered output belong to the caller.
        try:
            exception = sys.exc_info()[1]
            if exception is not None:
                first_line = (str(exception).splitlines() or [""])[0]
                outcome = {"crashed": f"{type(exception).__name__}: {first_line}"}
            with open(writer, "w") as file:
                json.dump(outcome, file)
        finally:
            os._exit(0)


def _read_all(reader: int, deadline_s: float) -> bytes | None:
    """Read until the writer closes the pipe; return None if the deadline passes first."""
    parts: list[bytes] = []
    while True:
        timeout_s = max(0.0, deadline_s - time.monotonic())
        ready, _, _ = select.select([reader], [], [], timeout_s)
        if not ready:
            return None
        part = os.read(reader, 1 << 16)
        if not part:
            return b"".join(parts)
        parts.append(part)
