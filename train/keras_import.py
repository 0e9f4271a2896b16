"""`keras_import`: import Keras and TensorFlow quietly, and faster.

Training, the export and the benchmarks import them in its block.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from runtime.system import interrupt
from runtime.system.native_output import suppress_native_output

# Keras imports these packages if they are installed, for functions that this project does not call.
# They take a third of the import: 1.7 of 4.9 seconds of processor time.
_OPTIONAL = ("matplotlib", "pandas", "sklearn")


@contextmanager
def keras_import() -> Iterator[None]:
    """Hide messages of TensorFlow, and optional packages from Keras, within the block.

    TensorFlow prints messages about the processor and CUDA on its first import. Packages that are
    imported already are not hidden, and all can be imported after the block. An interrupt ends the
    process, as imports cannot be interrupted safely.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # fatal errors only
    hidden = [name for name in _OPTIONAL if name not in sys.modules]
    with interrupt.at_once(), suppress_native_output(2):
        sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: not importable
        try:
            yield
        finally:
            for name in hidden:
                del sys.modules[name]
