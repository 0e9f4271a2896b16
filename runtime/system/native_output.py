"""Keeps what native libraries print about themselves off the user's terminal."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def suppress_native_output(*descriptors: int) -> Iterator[None]:
    """Send file descriptors (1 stdout, 2 stderr) to nowhere while the block runs.

    Engines and converters write there from C++, below `sys.stderr`, and offer no switch. The
    descriptors belong to the whole process: what other threads print meanwhile is lost too, so
    keep the block short.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [(number, os.dup(number)) for number in descriptors]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in descriptors:
            os.dup2(nowhere, number)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in kept:
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)
