"""Read the layers of an int8 .tflite artifact in the order of execution.

`export.c.source` writes the layers as C. `export.c.tflm` checks with this module that a model is
supported.

The .tflite file stores an activation as int8. The C code stores the activation as a byte, which is
the int8 value + 128. With this offset, the input of the network is the raw pixel. The byte that
represents the number 0 is called the zero point. Biases include the zero point of the input, so a
convolution in C is a sum of weight × byte. Requantization converts this int32 sum to a byte.
"""

import dataclasses
import importlib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from runtime.engines import install_hint
from runtime.errors import ArtifactError, BackendUnavailable
from runtime.model.artifact import Artifact

# Smallest scale of a requantization; a model with a smaller scale is rejected. With much smaller
# scales, the C code would have to shift a 64-bit product by 64 bits or more.
MIN_SCALE = 2.0**-32
# Upper limit of the scale of a requantization. A model with this scale or a larger one is rejected,
# as by XNNPACK.
MAX_SCALE = 2.0**8
_CODES = 256  # number of different values of an int8 or a byte
_OFFSET = 128  # difference between the byte in the C code and the int8 in the .tflite file
_MAX_SOFTMAX_BITS = 23  # a softmax table with values that are not multiples of 2^-23 is rejected

Weights = npt.NDArray[np.int8]
Biases = npt.NDArray[np.int32]
Scales = npt.NDArray[np.float32]


class Shape(NamedTuple):
    """The shape of one image or of its activations, channels last, without the batch."""

    height: int
    width: int
    channels: int

    @property
    def size(self) -> int:
        """Number of values."""
        return self.height * self.width * self.channels


class Window(NamedTuple):
    """Height and width of a kernel or of a pooling window, or its stride, in pixels."""

    height: int
    width: int


class Border(NamedTuple):
    """Number of rows and columns that are padded to or cropped from each side of an image."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True)
class Requantization:
    """Convert an int32 sum to a byte: round(sum × scale) + zero, clipped to `least` and `most`.

    Ties are rounded to the even number. The rule is XNNPACK's requantization "fp32".

    Attributes:
        scales: float32 (channels,), input scale × weight scale / output scale.
        zero: zero point of the output, 0 to 255.
        least: smallest byte of the output; if the layer includes a ReLU, this is `zero`.
        most: largest byte of the output.
    """

    scales: Scales
    zero: int
    least: int
    most: int


@dataclass(frozen=True, eq=False)
class Convolution:
    """A convolution without padding, followed by a max pooling of the int32 sums.

    Requantization is monotone, so only the maximum of the sums in a pooling window is requantized.

    Attributes:
        name: C identifier, unique in the network.
        input: shape of the input.
        output: shape of the output, after the pooling.
        weights: int8 (output channels, height, width, input channels). If `depthwise`, int8
            (height, width, output channels).
        biases: int32 (output channels,), including the zero point of the input.
        requantization: conversion of the sums to bytes.
        kernel: size of the kernel.
        stride: stride of the convolution.
        depthwise: True if each output channel is computed from only one input channel.
        pool: size and stride of the pooling windows; (1, 1) if the layer has no pooling.
    """

    name: str
    input: Shape
    output: Shape
    weights: Weights
    biases: Biases
    requantization: Requantization
    kernel: Window
    stride: Window
    depthwise: bool
    pool: Window

    @property
    def multiplications(self) -> int:
        """Multiply-accumulates of one image."""
        taps = self.kernel.height * self.kernel.width
        inputs = 1 if self.depthwise else self.input.channels
        return self.output.size * self.pool.height * self.pool.width * taps * inputs


@dataclass(frozen=True, eq=False)
class Dense:
    """A fully connected layer.

    Attributes:
        name: C identifier, unique in the network.
        input: shape of the input, which is read as a vector.
        output: shape (1, 1, outputs).
        weights: int8 (outputs, inputs).
        biases: int32 (outputs,), including the zero point of the input.
        requantization: conversion of the sums to bytes.
    """

    name: str
    input: Shape
    output: Shape
    weights: Weights
    biases: Biases
    requantization: Requantization

    @property
    def multiplications(self) -> int:
        """Multiply-accumulates of one image."""
        return self.weights.size


@dataclass(frozen=True)
class Pooling:
    """Maximum or mean of each channel over windows.

    Attributes:
        name: C identifier, unique in the network.
        input: shape of the input.
        output: shape of the output.
        kind: "max" or "average".
        window: size of the windows.
        stride: stride of the windows.
        border: rows and columns that padding "same" adds to the input. The maximum and the mean
            ignore padded pixels.
        least: smallest byte of the output; larger than 0 only if the layer includes a ReLU.
        most: largest byte of the output; less than 255 only if the layer includes a ReLU6.
        multiplications: 0, because pooling does not multiply.
    """

    name: str
    input: Shape
    output: Shape
    kind: str
    window: Window
    stride: Window
    border: Border
    least: int
    most: int
    multiplications: int = 0


@dataclass(frozen=True, eq=False)
class GlobalAverage:
    """The mean of each channel over the whole image, requantized.

    Attributes:
        name: C identifier, unique in the network.
        input: shape of the input.
        output: shape (1, 1, channels).
        zero: zero point of the input, 0 to 255.
        requantization: conversion of the sums of (byte − zero) to bytes. The array `scales` has one
            element for all channels, which includes the division by the number of pixels.
        multiplications: 0, because the few multiplications of this layer are not counted.
    """

    name: str
    input: Shape
    output: Shape
    zero: int
    requantization: Requantization
    multiplications: int = 0


@dataclass(frozen=True)
class Padding:
    """Pad an image with `border` rows and columns of the byte `zero`, the input's zero point.

    Attributes:
        name: C identifier, unique in the network.
        input: shape of the input.
        output: shape of the output.
        border: number of padded rows and columns.
        zero: the byte of padded pixels, 0 to 255.
        multiplications: 0.
    """

    name: str
    input: Shape
    output: Shape
    border: Border
    zero: int
    multiplications: int = 0


@dataclass(frozen=True)
class Cropping:
    """Crop `border` rows and columns from an image.

    Attributes:
        name: C identifier, unique in the network.
        input: shape of the input.
        output: shape of the output.
        border: number of cropped rows and columns.
        multiplications: 0.
    """

    name: str
    input: Shape
    output: Shape
    border: Border
    multiplications: int = 0


@dataclass(frozen=True)
class Limiting:
    """A ReLU or ReLU6 as a separate layer: clip all bytes to the range `least` to `most`.

    Attributes:
        name: C identifier, unique in the network.
        input: shape of the input.
        output: shape of the output.
        least: smallest byte of the output, the zero point.
        most: largest byte of the output.
        multiplications: 0.
    """

    name: str
    input: Shape
    output: Shape
    least: int
    most: int
    multiplications: int = 0


Layer = Convolution | Dense | Pooling | GlobalAverage | Padding | Cropping | Limiting


@dataclass(frozen=True, eq=False)
class Network:
    """The layers from pixels to logits, and the table of the softmax.

    Attributes:
        input: shape of the pixels.
        layers: layers in the order of execution; the input of a layer is the output of the previous
            layer.
        softmax: int64 (256,). Element k is proportional to e^(−scale · k), the softmax numerator
            of a logit that is k quantization steps below the largest logit.
    """

    input: Shape
    layers: tuple[Layer, ...]
    softmax: npt.NDArray[np.int64]

    @property
    def multiplications(self) -> int:
        """Multiply-accumulates of one image."""
        return sum(layer.multiplications for layer in self.layers)

    @property
    def workspace_bytes(self) -> int:
        """Size of the workspace: the largest sum of input and output of a layer.

        Outputs of layers lie alternately at the start and at the end of the workspace. The input
        of the network lies elsewhere.
        """
        sizes = [layer.output.size for layer in self.layers]
        return max(first + second for first, second in zip([0, *sizes], sizes, strict=False))


def read_network(artifact: Artifact) -> Network:
    """Read the layers of an int8 .tflite artifact.

    Raises:
        ArtifactError: the artifact is not an int8 .tflite file, or a layer is not supported. The
            message contains the name of the layer.
    """
    require_int8_tflite(artifact)
    spec = artifact.spec
    try:
        return _Reader(artifact.data).network(Shape(*spec.fixed_shape), len(spec.labels))
    except ArtifactError as error:
        raise ArtifactError(f"{artifact.path}: {error}") from error


def require_int8_tflite(artifact: Artifact) -> None:
    """Raise ArtifactError unless the artifact is an int8 .tflite file."""
    if artifact.format != ".tflite" or artifact.spec.precision != "int8":
        raise ArtifactError(
            f"{artifact.path}: digit-edge export-c needs an int8 .tflite artifact; create one with "
            "digit-edge export-tflite --quantize"
        )
    if artifact.spec.interface is not None:
        raise ArtifactError(
            f"{artifact.path}: digit-edge export-c needs the input and output of this project's "
            f"models, (N, 28, 28, 1) with int8 = pixel − 128 and a softmax; this model has "
            f"{artifact.spec.interface}"
        )


def litert_module(name: str) -> Any:
    """Return a module of LiteRT, which has no type stubs.

    Raises:
        BackendUnavailable: LiteRT or a package that it needs is not installed.
    """
    try:
        return importlib.import_module(f"ai_edge_litert.{name}")
    except ImportError as error:
        raise BackendUnavailable(
            f"digit-edge export-c needs LiteRT ({error}): {install_hint('litert')}"
        ) from error


class _Reader:
    """Parse the operators of a .tflite file from the input to the logits.

    Parameters named `operator` and `options` are objects of the flatbuffers schema. Parameters
    named `tensor` are indices of tensors in the file.
    """

    def __init__(self, data: bytes) -> None:
        schema = litert_module("schema_py_generated")
        model = schema.ModelT.InitFromPackedBuf(data, 0)
        if len(model.subgraphs) != 1:
            raise ArtifactError(
                "the model has branches or loops, which digit-edge export-c does not support"
            )
        (graph,) = model.subgraphs
        self._schema = schema
        self._buffers = model.buffers
        self._tensors = graph.tensors
        self._input = int(graph.inputs[0])
        codes = [_operator_code(code) for code in model.operatorCodes]
        kinds: dict[int, str] = {
            n: name for name, n in vars(schema.BuiltinOperator).items() if name.isupper()
        }
        self._operators: list[tuple[str, Any]] = [
            (kinds[codes[each.opcodeIndex]], each) for each in graph.operators
        ]
        self._names = {
            "rejection"
        }  # used names of layers; "rejection" is the prefix of other arrays in C

    def network(self, shape: Shape, classes: int) -> Network:
        """Return the whole network for images of `shape`."""
        read: dict[str, Callable[[Any, Shape], Layer | None]] = {
            "CONV_2D": self._convolution,
            "DEPTHWISE_CONV_2D": self._convolution,
            "FULLY_CONNECTED": self._dense,
            "MAX_POOL_2D": self._pooling,
            "AVERAGE_POOL_2D": self._pooling,
            "MEAN": self._global_average,
            "PAD": self._padding,
            "STRIDED_SLICE": self._cropping,
            "RESHAPE": self._reshape,
            "RELU": self._limiting,
            "RELU6": self._limiting,
        }
        layers: list[Layer] = []
        tensor, operators = self._input, iter(self._operators)
        for kind, operator in operators:
            if kind == "DEQUANTIZE":
                break
            if kind not in read:
                raise ArtifactError(
                    f"layer {self._label(operator)} is a {kind}, which digit-edge export-c does "
                    f"not support; replace it by one of {', '.join(sorted(read))}"
                )
            if operator.inputs[0] != tensor:
                raise ArtifactError(
                    f"the input of layer {self._label(operator)} is not the output of the previous "
                    "layer; digit-edge export-c does not support branches"
                )
            tensor = int(operator.outputs[0])
            if self._type(tensor) != "INT8":
                raise ArtifactError(
                    f"layer {self._label(operator)} computes in {self._type(tensor)}, not in INT8; "
                    "export the model again with digit-edge export-tflite --quantize"
                )
            layer = read[kind](operator, shape)
            if layer is not None:
                layers += self._padded(operator, layer)
                shape = layer.output
        softmax = self._softmax(list(operators))
        if shape.size != classes or softmax is None:
            raise ArtifactError(
                "the model does not end in a softmax by look-up table; export it again with this "
                "version of digit-edge export-tflite --quantize"
            )
        return Network(Shape(*self._shape(self._input)), tuple(_fused(layers)), softmax)

    def _convolution(self, operator: Any, shape: Shape) -> Layer:
        options, output = operator.builtinOptions, Shape(*self._shape(operator.outputs[0]))
        weights = self._constant(operator.inputs[1])
        depthwise = hasattr(options, "depthMultiplier")
        if (options.dilationHFactor, options.dilationWFactor) != (1, 1):
            raise ArtifactError(
                f"layer {self._label(operator)} is a dilated convolution, which digit-edge "
                "export-c does not support; set dilation_rate to 1"
            )
        if not depthwise and weights.shape[3] != shape.channels:
            raise ArtifactError(
                f"layer {self._label(operator)} is a grouped convolution, which digit-edge "
                "export-c does not support; set groups to 1"
            )
        if depthwise:
            weights = weights[0]
        kernel = Window(*(weights.shape[:2] if depthwise else weights.shape[1:3]))
        axes = (0, 1) if depthwise else (1, 2, 3)
        return Convolution(
            name=self._name(operator, "convolution"),
            input=shape,
            output=output,
            weights=weights,
            biases=self._biases(operator, weights.astype(np.int64).sum(axis=axes)),
            requantization=self._requantization(operator, options),
            kernel=kernel,
            stride=Window(options.strideH, options.strideW),
            depthwise=depthwise,
            pool=Window(1, 1),
        )

    def _dense(self, operator: Any, shape: Shape) -> Layer:
        weights = self._constant(operator.inputs[1])
        if weights.shape[1] != shape.size:
            raise ArtifactError(
                f"the dense layer {self._label(operator)} is applied to each pixel; insert a "
                "Flatten layer before it, or use a convolution of 1 × 1"
            )
        return Dense(
            name=self._name(operator, "dense"),
            input=shape,
            output=Shape(1, 1, len(weights)),
            weights=weights,
            biases=self._biases(operator, weights.astype(np.int64).sum(axis=1)),
            requantization=self._requantization(operator, operator.builtinOptions),
        )

    def _pooling(self, operator: Any, shape: Shape) -> Layer:
        options, output = operator.builtinOptions, Shape(*self._shape(operator.outputs[0]))
        self._require_equal_quantization(operator)
        least, most = self._limits(operator.outputs[0], options.fusedActivationFunction)
        kind = "max" if "MAX" in self._kind(operator) else "average"
        window = Window(options.filterHeight, options.filterWidth)
        stride = Window(options.strideH, options.strideW)
        border = Border(0, 0, 0, 0)
        if options.padding == self._schema.Padding.SAME:
            border = _same(shape, window, stride)
        name = self._name(operator, f"{kind}_pooling")
        return Pooling(name, shape, output, kind, window, stride, border, least, most)

    def _global_average(self, operator: Any, shape: Shape) -> Layer:
        axes = sorted(int(axis) % 4 for axis in np.ravel(self._constant(operator.inputs[1])))
        if axes != [1, 2]:
            raise ArtifactError(
                f"layer {self._label(operator)} is a mean over the axes {axes}; digit-edge "
                "export-c supports only the mean over height and width, axes [1, 2]"
            )
        source, result = operator.inputs[0], operator.outputs[0]
        count = np.float32(shape.height * shape.width)
        scale = self._scales(source)[0] / self._scales(result)[0] / count
        rule = self._rule(operator, np.full(1, scale), 0)
        name, output = self._name(operator, "global_average"), Shape(1, 1, shape.channels)
        return GlobalAverage(name, shape, output, self._zero(source), rule)

    def _padding(self, operator: Any, shape: Shape) -> Layer:
        sides = self._constant(operator.inputs[1])
        if sides[0].any() or sides[3].any():
            raise ArtifactError(
                f"layer {self._label(operator)} pads channels; digit-edge export-c supports only "
                "padding of rows and columns"
            )
        border = Border(*(int(n) for n in (sides[1][0], sides[2][0], sides[1][1], sides[2][1])))
        output = _grown(shape, border)
        zero = self._zero(operator.inputs[0])
        return Padding(self._name(operator, "padding"), shape, output, border, zero)

    def _cropping(self, operator: Any, shape: Shape) -> Layer:
        options, output = operator.builtinOptions, Shape(*self._shape(operator.outputs[0]))
        first, _, steps = (self._constant(tensor) for tensor in operator.inputs[1:4])
        # If a bit of beginMask is set, the slice begins at 0 and the stored number is ignored.
        top, left, channel = (
            0 if options.beginMask >> axis & 1 else int(first[axis]) for axis in (1, 2, 3)
        )
        if (steps != 1).any() or options.shrinkAxisMask or options.newAxisMask or channel:
            raise ArtifactError(
                f"layer {self._label(operator)} is a slice; digit-edge export-c supports only "
                "slices that crop rows and columns"
            )
        top, left = top % shape.height, left % shape.width
        border = Border(
            top, left, shape.height - output.height - top, shape.width - output.width - left
        )
        return Cropping(self._name(operator, "cropping"), shape, output, border)

    def _reshape(self, operator: Any, shape: Shape) -> None:
        """Check that a reshape is a flatten, which leaves the order of the bytes unchanged."""
        if len(self._shape(operator.outputs[0])) != 1:
            raise ArtifactError(
                f"layer {self._label(operator)} is a reshape; digit-edge export-c supports only "
                "Flatten"
            )

    def _limiting(self, operator: Any, shape: Shape) -> Layer:
        self._require_equal_quantization(operator)
        activation = getattr(self._schema.ActivationFunctionType, self._kind(operator))
        least, most = self._limits(operator.outputs[0], activation)
        return Limiting(self._name(operator, "relu"), shape, shape, least, most)

    def _softmax(self, operators: list[tuple[str, Any]]) -> npt.NDArray[np.int64] | None:
        """Return the table of `export.softmax_lut` as integers; None if the table is missing."""
        kinds = [kind for kind, _ in operators]
        if "EMBEDDING_LOOKUP" not in kinds:
            return None
        table = self._constant(operators[kinds.index("EMBEDDING_LOOKUP")][1].inputs[1])
        if table.size != _CODES or table.dtype != np.float32:
            return None
        # The values are multiples of 2^-bits. Find the smallest number of bits. The integers and
        # their sum are then exact in float32.
        for bits in range(_MAX_SOFTMAX_BITS + 1):
            numerators = np.ldexp(table.ravel().astype(np.float64), bits)
            if (numerators == np.rint(numerators)).all():
                return numerators.astype(np.int64)
        return None

    def _padded(self, operator: Any, layer: Layer) -> list[Layer]:
        """Return the layer; a convolution with padding "same" becomes two layers."""
        if not isinstance(layer, Convolution):
            return [layer]
        if operator.builtinOptions.padding == self._schema.Padding.VALID:
            return [layer]
        border = _same(layer.input, layer.kernel, layer.stride)
        if not any(border):
            return [layer]
        grown = _grown(layer.input, border)
        zero = self._zero(operator.inputs[0])
        padding = Padding(f"{layer.name}_padding", layer.input, grown, border, zero)
        return [padding, dataclasses.replace(layer, input=grown)]

    def _biases(self, operator: Any, sums: npt.NDArray[np.int64]) -> Biases:
        """Return biases that include the zero point of the input.

        Σ w (u − zero) + bias = Σ w u + folded bias, with folded bias = bias − zero · Σ w.

        Args:
            operator: the layer.
            sums: int64 (output channels,), the sum of the weights of each output channel.
        """
        given = operator.inputs[2] if len(operator.inputs) > 2 else -1
        biases = self._constant(given).astype(np.int64) if given >= 0 else np.zeros_like(sums)
        folded = biases - self._zero(operator.inputs[0]) * sums
        if np.abs(folded).max() >= 2**31:
            raise ArtifactError(
                f"the biases of layer {self._label(operator)} exceed int32; export the model again "
                "with other calibration images"
            )
        return folded.astype(np.int32)

    def _requantization(self, operator: Any, options: Any) -> Requantization:
        source, weights, result = operator.inputs[0], operator.inputs[1], operator.outputs[0]
        if np.any(self._tensors[weights].quantization.zeroPoint):
            raise ArtifactError(
                f"the weights of layer {self._label(operator)} have a zero point other than 0; "
                "export the model again with digit-edge export-tflite --quantize"
            )
        # XNNPACK computes in float32 and in this order. Another order gives other last bits.
        scales = self._scales(source)[0] * self._scales(weights) / self._scales(result)[0]
        channels = int(self._tensors[result].shape[-1])
        scales = np.broadcast_to(scales, channels)
        return self._rule(operator, scales, options.fusedActivationFunction)

    def _rule(self, operator: Any, scales: Scales, activation: int) -> Requantization:
        scales, result = scales.astype(np.float32), operator.outputs[0]
        if scales.min() < MIN_SCALE or scales.max() >= MAX_SCALE:
            raise ArtifactError(
                f"the requantization scales of layer {self._label(operator)} are {scales.min():g} "
                f"to {scales.max():g}; digit-edge export-c supports only scales from "
                f"{MIN_SCALE:g} to less than {MAX_SCALE:g}"
            )
        return Requantization(scales, self._zero(result), *self._limits(result, activation))

    def _limits(self, tensor: int, activation: int) -> tuple[int, int]:
        """Return the smallest and the largest byte after an activation function."""
        names = self._schema.ActivationFunctionType
        zero, most = self._zero(tensor), _CODES - 1
        if activation == names.NONE:
            return 0, most
        if activation == names.RELU:
            return zero, most
        if activation == names.RELU6:
            six = round(float(np.float32(6) / self._scales(tensor)[0]))
            return zero, min(zero + six, most)
        raise ArtifactError(
            "the model has an activation function that digit-edge export-c does not support; use "
            "ReLU or ReLU6"
        )

    def _require_equal_quantization(self, operator: Any) -> None:
        """Raise ArtifactError if input and output have other scales or zero points."""
        source, result = operator.inputs[0], operator.outputs[0]
        if (self._scales(source)[0], self._zero(source)) != (
            self._scales(result)[0],
            self._zero(result),
        ):
            raise ArtifactError(
                f"layer {self._label(operator)} changes the quantization, which digit-edge "
                "export-c does not support; export the model again with digit-edge export-tflite "
                "--quantize"
            )

    def _name(self, operator: Any, kind: str) -> str:
        """Return a unique C identifier for a layer: its Keras name, or `kind` without a name."""
        parts = self._label(operator).split("/")
        name = re.sub(r"_1$", "", parts[1] if len(parts) > 1 else "")
        name = re.sub(r"\W", "_", name, flags=re.ASCII).lower()
        if not re.match("[a-z]", name) or name in self._names:
            name = kind
        unique, number = name, 2
        while unique in self._names:
            unique, number = f"{name}_{number}", number + 1
        self._names.add(unique)
        return unique

    def _label(self, operator: Any) -> str:
        """Return the name of an operator for messages, which is the name of its output tensor."""
        name: str = self._tensors[operator.outputs[0]].name.decode(errors="replace")
        return name.partition(";")[0]

    def _kind(self, operator: Any) -> str:
        return next(kind for kind, each in self._operators if each is operator)

    def _shape(self, tensor: int) -> list[int]:
        """Return the shape of a tensor without the batch."""
        return [int(n) for n in self._tensors[tensor].shape[1:]]

    def _type(self, tensor: int) -> str:
        types: dict[str, int] = vars(self._schema.TensorType)
        return next(name for name, n in types.items() if n == self._tensors[tensor].type)

    def _scales(self, tensor: int) -> Scales:
        return np.asarray(self._tensors[tensor].quantization.scale, np.float32)

    def _zero(self, tensor: int) -> int:
        """Return the zero point of a tensor as a byte of the C code."""
        return int(self._tensors[tensor].quantization.zeroPoint[0]) + _OFFSET

    def _constant(self, tensor: int) -> npt.NDArray[Any]:
        dtypes = {"INT8": np.int8, "INT32": np.int32, "FLOAT32": np.float32}
        found = self._tensors[tensor]
        data, kind = self._buffers[found.buffer].data, self._type(tensor)
        if data is None or kind not in dtypes:
            raise ArtifactError(
                f"tensor {found.name.decode(errors='replace')} is not a constant of type INT8, "
                "INT32 or FLOAT32; export the model again with digit-edge export-tflite --quantize"
            )
        values = np.frombuffer(np.asarray(data, np.uint8).tobytes(), dtypes[kind])
        return values.reshape(found.shape if found.shape is not None else ())


def _operator_code(code: Any) -> int:
    """Return the number of an operator from its two fields; the unused field has a lower number."""
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))


def _same(shape: Shape, window: Window, stride: Window) -> Border:
    """Return the border of TensorFlow's padding "same".

    If the number of rows or columns is odd, bottom or right gets one more than top or left.
    """

    def total(length: int, size: int, step: int) -> int:
        return max((math.ceil(length / step) - 1) * step + size - length, 0)

    rows = total(shape.height, window.height, stride.height)
    columns = total(shape.width, window.width, stride.width)
    return Border(rows // 2, columns // 2, rows - rows // 2, columns - columns // 2)


def _grown(shape: Shape, border: Border) -> Shape:
    """Return the shape of an image after padding."""
    return Shape(
        shape.height + border.top + border.bottom,
        shape.width + border.left + border.right,
        shape.channels,
    )


def _fused(layers: list[Layer]) -> list[Layer]:
    """Merge each max pooling into the convolution before it.

    Poolings with overlapping or padded windows are not merged.
    """
    fused: list[Layer] = []
    for layer in layers:
        before = fused[-1] if fused else None
        if (
            isinstance(layer, Pooling)
            and isinstance(before, Convolution)
            and before.pool == (1, 1)
            and layer.kind == "max"
            and layer.window == layer.stride
            and not any(layer.border)
        ):
            limits = before.requantization
            limits = dataclasses.replace(
                limits, least=max(limits.least, layer.least), most=min(limits.most, layer.most)
            )
            fused[-1] = dataclasses.replace(
                before, output=layer.output, pool=layer.window, requantization=limits
            )
        else:
            fused.append(layer)
    return fused
