"""The JSON bodies of the API's responses, as dataclasses.

`runtime.serve.responses` builds the bodies, and `encode` converts them to JSON. The OpenAPI
document is generated from these classes; their docstrings become its descriptions. The server
process imports this module and must not load NumPy or Pillow, which only its worker process needs.
"""

import json
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from runtime.serve.json_schema import Keywords

# Types of fields, with JSON-schema keywords for the OpenAPI document. A `Box` is (left, top, right,
# bottom) in pixels.
Share: TypeAlias = Annotated[float, Keywords({"minimum": 0, "maximum": 1})]
Milliseconds: TypeAlias = Annotated[float, Keywords({"minimum": 0})]
Base64: TypeAlias = Annotated[str, Keywords({"contentEncoding": "base64"})]
Precision: TypeAlias = Annotated[str, Keywords({"enum": ["float32", "int8"]})]
Polarity: TypeAlias = Annotated[str, Keywords({"enum": ["dark on light", "light on dark"]})]
Box: TypeAlias = tuple[int, int, int, int]


@dataclass(frozen=True)
class Model:
    """The artifact and the engine that classify.

    Attributes:
        name: the model's name.
        precision: number format of the weights.
        digest: SHA-256 of the artifact, hexadecimal.
        backend: name of the engine, such as litert or onnxruntime.
        backend_version: version of the engine.
        device: cpu or gpu.
    """

    name: str
    precision: Precision
    digest: str
    backend: str
    backend_version: str
    device: str


@dataclass(frozen=True)
class ModelDescription(Model):
    """The artifact and the engine that classify, and the limits on images.

    Attributes:
        labels: one per class, in the order of the scores.
        input_shape: height, width and channels of the model's input.
        dataset: the data set that the model was trained on.
        test_accuracy: accuracy on the test set, 0 to 1; null if it was not measured.
        n_test: number of test images; null if the accuracy was not measured.
        provenance: how the model was made: recipe, seed, versions.
        max_body_bytes: a request with a larger body gets 413.
        max_pixels: an image with more pixels gets 413; a JPEG may have four times this number.
    """

    labels: list[str]
    input_shape: list[int]
    dataset: str
    test_accuracy: float | None
    n_test: int | None
    provenance: dict[str, str]
    max_body_bytes: int
    max_pixels: int


@dataclass(frozen=True)
class Prediction:
    """One classified digit.

    Attributes:
        label: the most probable label.
        confidence: the score of that label.
        accepted: false if the image is probably none of the labels, or blank.
    """

    label: str
    confidence: Share
    accepted: bool


@dataclass(frozen=True)
class Score:
    """The probability of one label.

    Attributes:
        label: the label.
        score: the probability of the label.
    """

    label: str
    score: Share


@dataclass(frozen=True)
class View:
    """The model's input and its place in the image.

    Attributes:
        pixels: the model's input: 28 x 28 bytes, row by row, from 0 (background) to 255 (ink).
        box: left, top, right, bottom of the digit in pixels of the upright image; right and bottom
            are exclusive.
        polarity: whether the ink is darker or lighter than the background.
        method: the method that separated the ink from the background, such as drawing or blank.
    """

    pixels: Base64
    box: Box
    polarity: Polarity
    method: str


@dataclass(frozen=True)
class Classification(Prediction):
    """The digit in an image.

    Attributes:
        scores: the probability of every label, in the model's order.
        view: the model's input and its place in the image.
        preprocess_ms: milliseconds to decode the image and find the digit.
        inference_ms: milliseconds to classify the digit.
        model: the artifact and the engine that classified the digit.
    """

    scores: list[Score]
    view: View
    preprocess_ms: Milliseconds
    inference_ms: Milliseconds
    model: Model


@dataclass(frozen=True)
class Block:
    """The feature maps of one block: a convolution, before its max pooling.

    Attributes:
        channels: number of maps, one per filter.
        height: rows of a map.
        width: columns of a map.
        peak: the value that the byte 255 stands for: the largest value of the block.
        maps: channels x height x width bytes, map by map, row by row; 0 for values up to 0.
    """

    channels: int
    height: int
    width: int
    peak: float
    maps: Base64


@dataclass(frozen=True)
class FeatureMaps:
    """What the network computes between the image and the scores.

    Attributes:
        blocks: one for each max pooling, in the order of the network.
        model: the artifact and the engine that classifies with it.
    """

    blocks: list[Block]
    model: Model


@dataclass(frozen=True)
class _Located:
    """Part of an image.

    Attributes:
        box: left, top, right, bottom in pixels of the upright image; right and bottom are
            exclusive.
    """

    box: Box


@dataclass(frozen=True)
class Digit(Prediction, _Located):
    """One digit of a page, and its bounding box."""


@dataclass(frozen=True)
class Reading:
    """The numbers on a page.

    Attributes:
        text: all lines, separated by line breaks.
        lines: the digits of each line, from top to bottom; `?` for a place that is not certainly
            one digit.
        digits: every digit, line by line.
        total_ms: milliseconds to decode and read the page.
        model: the artifact and the engine that read the page.
    """

    text: str
    lines: list[str]
    digits: list[Digit]
    total_ms: Milliseconds
    model: Model


@dataclass(frozen=True)
class Health:
    """The result of a health check.

    Attributes:
        status: always ok; an unhealthy server sends a problem with status 503 instead.
    """

    status: Literal["ok"]


@dataclass(frozen=True)
class Problem:
    """The reason for which a request was rejected (RFC 9457).

    Attributes:
        type: always about:blank, which means that the title is the reason phrase of the status.
        title: the reason phrase of the HTTP status.
        status: the HTTP status.
        detail: one line: the cause and the remedy.
    """

    type: Literal["about:blank"]
    title: str
    status: int
    detail: str


def encode(body: object) -> bytes:
    """Return a body, a dataclass or a dict, as JSON without spaces, in UTF-8.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    text = json.dumps(
        body, default=vars, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    return text.encode()
