"""`suppress_native_output`: hide messages that native libraries print on stdout or stderr."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def suppress_native_output(*descriptors: int) -> Iterator[None]:
    """Redirect file descriptors (1 stdout, 2 stderr) to the null device within the block.

    Engines and converters write to them from C++, below `sys.stderr`, and cannot be told not to.
    The output of other threads is lost too, so keep the block short.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    copies = [(descriptor, os.dup(descriptor)) for descriptor in descriptors]
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        for descriptor in descriptors:
            os.dup2(null, descriptor)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, copy in copies:
            os.dup2(copy, descriptor)
            os.close(copy)
        os.close(null)
