"""Calls the classifier and returns the bodies of the API's responses."""

import base64
import time
from typing import TypeAlias

from runtime.classifier import Classifier
from runtime.prediction import Prediction
from runtime.preprocess.decode import decode
from runtime.preprocess.mnist_format import to_mnist_format
from runtime.preprocess.pipeline import DARK_ON_LIGHT, PreprocessedImage, preprocess
from runtime.serve import bodies
from runtime.serve.limits import Limits

# A classified digit for the metrics: label, accepted, and the seconds that its inference took, or
# None if that was not measured.
Counted: TypeAlias = "tuple[str, bool, float | None]"

# A drawing is sent as it is; a larger one than this is reduced, as a photograph is.
_LONGEST_DRAWING = 512


def classify(
    classifier: Classifier, image: bytes, drawing: bool
) -> tuple[bodies.Classification, list[Counted]]:
    """Read one digit.

    Args:
        drawing: whether every mark on the image counts as ink, as on a drawing pad.

    Returns:
        The body of the response to POST /v1/classify, and the digit for the metrics.

    Raises:
        ImageError: it cannot be read as an image.
    """
    start = time.perf_counter()
    preprocessed = _drawing(image) if drawing else preprocess(image)
    found = time.perf_counter()
    prediction = (
        classifier.classify(preprocessed.pixels)
        if drawing
        else classifier.classify_preprocessed(preprocessed)
    )
    end = time.perf_counter()
    body = bodies.Classification(
        **vars(_prediction(prediction)),
        scores=[
            bodies.Score(label, _rounded(score))
            for label, score in zip(classifier.spec.labels, prediction.scores, strict=True)
        ],
        view=bodies.View(
            pixels=base64.b64encode(preprocessed.pixels.tobytes()).decode(),
            box=preprocessed.box,
            polarity=preprocessed.polarity,
            method=preprocessed.method,
        ),
        preprocess_ms=_milliseconds(found - start),
        inference_ms=_milliseconds(end - found),
        model=_model(classifier),
    )
    return body, [(prediction.label, prediction.accepted, end - found)]


def read(classifier: Classifier, image: bytes) -> tuple[bodies.Reading, list[Counted]]:
    """Read the numbers on a page.

    Returns:
        The body of the response to POST /v1/read, and its digits for the metrics.

    Raises:
        ImageError: it cannot be read as an image.
    """
    start = time.perf_counter()
    recognition = classifier.read(image)
    seconds = time.perf_counter() - start
    body = bodies.Reading(
        text=recognition.text,
        lines=list(recognition.lines),
        digits=[
            bodies.Digit(box=digit.box, **vars(_prediction(digit.prediction)))
            for digit in recognition.digits
        ],
        total_ms=_milliseconds(seconds),
        model=_model(classifier),
    )
    counted: list[Counted] = [
        (digit.prediction.label, digit.prediction.accepted, None) for digit in recognition.digits
    ]
    return body, counted


def describe(classifier: Classifier, limits: Limits) -> bodies.ModelDescription:
    """Return the body of the response to GET /v1/model."""
    spec = classifier.spec
    return bodies.ModelDescription(
        **vars(_model(classifier)),
        labels=list(spec.labels),
        input_shape=list(spec.fixed_shape),
        dataset=spec.dataset.name,
        test_accuracy=None if spec.metrics is None else spec.metrics.test_accuracy,
        n_test=None if spec.metrics is None else spec.metrics.n_test,
        provenance=dict(spec.provenance),
        max_body_bytes=limits.body_bytes,
        max_pixels=limits.pixels,
    )


def _model(classifier: Classifier) -> bodies.Model:
    spec, backend = classifier.spec, classifier.backend
    return bodies.Model(
        name=spec.name,
        precision=spec.precision,
        digest=spec.digest,
        backend=backend.name,
        backend_version=backend.version,
        device=backend.device,
    )


def _drawing(image: bytes) -> PreprocessedImage:
    """A drawing in MNIST's form: dark on a white ground, each mark as much ink as it is dark.

    Nothing is taken for a shadow, a ruled line or a speck, as `preprocess` would in a photograph.
    """
    decoded = decode(image, longest=_LONGEST_DRAWING)
    ink = 255 - decoded.gray
    pixels = to_mnist_format(ink)
    rows, columns = ink.any(axis=1).nonzero()[0], ink.any(axis=0).nonzero()[0]
    width, height = decoded.size
    if not rows.size:
        return PreprocessedImage(pixels, (0, 0, width, height), DARK_ON_LIGHT, "blank")
    x, y = width / ink.shape[1], height / ink.shape[0]
    box = (
        int(columns[0] * x),
        int(rows[0] * y),
        int((columns[-1] + 1) * x),
        int((rows[-1] + 1) * y),
    )
    return PreprocessedImage(pixels, box, DARK_ON_LIGHT, "drawing")


def _prediction(prediction: Prediction) -> bodies.Prediction:
    return bodies.Prediction(
        label=prediction.label,
        confidence=_rounded(prediction.confidence),
        accepted=prediction.accepted,
    )


def _rounded(score: float) -> float:
    return round(float(score), 6)


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1e3, 3)
