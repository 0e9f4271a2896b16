"""The JSON bodies of the API's responses, as dataclasses.

`runtime.serve.responses` builds the bodies, and `encode` converts them to JSON. The OpenAPI
document is generated from these classes; their docstrings become its descriptions. The server
process imports this module and must not load NumPy or Pillow, which only its worker process needs.
"""

import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

from runtime.serve.openapi.json_schema import Keywords

# Types of fields, with JSON-schema keywords for the OpenAPI document. A `Box` is (left, top, right,
# bottom) in pixels.
Share: TypeAlias = Annotated[float, Keywords({"minimum": 0, "maximum": 1})]
Milliseconds: TypeAlias = Annotated[float, Keywords({"minimum": 0})]
Base64: TypeAlias = Annotated[str, Keywords({"contentEncoding": "base64"})]
Precision: TypeAlias = Annotated[str, Keywords({"enum": ["float32", "float16", "int8"]})]
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
        reads_numbers: whether the page reads numbers at first, not one digit.
        collects_in: name of the folder in which the server keeps labeled images; null if it keeps
            no images.
    """

    labels: list[str]
    input_shape: list[int]
    dataset: str
    test_accuracy: float | None
    n_test: int | None
    provenance: dict[str, str]
    max_body_bytes: int
    max_pixels: int
    reads_numbers: bool = False
    collects_in: str | None = None


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
class Number:
    """The number in one region of an image.

    Attributes:
        region: the name of the region.
        text: the digits without a decimal point; `?` for a place that is not certainly one digit.
        value: the number; null if it is rejected, or if the image has several lines of digits.
        confidence: the confidence of the least certain line; 0 without digits.
        accepted: false if the number is not certain, has another count of digits, or is implausible
            after the last one.
        reason: why the number is rejected; null if it is accepted.
        last_value: the last accepted number of the region, which may be this one; null if there is
            none.
    """

    region: str
    text: str
    value: float | None
    confidence: Share
    accepted: bool
    reason: str | None
    last_value: float | None


@dataclass(frozen=True)
class Numbers:
    """The number in each region of an image.

    Attributes:
        numbers: in the order of the options `--region`; one for the whole image without regions.
        total_ms: milliseconds to decode and read the image.
        model: the artifact and the engine that read the image.
    """

    numbers: list[Number]
    total_ms: Milliseconds
    model: Model


@dataclass(frozen=True)
class Kept:
    """An image that was kept for training.

    Attributes:
        label: the label with which it was kept.
        images: number of images that are kept now.
    """

    label: str
    images: int


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


# The tensors of the Open Inference Protocol: the input, and the outputs.
PIXELS_TENSOR = "pixels"
OUTPUT_TENSORS = ("scores", "label", "accepted")


@dataclass(frozen=True)
class InferenceServer:
    """The server, for clients of the Open Inference Protocol.

    Attributes:
        name: always digit-edge.
        version: version of digit-edge.
        extensions: names of the supported extensions of the protocol.
    """

    name: Literal["digit-edge"]
    version: str
    extensions: list[str]


@dataclass(frozen=True)
class Live:
    """Whether the server responds.

    Attributes:
        live: always true.
    """

    live: Literal[True]


@dataclass(frozen=True)
class Ready:
    """Whether the server can classify.

    Attributes:
        ready: always true; a server that is not ready sends an error with status 503 instead.
    """

    ready: Literal[True]


@dataclass(frozen=True)
class ModelReady(Ready):
    """Whether the model can classify.

    Attributes:
        name: the model's name.
    """

    name: str


@dataclass(frozen=True)
class TensorMetadata:
    """The metadata of a tensor.

    Attributes:
        name: the tensor's name.
        datatype: type of its values. UINT8: from 0 (background) to 255 (ink). BYTES: texts.
        shape: sizes of its axes; -1 is the number of images.
    """

    name: str
    datatype: Annotated[str, Keywords({"enum": ["UINT8", "FP32", "BOOL", "BYTES"]})]
    shape: list[int]


@dataclass(frozen=True)
class InferenceModel:
    """The model, for clients of the Open Inference Protocol.

    Attributes:
        name: the model's name.
        platform: the engine and the file format, such as litert_tflite.
        inputs: the input, pixels.
        outputs: the outputs: scores, label and accepted.
    """

    name: str
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


@dataclass(frozen=True)
class InputTensor:
    """The images to classify.

    Attributes:
        name: always pixels.
        datatype: always UINT8.
        shape: [number of images, 28, 28, 1], or the sizes in the metadata of the model.
        data: the values from 0 (background) to 255 (ink), row by row, flat or nested. Not with
            binary data.
        parameters: binary_data_size, the size in bytes of the values that follow the JSON.
    """

    name: Literal["pixels"]
    datatype: Literal["UINT8"]
    shape: list[int]
    data: list[Any] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RequestedOutput:
    """An output that the response is to contain.

    Attributes:
        name: scores, label or accepted.
        parameters: binary_data, whether the values are to follow the JSON as binary data.
    """

    name: Annotated[str, Keywords({"enum": list(OUTPUT_TENSORS)})]
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class InferenceRequest:
    """An inference request of the Open Inference Protocol.

    Attributes:
        inputs: the input, pixels.
        outputs: the outputs to send; without this field, all of them.
        id: an identifier that the response repeats.
        parameters: binary_data_output, whether outputs are binary data by default.
    """

    inputs: list[InputTensor]
    outputs: list[RequestedOutput] = field(default_factory=list)
    id: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OutputTensor(TensorMetadata):
    """The values of an output.

    Attributes:
        data: the values, row by row. Not with binary data.
        parameters: binary_data_size, the size in bytes of the values that follow the JSON.
    """

    data: list[Any] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Inference:
    """The response to an inference request.

    Attributes:
        model_name: the model's name.
        outputs: the requested outputs, in the order of the request.
        id: the identifier of the request.
    """

    model_name: str
    outputs: list[OutputTensor]
    id: str = ""


@dataclass(frozen=True)
class InferenceError:
    """The reason for which a request of the Open Inference Protocol was rejected.

    Attributes:
        error: one line: the cause and the remedy.
    """

    error: str


@dataclass(frozen=True)
class EncodedImage:
    """An image in JSON.

    Attributes:
        image: the image file in base64, or a data URL such as data:image/png;base64,…
    """

    image: str


def encode(body: object) -> bytes:
    """Return a body, a dataclass or a dict, as JSON without spaces, in UTF-8.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    text = json.dumps(
        body, default=vars, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    return text.encode()
