"""`suppress_native_output`: hide messages that native libraries print on stdout or stderr.

The engines, the export and training use it while they call LiteRT, onnxruntime or TensorFlow.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def suppress_native_output(*descriptors: int) -> Iterator[None]:
    """Redirect file descriptors to the null device within the block.

    Engines and converters print messages from C++, which does not use `sys.stderr`, and have no
    option to turn them off. The output of other threads is lost too, so keep the block short.

    Args:
        descriptors: 1 (stdout), 2 (stderr) or both; none redirects nothing.
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
