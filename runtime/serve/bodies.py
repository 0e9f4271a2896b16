"""The JSON bodies of responses, as dataclasses; the OpenAPI document is generated from them.

The docstrings are the descriptions in that document. The parent process imports this module, so it
must import neither NumPy nor Pillow.
"""

import json
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from runtime.serve.json_schema import Keywords

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
        digest: SHA-256 of the artifact.
        backend: the engine.
        backend_version: the engine's version.
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
    """The artifact and the engine that classify, and which images the server accepts.

    Attributes:
        labels: one per class, in the order of the scores.
        input_shape: height, width and channels of the model's input.
        dataset: the data set that the model was trained on.
        test_accuracy: accuracy on the test set, 0 to 1; null if it was not measured.
        n_test: images in the test set; null if the accuracy was not measured.
        provenance: how the model was made: recipe, seed, versions.
        max_body_bytes: largest body of a request; a larger one gets 413.
        max_pixels: pixels of the largest image, four times as many for a JPEG; a larger one gets
            413.
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
        accepted: false if the image probably shows none of the labels.
    """

    label: str
    confidence: Share
    accepted: bool


@dataclass(frozen=True)
class Score:
    """The probability of one label.

    Attributes:
        label: the label.
        score: its probability.
    """

    label: str
    score: Share


@dataclass(frozen=True)
class View:
    """The model's input, and how it was cut out of the image.

    Attributes:
        pixels: the model's input: 28 x 28 bytes, row by row, 0 background to 255 ink.
        box: left, top, right, bottom of the digit in pixels of the upright image; right and bottom
            are exclusive.
        polarity: whether the ink is darker or lighter than the background.
        method: how the ink was found.
    """

    pixels: Base64
    box: Box
    polarity: Polarity
    method: str


@dataclass(frozen=True)
class Classification(Prediction):
    """The digit that an image shows.

    Attributes:
        scores: the probability of every label, in the model's order.
        view: the model's input.
        preprocess_ms: time to decode the image and find the digit.
        inference_ms: time to classify the digit.
        model: the artifact and the engine that classified it.
    """

    scores: list[Score]
    view: View
    preprocess_ms: Milliseconds
    inference_ms: Milliseconds
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
    """One digit of a page, and where it is."""


@dataclass(frozen=True)
class Reading:
    """The numbers on a page.

    Attributes:
        text: all lines, separated by line breaks.
        lines: the digits of each line, from top to bottom; `?` for a place that is not certainly
            one digit.
        digits: every digit, line by line.
        total_ms: time to decode and read the page.
        model: the artifact and the engine that read it.
    """

    text: str
    lines: list[str]
    digits: list[Digit]
    total_ms: Milliseconds
    model: Model


@dataclass(frozen=True)
class Health:
    """The server answers requests.

    Attributes:
        status: always ok; a server that cannot classify sends a problem instead.
    """

    status: Literal["ok"]


@dataclass(frozen=True)
class Problem:
    """Why a request was rejected (RFC 9457).

    Attributes:
        type: always about:blank, so that the title is the phrase of the HTTP status.
        title: the phrase of the HTTP status.
        status: the HTTP status.
        detail: one line: what is wrong and what to do.
    """

    type: Literal["about:blank"]
    title: str
    status: int
    detail: str


def encode(body: object) -> bytes:
    """Return a body, a dataclass or a dict, as JSON without spaces."""
    text = json.dumps(
        body, default=vars, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    return text.encode()
