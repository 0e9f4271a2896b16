"""Read handwritten digits, numbers, or classes of your own with a small exported network.

    from digit_edge import Classifier

    print(Classifier.load().classify("photo.jpg").label)

An installed wheel has the packages `runtime`, `train`, `export` and `benchmarks` in this folder; in
a checkout they are top-level packages (setup.py says why).
"""

import importlib
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime import (
        ArtifactError,
        BackendUnavailable,
        Classifier,
        DatasetError,
        EdgeError,
        ImageError,
        ParityError,
        Prediction,
        __version__,
    )

__all__ = [
    "ArtifactError",
    "BackendUnavailable",
    "Classifier",
    "DatasetError",
    "EdgeError",
    "ImageError",
    "ParityError",
    "Prediction",
    "__version__",
]

_IS_WHEEL = Path(__file__).with_name("runtime").is_dir()


def own_name(name: str) -> str:
    """Return the name here of a module whose name in the wheel is, say, digit_edge.runtime."""
    return name if _IS_WHEEL else name.removeprefix("digit_edge.")


def import_own(name: str) -> ModuleType:
    """Import the module that is called `name` in the wheel."""
    return importlib.import_module(own_name(name))


def __getattr__(name: str) -> Any:
    # `import digit_edge` alone imports nothing: the command handles Ctrl-C before it imports more.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_own("digit_edge.runtime"), name)
