"""Classifies images with an exported digit model; needs NumPy, Pillow and one engine."""

from runtime.system import interrupt

interrupt.install_for(__name__)  # first: an interrupt of the other imports is handled

from typing import TYPE_CHECKING, Any  # noqa: E402

from runtime.errors import (
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

__all__ = [
    "ArtifactError",
    "BackendUnavailable",
    "Classifier",
    "DatasetError",
    "EdgeError",
    "ImageError",
    "ParityError",
    "Prediction",
]


def __getattr__(name: str) -> Any:
    # NumPy and Pillow are imported only if someone classifies: a process that serves HTTP, or
    # that has to handle Ctrl-C from its first moment, imports `runtime.errors` alone.
    if name in ("Classifier", "Prediction"):
        from runtime import classifier

        return getattr(classifier, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
