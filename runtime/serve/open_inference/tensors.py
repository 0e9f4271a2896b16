"""Parse inference requests and encode responses, with JSON and binary tensors.

`runtime.serve.open_inference.infer` uses this module. A request with binary tensors consists of a
JSON object and the bytes of the tensors; the header Inference-Header-Content-Length contains the
size of the JSON. https://github.com/triton-inference-server/server/blob/main/docs/protocol/
extension_binary_data.md specifies the extension.
"""

import json
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.serve.bodies import OUTPUT_TENSORS, PIXELS_TENSOR
from runtime.serve.images import parse_json_object
from runtime.serve.problem_details import HttpProblem

_BYTES_LENGTH = struct.Struct("<I")  # size in bytes before each element of a BYTES tensor
_QUOTED_CHARS = 40  # length of the start of an invalid value that an error message quotes


@dataclass(frozen=True)
class InferenceRequest:
    """A valid inference request.

    Attributes:
        pixels: uint8 (N, height, width, channels), N ≥ 1.
        outputs: (name, whether the tensor is sent as binary data) of the requested outputs.
        id: the identifier that the response repeats; None if the request has none.
    """

    pixels: npt.NDArray[np.uint8]
    outputs: tuple[tuple[str, bool], ...]
    id: str | None


def parse(body: bytes, json_bytes: int | None, image_shape: Sequence[int]) -> InferenceRequest:
    """Parse the body of an inference request.

    Args:
        body: the JSON object, followed by the bytes of the binary tensors.
        json_bytes: size of the JSON object; None if the whole body is JSON.
        image_shape: (height, width, channels) of one image.

    Raises:
        HttpProblem: 400 if the request is invalid.
    """
    if json_bytes is not None and json_bytes > len(body):
        raise HttpProblem(
            400,
            f"Inference-Header-Content-Length is {json_bytes}, but the body has {len(body)} bytes",
        )
    request = parse_json_object(body[:json_bytes])
    binary = b"" if json_bytes is None else body[json_bytes:]
    identifier = request.get("id")
    if not isinstance(identifier, str | None):
        raise HttpProblem(400, "id is not a text")
    inputs = request.get("inputs")
    if not (isinstance(inputs, list) and len(inputs) == 1 and isinstance(inputs[0], dict)):
        raise HttpProblem(400, f"inputs must be a list of one tensor, {PIXELS_TENSOR}")
    return InferenceRequest(
        _parse_pixels(inputs[0], binary, image_shape), _parse_outputs(request), identifier
    )


def _parse_pixels(
    tensor: dict[str, Any], binary: bytes, image_shape: Sequence[int]
) -> npt.NDArray[np.uint8]:
    name, datatype, shape = (tensor.get(key) for key in ("name", "datatype", "shape"))
    if name != PIXELS_TENSOR:
        raise HttpProblem(400, f"unknown input {_quote(name)}: the input is {PIXELS_TENSOR}")
    if datatype != "UINT8":
        raise HttpProblem(
            400,
            f"the datatype of {PIXELS_TENSOR} is {_quote(datatype)}: send UINT8, from 0 "
            "(background) to 255 (ink)",
        )
    if not (
        isinstance(shape, list)
        and all(type(size) is int for size in shape)
        and shape[1:] == list(image_shape)
        and shape[0] > 0
    ):
        expected = ", ".join(map(str, image_shape))
        raise HttpProblem(
            400, f"the shape of {PIXELS_TENSOR} is {_quote(shape)}: send [N, {expected}], N ≥ 1"
        )
    count = math.prod(shape)
    size = _parameters(tensor).get("binary_data_size")
    if size is None:
        data = _bytes_of(tensor.get("data"))
        if binary:
            raise HttpProblem(400, f"{PIXELS_TENSOR} has no binary_data_size, but binary data came")
    elif size == len(binary) and "data" not in tensor:
        data = binary
    else:
        raise HttpProblem(
            400,
            f"binary_data_size is {_quote(size)}, but {len(binary)} bytes follow the JSON; "
            "send either binary data or data",
        )
    if len(data) != count:
        raise HttpProblem(
            400, f"{PIXELS_TENSOR} has {len(data)} values, but its shape needs {_quote(count)}"
        )
    return np.frombuffer(data, np.uint8).reshape(shape)


def _bytes_of(data: object) -> bytes:
    """Return the values of a JSON tensor, flat or nested, as bytes.

    Raises:
        HttpProblem: 400 if the data are not lists of whole numbers from 0 to 255.
    """
    values = data
    while isinstance(values, list) and values and type(values[0]) is list:
        if set(map(type, values)) != {list}:
            break
        values = list(chain.from_iterable(values))
    if isinstance(values, list) and set(map(type, values)) <= {int}:
        try:
            return bytes(values)
        except ValueError:
            pass
    raise HttpProblem(
        400, f"the data of {PIXELS_TENSOR} are not a list of whole numbers from 0 to 255"
    )


def _parse_outputs(request: dict[str, Any]) -> tuple[tuple[str, bool], ...]:
    """Return (name, whether it is sent as binary data) of the requested outputs."""
    default = _flag(_parameters(request), "binary_data_output", False)
    requested = request.get("outputs")
    if requested is None or requested == []:
        return tuple((name, default) for name in OUTPUT_TENSORS)
    if not (isinstance(requested, list) and all(isinstance(each, dict) for each in requested)):
        raise HttpProblem(400, "outputs is not a list of objects")
    outputs = []
    for each in requested:
        name, parameters = each.get("name"), _parameters(each)
        if not isinstance(name, str) or name not in OUTPUT_TENSORS:
            raise HttpProblem(
                400, f"unknown output {_quote(name)}: the outputs are {', '.join(OUTPUT_TENSORS)}"
            )
        if "classification" in parameters:
            raise HttpProblem(400, "classification is not supported: request the output label")
        outputs.append((name, _flag(parameters, "binary_data", default)))
    if len({name for name, _ in outputs}) < len(outputs):
        raise HttpProblem(400, "an output is requested twice")
    return tuple(outputs)


def _parameters(record: dict[str, Any]) -> dict[str, Any]:
    parameters = record.get("parameters", {})
    if not isinstance(parameters, dict):
        raise HttpProblem(400, "parameters is not an object")
    return parameters


def _flag(parameters: dict[str, Any], name: str, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise HttpProblem(400, f"{name} is {_quote(value)}: pass true or false")
    return value


def _quote(value: object) -> str:
    """Return the start of a JSON value, for an error message."""
    try:
        text = json.dumps(value)
    except (RecursionError, ValueError):
        return "…"
    return text if len(text) <= _QUOTED_CHARS else f"{text[:_QUOTED_CHARS]}…"


def encode(
    head: dict[str, object],
    tensors: dict[str, tuple[str, list[int], list[Any]]],
    outputs: Sequence[tuple[str, bool]],
) -> tuple[bytes, int | None]:
    """Encode an inference response.

    Args:
        head: the fields of the response besides `outputs`.
        tensors: name → (datatype, shape, flat values) of all outputs.
        outputs: (name, whether it is sent as binary data) of the outputs to send, in order.

    Returns:
        (the body, size of its JSON). The size is None if no output is binary.
    """
    described: list[dict[str, object]] = []
    binary = b""
    for name, as_binary in outputs:
        datatype, shape, values = tensors[name]
        tensor: dict[str, object] = {"name": name, "datatype": datatype, "shape": shape}
        if as_binary:
            data = _pack(datatype, values)
            tensor["parameters"] = {"binary_data_size": len(data)}
            binary += data
        else:
            tensor["data"] = values
        described.append(tensor)
    # ASCII: half of a surrogate pair, which an id may contain, has no UTF-8.
    record = {**head, "outputs": described}
    text = json.dumps(record, allow_nan=False, separators=(",", ":")).encode()
    is_binary = any(as_binary for _, as_binary in outputs)
    return text + binary, len(text) if is_binary else None


def _pack(datatype: str, values: list[Any]) -> bytes:
    """Return the bytes of a tensor: little-endian numbers, or texts with their sizes before."""
    if datatype == "BYTES":
        texts = [value.encode() for value in values]
        return b"".join(_BYTES_LENGTH.pack(len(text)) + text for text in texts)
    return np.array(values, {"FP32": "<f4", "BOOL": "?"}[datatype]).tobytes()
