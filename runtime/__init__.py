"""Classify images of handwritten digits with an exported model.

`from runtime import Classifier` is the whole API: `Classifier.load().classify("photo.jpg")` returns
a `Prediction`. It needs NumPy, Pillow and one engine (LiteRT or onnxruntime), not TensorFlow.
"""

from runtime.system import interrupt

interrupt.install_for(__name__)  # before the other imports, so that Ctrl-C during them is handled

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
    # Import NumPy and Pillow only when needed: a command that handles Ctrl-C from the start, or the
    # process that serves HTTP, imports `runtime.errors` alone.
    if name == "Classifier":
        from runtime.classifier import Classifier

        return Classifier
    if name == "Prediction":
        from runtime.prediction import Prediction

        return Prediction
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
