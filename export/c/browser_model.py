"""Write a model as the file `model.bin`, which the program of the static site runs.

`export.web` calls `browser_model`. The program is `digits.wasm`; its source is `pieces/browser.c`.
The file is a copy of a part of the program's memory: structs as C lays them out in WebAssembly, and
the arrays to which they point.
"""

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from export.c.network import (
    Convolution,
    Cropping,
    Dense,
    GlobalAverage,
    Layer,
    Limiting,
    Network,
    Padding,
    Pooling,
    Requantization,
)
from runtime.model.spec import ModelSpec

FORMAT = 1  # of the file; the program does not run files of another format
_ADDRESS = 0x100000  # to which the page copies the file; MODEL in browser.c
_HEADER = "<3d12i"  # struct model in browser.c
_ALIGNMENT = 16  # bytes; address of each struct and array
# The constants of `kind` in browser.c, in this order.
_KINDS = (
    "convolution",
    "depthwise convolution",
    "dense",
    "max pooling",
    "average pooling",
    "global average",
    "padding",
    "cropping",
    "limiting",
)


def browser_model(network: Network, spec: ModelSpec) -> bytes:
    """Return the content of `model.bin`.

    Args:
        network: the layers, from `export.c.network.read_network`.
        spec: the spec of the same artifact.
    """
    memory = _Memory(struct.calcsize(_HEADER))
    steps = [
        (_KINDS.index(_kind(layer)), _layer(layer, memory), layer.output.size)
        for layer in network.layers
    ]
    step = memory.integers(value for each in steps for value in each)
    softmax = memory.array(network.softmax.astype("<u4"))
    model = spec.rejection_model
    rejection: tuple[int, ...] = (0, 0, 0, 0, 0)
    constants = (0.0, 0.0)
    if model is not None:
        arrays = (memory.array(getattr(model, name)) for name in ("scales", "biases", "outputs"))
        rejection = (len(model.weights), memory.array(model.weights), *arrays)
        constants = (model.logit_weight, model.threshold)
    header = struct.pack(
        _HEADER,
        *constants,
        spec.confidence_threshold,
        FORMAT,
        len(memory.data),
        len(spec.labels),
        network.workspace_bytes,
        len(steps),
        step,
        softmax,
        *rejection,
    )
    return header + bytes(memory.data[len(header) :])


def feature_maps(network: Network) -> list[dict[str, int]]:
    """Return the layers whose feature maps the page shows, in the order of the network.

    The feature maps are the inputs of all max poolings. If a convolution includes its pooling, they
    are its output without the pooling.

    Returns:
        For each layer its index, the shape of the maps, and the byte that represents the number 0.
    """
    found = []
    for index, layer in enumerate(network.layers):
        if isinstance(layer, Convolution) and layer.pool != (1, 1):
            height = (layer.input.height - layer.kernel.height) // layer.stride.height + 1
            width = (layer.input.width - layer.kernel.width) // layer.stride.width + 1
            shape, zero = (height, width, layer.output.channels), layer.requantization.zero
        elif isinstance(layer, Pooling) and layer.kind == "max":
            shape, zero = layer.input, _zero(network.layers[:index])
        else:
            continue
        sizes = dict(zip(("height", "width", "channels"), shape, strict=True))
        found.append({"layer": index, **sizes, "zero": zero})
    return found


class _Memory:
    """A growing copy of the program's memory from `_ADDRESS` on, which begins with a header."""

    def __init__(self, header_bytes: int) -> None:
        self.data = bytearray(header_bytes)

    def put(self, data: bytes) -> int:
        """Append data and return its address."""
        self.data += bytes(-len(self.data) % _ALIGNMENT)
        address = _ADDRESS + len(self.data)
        self.data += data
        return address

    def integers(self, values: Any) -> int:
        """Append int32 numbers and return their address."""
        return self.array(np.array(list(values), "<i4"))

    def array(self, values: npt.NDArray[Any]) -> int:
        """Append the elements of an array and return their address."""
        return self.put(values.astype(values.dtype.newbyteorder("<")).tobytes())


def _kind(layer: Layer) -> str:
    if isinstance(layer, Convolution):
        return "depthwise convolution" if layer.depthwise else "convolution"
    if isinstance(layer, Pooling):
        return f"{layer.kind} pooling"
    kinds: dict[type, str] = {
        Dense: "dense",
        GlobalAverage: "global average",
        Padding: "padding",
        Cropping: "cropping",
        Limiting: "limiting",
    }
    return kinds[type(layer)]


def _layer(layer: Layer, memory: _Memory) -> int:
    """Append a layer's arrays and its struct; return the address of the struct.

    Bytes at the end of a struct are written as one int32.
    """
    source, result = layer.input, layer.output
    windows: tuple[int, ...]
    if isinstance(layer, Convolution):
        windows = (*layer.kernel, *layer.stride, *layer.pool)
        return memory.integers((*source, *result, *windows, *_parameters(layer, memory)))
    if isinstance(layer, Dense):
        return memory.integers((source.size, result.size, *_parameters(layer, memory)))
    if isinstance(layer, GlobalAverage):
        rule = _requantization(layer.requantization, memory)
        return memory.integers((*source, *result, layer.zero, *rule))
    if isinstance(layer, Limiting):
        return memory.integers((source.size, layer.least | layer.most << 8))
    corner = (layer.border.top, layer.border.left)
    if isinstance(layer, Pooling):
        windows, limits = (*layer.window, *layer.stride), layer.least | layer.most << 8
        return memory.integers((*source, *result, *windows, *corner, limits))
    if isinstance(layer, Padding):
        return memory.integers((*source, *result, *corner, layer.zero))
    assert isinstance(layer, Cropping)
    return memory.integers((*source, *result, *corner))


def _parameters(layer: Convolution | Dense, memory: _Memory) -> tuple[int, ...]:
    weights, biases = memory.array(layer.weights), memory.array(layer.biases)
    return (weights, biases, *_requantization(layer.requantization, memory))


def _requantization(rule: Requantization, memory: _Memory) -> tuple[int, ...]:
    return (memory.array(rule.scales), rule.zero, rule.least, rule.most)


def _zero(layers: tuple[Layer, ...]) -> int:
    """Return the byte that represents 0 in the output of the last layer; 0 for the input pixels."""
    for layer in reversed(layers):
        if isinstance(layer, (Convolution, Dense, GlobalAverage)):
            return layer.requantization.zero
    return 0
