"""Call the classifier and build the bodies of the API's responses.

`runtime.serve.worker` calls these functions, in the process that decodes images for the server.
"""

import base64
import io
import threading
import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from runtime.backends.feature_maps import Maps
from runtime.classifier import Classifier
from runtime.errors import ArtifactError, BackendUnavailable
from runtime.numbers.read_regions import NumberReader
from runtime.prediction import Prediction
from runtime.preprocess.decode import decode, decode_color
from runtime.preprocess.mnist_format import to_mnist_format
from runtime.preprocess.pipeline import DARK_ON_LIGHT, PreprocessedImage, preprocess
from runtime.serve import bodies
from runtime.serve.limits import Limits
from runtime.serve.problem_details import HttpProblem


class Counted(NamedTuple):
    """A classified digit for the metrics.

    Attributes:
        label: the predicted label.
        accepted: whether the prediction was accepted.
        confidence: the score of the label.
        seconds: inference time in seconds; None if it was not measured.
    """

    label: str
    accepted: bool
    confidence: float
    seconds: float | None


@dataclass(frozen=True)
class WorkerBody:
    """The body of an HTTP response, made in the worker process.

    Attributes:
        content: the bytes of the body.
        digits: the classified digits, for the metrics.
        json_bytes: size of the JSON before binary tensors; None if the body is JSON only.
    """

    content: bytes
    digits: list[Counted]
    json_bytes: int | None = None


_MAX_DRAWING_SIDE_PX = 512  # a drawing with a longer side is scaled down to this side
_MAX_KEPT_SIDE_PX = 1000  # an image with a longer side is kept scaled down to this side
_SCORE_DECIMALS = 6  # decimals of scores in a response
_MILLISECONDS_DECIMALS = 3  # decimals of durations in a response


def classify(classifier: Classifier, image: bytes, drawing: bool) -> WorkerBody:
    """Classify one digit.

    Args:
        classifier: the open model.
        image: the bytes of an image file.
        drawing: whether every mark on the image is ink, as on a drawing pad.

    Returns:
        The body of the response to POST /v1/classify, and its one digit.

    Raises:
        ImageError: the image cannot be decoded.
    """
    start = time.perf_counter()
    preprocessed = _preprocess_drawing(image) if drawing else preprocess(image)
    preprocessing_end = time.perf_counter()
    prediction = (
        classifier.classify(preprocessed.pixels)
        if drawing
        else classifier.classify_preprocessed(preprocessed)
    )
    end = time.perf_counter()
    body = bodies.Classification(
        **vars(_prediction_body(prediction)),
        scores=[
            bodies.Score(label, _round_score(score))
            for label, score in zip(classifier.spec.labels, prediction.scores, strict=True)
        ],
        view=bodies.View(
            pixels=base64.b64encode(preprocessed.pixels.tobytes()).decode(),
            box=preprocessed.box,
            polarity=preprocessed.polarity,
            method=preprocessed.method,
        ),
        preprocess_ms=_milliseconds(preprocessing_end - start),
        inference_ms=_milliseconds(end - preprocessing_end),
        model=_model_body(classifier),
    )
    return WorkerBody(bodies.encode(body), [_counted(prediction, end - preprocessing_end)])


def feature_maps(classifier: Classifier, image: bytes, drawing: bool) -> WorkerBody:
    """Return the body of the response to POST /v1/feature-maps.

    Args:
        classifier: the open model.
        image: the bytes of an image file with one digit.
        drawing: whether every mark on the image is ink, as on a drawing pad.

    Raises:
        ImageError: the image cannot be decoded.
        HttpProblem: 501 if the network has no feature maps, or no engine that shows them.
    """
    preprocessed = _preprocess_drawing(image) if drawing else preprocess(image)
    try:
        blocks = classifier.feature_maps(preprocessed.pixels)
    except (ArtifactError, BackendUnavailable) as error:
        raise HttpProblem(501, str(error)) from error
    body = bodies.FeatureMaps(list(map(_block_body, blocks)), _model_body(classifier))
    return WorkerBody(bodies.encode(body), [])


def read(classifier: Classifier, image: bytes) -> WorkerBody:
    """Read the numbers on a page.

    Args:
        classifier: the open model.
        image: the bytes of an image file.

    Returns:
        The body of the response to POST /v1/read, and all digits of the page.

    Raises:
        ImageError: the image cannot be decoded.
    """
    start = time.perf_counter()
    recognition = classifier.read(image)
    seconds = time.perf_counter() - start
    body = bodies.Reading(
        text=recognition.text,
        lines=list(recognition.lines),
        digits=[
            bodies.Digit(box=digit.box, **vars(_prediction_body(digit.prediction)))
            for digit in recognition.digits
        ],
        total_ms=_milliseconds(seconds),
        model=_model_body(classifier),
    )
    counted = [_counted(digit.prediction, None) for digit in recognition.digits]
    return WorkerBody(bodies.encode(body), counted)


def numbers(
    classifier: Classifier, image: bytes, reader: NumberReader, checking: threading.Lock
) -> WorkerBody:
    """Read the number in each region, and compare it with the last one.

    Args:
        classifier: the open model.
        image: the bytes of an image file.
        reader: knows the regions and the last values.
        checking: the lock of the last values.

    Returns:
        The body of the response to POST /v1/numbers, and all digits.

    Raises:
        ImageError: the image cannot be decoded, or a region is not inside it.
    """
    start = time.perf_counter()
    readings = reader.read(classifier, image)
    with checking:
        records = [reader.record(reader.check(reading)) for reading in readings]
        reader.last_values.stage()
        reader.last_values.save()
    body = bodies.Numbers(
        numbers=[bodies.Number(**record) for record in records],
        total_ms=_milliseconds(time.perf_counter() - start),
        model=_model_body(classifier),
    )
    digits = [digit for reading in readings for digit in reading.recognition.digits]
    return WorkerBody(bodies.encode(body), [_counted(digit.prediction, None) for digit in digits])


def to_png(image: bytes) -> WorkerBody:
    """Convert an image to an upright PNG without metadata, of at most 1,000 pixels a side.

    The PNG is gray if the image is; transparent pixels become white.

    Args:
        image: the bytes of an image file.

    Raises:
        ImageError: the image cannot be decoded.
    """
    rgb = decode_color(image, longest=_MAX_KEPT_SIDE_PX).rgb
    is_gray = (rgb == rgb[:, :, :1]).all()
    file = io.BytesIO()
    Image.fromarray(rgb[:, :, 0] if is_gray else rgb).save(file, "PNG")
    return WorkerBody(file.getvalue(), [])


def describe(
    classifier: Classifier, limits: Limits, reads_numbers: bool
) -> bodies.ModelDescription:
    """Return the body of the response to GET /v1/model.

    Args:
        classifier: the open model.
        limits: the limits on images that the body states.
        reads_numbers: whether the server was started with `--read`.
    """
    spec = classifier.spec
    return bodies.ModelDescription(
        **vars(_model_body(classifier)),
        labels=list(spec.labels),
        input_shape=list(spec.fixed_shape),
        dataset=spec.dataset.name,
        test_accuracy=None if spec.metrics is None else spec.metrics.test_accuracy,
        n_test=None if spec.metrics is None else spec.metrics.n_test,
        provenance=dict(spec.provenance),
        max_body_bytes=limits.body_bytes,
        max_pixels=limits.pixels,
        reads_numbers=reads_numbers,
    )


def _model_body(classifier: Classifier) -> bodies.Model:
    spec, backend = classifier.spec, classifier.backend
    return bodies.Model(
        name=spec.name,
        precision=spec.precision,
        digest=spec.digest,
        backend=backend.name,
        backend_version=backend.version,
        device=backend.device,
    )


def _preprocess_drawing(image: bytes) -> PreprocessedImage:
    """Convert a drawing, dark on white, to MNIST's format; the ink is the inverted gray value.

    In contrast to `preprocess`, shadows, ruled lines and specks are not removed. The method of the
    result is "drawing", or "blank" if the drawing has no ink.

    Raises:
        ImageError: the image cannot be decoded.
    """
    decoded = decode(image, longest=_MAX_DRAWING_SIDE_PX)
    ink = 255 - decoded.gray
    pixels = to_mnist_format(ink)
    rows, columns = ink.any(axis=1).nonzero()[0], ink.any(axis=0).nonzero()[0]
    width, height = decoded.size
    if not rows.size:
        return PreprocessedImage(pixels, (0, 0, width, height), DARK_ON_LIGHT, "blank")
    x_scale, y_scale = width / ink.shape[1], height / ink.shape[0]
    box = (
        int(columns[0] * x_scale),
        int(rows[0] * y_scale),
        int((columns[-1] + 1) * x_scale),
        int((rows[-1] + 1) * y_scale),
    )
    return PreprocessedImage(pixels, box, DARK_ON_LIGHT, "drawing")


def _counted(prediction: Prediction, seconds: float | None) -> Counted:
    accepted, confidence = bool(prediction.accepted), float(prediction.confidence)
    return Counted(prediction.label, accepted, confidence, seconds)


def _block_body(maps: Maps) -> bodies.Block:
    channels, height, width = maps.shape
    peak = max(float(maps.max()), 0.0)
    levels = np.clip(maps * (255 / peak if peak else 0), 0, 255).astype(np.uint8)
    return bodies.Block(channels, height, width, peak, base64.b64encode(levels.tobytes()).decode())


def _prediction_body(prediction: Prediction) -> bodies.Prediction:
    return bodies.Prediction(
        label=prediction.label,
        confidence=_round_score(prediction.confidence),
        accepted=prediction.accepted,
    )


def _round_score(score: float) -> float:
    return round(float(score), _SCORE_DECIMALS)


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1e3, _MILLISECONDS_DECIMALS)
