"""What the classifier saw, as the JSON that the API answers with."""

import base64
import time
from typing import Any, TypeAlias

from runtime.classifier import Classifier, Prediction
from runtime.decode import decode
from runtime.preprocess import DARK_ON_LIGHT, View, normalise, view

# A classified digit for the metrics: label, accepted, and the seconds that its inference took, or
# None if that was not measured.
Counted: TypeAlias = "tuple[str, bool, float | None]"

# A drawing is sent as it is; a larger one than this is reduced, as a photograph is.
_LONGEST_DRAWING = 512


def classify(
    classifier: Classifier, image: bytes, drawing: bool
) -> tuple[dict[str, Any], list[Counted]]:
    """Read one digit.

    Args:
        drawing: whether every mark on the image counts as ink, as on a drawing pad.

    Returns:
        The body of the response to POST /v1/classify, and the digit for the metrics.

    Raises:
        ImageError: it cannot be read as an image.
    """
    start = time.perf_counter()
    seen = _drawing(image) if drawing else view(image)
    found = time.perf_counter()
    prediction = classifier.classify(seen.pixels) if drawing else classifier.classify_view(seen)
    end = time.perf_counter()
    record = {
        **_prediction(classifier, prediction),
        "scores": [
            {"label": label, "score": _rounded(score)}
            for label, score in zip(classifier.spec.labels, prediction.scores, strict=True)
        ],
        "view": {
            "pixels": base64.b64encode(seen.pixels.tobytes()).decode(),
            "box": list(seen.box),
            "polarity": seen.polarity,
            "method": seen.method,
        },
        "preprocess_ms": _milliseconds(found - start),
        "inference_ms": _milliseconds(end - found),
        "model": identity(classifier),
    }
    return record, [(prediction.label, prediction.accepted, end - found)]


def read(classifier: Classifier, image: bytes) -> tuple[dict[str, Any], list[Counted]]:
    """Read the numbers on a page.

    Returns:
        The body of the response to POST /v1/read, and its digits for the metrics.

    Raises:
        ImageError: it cannot be read as an image.
    """
    start = time.perf_counter()
    reading = classifier.read(image)
    seconds = time.perf_counter() - start
    record = {
        "text": reading.text,
        "lines": list(reading.lines),
        "digits": [
            {"box": list(digit.box), **_prediction(classifier, digit.prediction)}
            for digit in reading.digits
        ],
        "total_ms": _milliseconds(seconds),
        "model": identity(classifier),
    }
    counted: list[Counted] = [
        (digit.prediction.label, digit.prediction.accepted, None) for digit in reading.digits
    ]
    return record, counted


def identity(classifier: Classifier) -> dict[str, str]:
    """What tells one artefact and engine from another."""
    spec, backend = classifier.spec, classifier.backend
    return {
        "name": spec.name,
        "precision": spec.precision,
        "digest": spec.digest,
        "backend": backend.name,
        "backend_version": backend.version,
        "device": backend.device,
    }


def describe(classifier: Classifier) -> dict[str, Any]:
    """What the artefact says of itself: the body of GET /v1/model, less what the server adds."""
    spec = classifier.spec
    return {
        **identity(classifier),
        "labels": list(spec.labels),
        "input_shape": list(spec.input_shape),
        "dataset": spec.dataset.name,
        "test_accuracy": None if spec.metrics is None else spec.metrics.test_accuracy,
        "n_test": None if spec.metrics is None else spec.metrics.n_test,
        "provenance": dict(spec.provenance),
    }


def _drawing(image: bytes) -> View:
    """A drawing in MNIST's form: dark on a white ground, each mark as much ink as it is dark.

    Nothing is taken for a shadow, a ruled line or a speck, as `view` would in a photograph.
    """
    decoded = decode(image, longest=_LONGEST_DRAWING)
    ink = 255 - decoded.grey
    pixels = normalise(ink)
    rows, columns = ink.any(axis=1).nonzero()[0], ink.any(axis=0).nonzero()[0]
    width, height = decoded.size
    if not rows.size:
        return View(pixels, (0, 0, width, height), DARK_ON_LIGHT, "blank")
    x, y = width / ink.shape[1], height / ink.shape[0]
    box = (
        int(columns[0] * x),
        int(rows[0] * y),
        int((columns[-1] + 1) * x),
        int((rows[-1] + 1) * y),
    )
    return View(pixels, box, DARK_ON_LIGHT, "drawing")


def _prediction(classifier: Classifier, prediction: Prediction) -> dict[str, Any]:
    return {
        "label": prediction.label,
        "confidence": _rounded(prediction.confidence),
        "accepted": prediction.accepted,
    }


def _rounded(score: float) -> float:
    return round(float(score), 6)


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1e3, 3)
