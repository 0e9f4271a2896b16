"""`suppress_native_output`: hide messages that native libraries print on stdout or stderr.

The engines, the export and training use it while they call LiteRT, onnxruntime or TensorFlow.
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Two threads that redirect the same descriptor would restore each other's null device.
_lock = threading.RLock()


def _after_fork() -> None:
    """Forget a lock that another thread of the forked process holds."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def suppress_native_output(*descriptors: int) -> Iterator[None]:
    """Redirect file descriptors to the null device within the block.

    Engines and converters print messages from C++, which does not use `sys.stderr`, and have no
    option to turn them off. The output of other threads is lost too, so keep the block short. A
    second thread waits until the block of the first one ends.

    Args:
        descriptors: 1 (stdout), 2 (stderr) or both; none redirects nothing.
    """
    with _lock:
        _flush(descriptors)
        copies = [(descriptor, os.dup(descriptor)) for descriptor in descriptors]
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            for descriptor in descriptors:
                os.dup2(null, descriptor)
            yield
        finally:
            _flush(descriptors)
            for descriptor, copy in copies:
                os.dup2(copy, descriptor)
                os.close(copy)
            os.close(null)


def _flush(descriptors: tuple[int, ...]) -> None:
    """Write the buffered output of Python's own streams on these descriptors."""
    for descriptor, stream in ((1, sys.stdout), (2, sys.stderr)):
        if descriptor in descriptors and stream is not None:
            stream.flush()
