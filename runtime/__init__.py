"""Classifies images with an exported digit model; needs NumPy, Pillow and one engine."""

from runtime.system import interrupt

interrupt.install_for(__name__)  # first: an interrupt of the other imports is handled

from typing import TYPE_CHECKING, Any  # noqa: E402

from runtime.errors import (  # noqa: E402
    ArtifactError,
    BackendUnavailable,
    DatasetError,
    EdgeError,
    ImageError,
    ParityError,
)

if TYPE_CHECKING:
    from runtime.classifier import Classifier
    from runtime.prediction import Prediction

__version__ = "0.1.0"

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


def __getattr__(name: str) -> Any:
    # NumPy and Pillow are imported only if someone classifies: a process that serves HTTP, or
    # that has to handle Ctrl-C from its first moment, imports `runtime.errors` alone.
    if name == "Classifier":
        from runtime.classifier import Classifier

        return Classifier
    if name == "Prediction":
        from runtime.prediction import Prediction

        return Prediction
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
