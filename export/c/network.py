"""Reads the network of an int8 .tflite artifact: its layers in order, ready to be written as C.

Activations are kept as bytes, u = int8 value + 128: the network's input is the raw pixel then, and
behind a ReLU u = 0 stands for 0, so that a convolution is a plain sum of weight × u.
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

from runtime.errors import ArtifactError
from runtime.model.artifact import Artifact

MIN_SCALE = 2.0**-32  # of requantization; the C shifts a 64-bit product by less than 64 bits
MAX_SCALE = 2.0**8  # XNNPACK refuses larger ones too
_CODES = 256  # values of an int8
_OFFSET = 128  # from an int8 to the byte that the C keeps

Weights = npt.NDArray[np.int8]
Biases = npt.NDArray[np.int32]
Scales = npt.NDArray[np.float32]


class Shape(NamedTuple):
    """The size of one image's activations, channels last."""

    height: int
    width: int
    channels: int

    @property
    def size(self) -> int:
        """The number of values."""
        return self.height * self.width * self.channels


class Window(NamedTuple):
    """A kernel or a pooling window, or the step between two of them."""

    height: int
    width: int


class Border(NamedTuple):
    """Rows and columns around an image; they are cropped or padded."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True)
class Requantization:
    """From an int32 sum to a byte: round(sum × scale) + zero, limited to least … most.

    Attributes:
        scales: float32 (channels,), input scale × weight scale / output scale.
        zero: the byte that stands for 0.
        least: the smallest byte of the output; behind a ReLU this is `zero`.
        most: the largest.
    """

    scales: Scales
    zero: int
    least: int
    most: int


@dataclass(frozen=True, eq=False)
class Convolution:
    """A convolution without padding, and the max pooling behind it, on the sums themselves.

    Requantization is monotone, so the maximum of the sums is requantized once.

    Attributes:
        weights: int8 (output channels, height, width, input channels); of a depthwise one
            (height, width, output channels).
        biases: int32 (output channels,), the input's zero point folded in.
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
    """A fully connected layer: int8 weights (outputs, inputs), int32 biases (outputs,)."""

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
    """Maximum or mean over windows; `border` is what padding "same" adds around the image.

    Attributes:
        kind: "max" or "average".
        least, most: limits of the output's bytes, by an activation fused into the layer.
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
        zero: the byte that stands for 0 in the input.
        requantization: of the sums of (byte − zero); one scale, with 1 / pixels in it.
    """

    name: str
    input: Shape
    output: Shape
    zero: int
    requantization: Requantization
    multiplications: int = 0


@dataclass(frozen=True)
class Padding:
    """Adds `border` of the byte `zero` around an image."""

    name: str
    input: Shape
    output: Shape
    border: Border
    zero: int
    multiplications: int = 0


@dataclass(frozen=True)
class Cropping:
    """Takes `border` off an image."""

    name: str
    input: Shape
    output: Shape
    border: Border
    multiplications: int = 0


@dataclass(frozen=True)
class Limiting:
    """A ReLU of its own: bytes below `least` become `least`, those above `most` become `most`."""

    name: str
    input: Shape
    output: Shape
    least: int
    most: int
    multiplications: int = 0


Layer = Convolution | Dense | Pooling | GlobalAverage | Padding | Cropping | Limiting


@dataclass(frozen=True, eq=False)
class Network:
    """The layers from pixels to logits, and the look-up table of the softmax.

    Attributes:
        layers: each takes what the one before it returns.
        softmax: int (256,), e^(logit − largest logit) in units of its first number, by the number
            of steps that a logit is below the largest one.
    """

    input: Shape
    layers: tuple[Layer, ...]
    softmax: npt.NDArray[np.int64]

    @property
    def multiplications(self) -> int:
        """Multiply-accumulates of one image."""
        return sum(layer.multiplications for layer in self.layers)


def read_network(artifact: Artifact) -> Network:
    """Return the layers of an int8 .tflite artifact.

    Raises:
        ArtifactError: the artifact is not an int8 .tflite file, or has a layer that cannot be
            written as C; the message names the layer.
    """
    require_int8_tflite(artifact)
    spec = artifact.spec
    try:
        return _Reader(artifact.data).network(Shape(*spec.fixed_shape), len(spec.labels))
    except ArtifactError as error:
        raise ArtifactError(f"{artifact.path}: {error}") from error


def require_int8_tflite(artifact: Artifact) -> None:
    """Raise an ArtifactError unless an artifact is an int8 .tflite file."""
    if artifact.format != ".tflite" or artifact.spec.precision != "int8":
        raise ArtifactError(
            f"{artifact.path}: C is written from an int8 .tflite artifact; make one with "
            "digit-edge export-tflite --quantize"
        )


class _Reader:
    """Walks through the operators of a .tflite file from its input to its logits."""

    def __init__(self, data: bytes) -> None:
        schema: Any = importlib.import_module("ai_edge_litert.schema_py_generated")
        model = schema.ModelT.InitFromPackedBuf(data, 0)
        if len(model.subgraphs) != 1:
            raise ArtifactError("it has branches or loops, which C is not written for")
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
        self._names = {"rejection"}  # other arrays of the C file are named so

    def network(self, shape: Shape, classes: int) -> Network:
        """Return the whole network, of images of `shape`."""
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
                    f"its layer {self._label(operator)} is a {kind}, which C is not written for; "
                    f"use {', '.join(sorted(read))}"
                )
            if operator.inputs[0] != tensor:
                raise ArtifactError(
                    f"its layer {self._label(operator)} does not take the output of the layer "
                    "before it; C is written for networks without branches"
                )
            tensor = int(operator.outputs[0])
            if self._type(tensor) != "INT8":
                raise ArtifactError(
                    f"its layer {self._label(operator)} computes in {self._type(tensor)}, not in "
                    "INT8; export it again with digit-edge export-tflite --quantize"
                )
            layer = read[kind](operator, shape)
            if layer is not None:
                layers += self._padded(operator, layer)
                shape = layer.output
        softmax = self._softmax(list(operators))
        if shape.size != classes or softmax is None:
            raise ArtifactError(
                "it does not end in a softmax by look-up; export it with this version of "
                "digit-edge export-tflite --quantize"
            )
        return Network(Shape(*self._shape(self._input)), tuple(_fused(layers)), softmax)

    def _convolution(self, operator: Any, shape: Shape) -> Layer:
        options, output = operator.builtinOptions, Shape(*self._shape(operator.outputs[0]))
        weights = self._constant(operator.inputs[1])
        depthwise = hasattr(options, "depthMultiplier")
        if (options.dilationHFactor, options.dilationWFactor) != (1, 1):
            raise ArtifactError(
                f"its layer {self._label(operator)} is a dilated convolution, which C is not "
                "written for"
            )
        if not depthwise and weights.shape[3] != shape.channels:
            raise ArtifactError(
                f"its layer {self._label(operator)} is a convolution in groups, which C is not "
                "written for"
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
                f"its layer {self._label(operator)} is applied to each pixel; put a Flatten "
                "before it, or use a convolution of 1 × 1"
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
                f"its layer {self._label(operator)} is a mean over the axes {axes}, C is written "
                "for one over height and width"
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
                f"its layer {self._label(operator)} pads channels, which C is not written for"
            )
        border = Border(*(int(n) for n in (sides[1][0], sides[2][0], sides[1][1], sides[2][1])))
        output = _grown(shape, border)
        zero = self._zero(operator.inputs[0])
        return Padding(self._name(operator, "padding"), shape, output, border, zero)

    def _cropping(self, operator: Any, shape: Shape) -> Layer:
        options, output = operator.builtinOptions, Shape(*self._shape(operator.outputs[0]))
        first, _, steps = (self._constant(tensor) for tensor in operator.inputs[1:4])
        # A set bit of beginMask means "from 0", whatever number is there.
        top, left, channel = (
            0 if options.beginMask >> axis & 1 else int(first[axis]) for axis in (1, 2, 3)
        )
        if (steps != 1).any() or options.shrinkAxisMask or options.newAxisMask or channel:
            raise ArtifactError(
                f"its layer {self._label(operator)} is a slice, C is written for one that crops "
                "rows and columns"
            )
        top, left = top % shape.height, left % shape.width
        border = Border(
            top, left, shape.height - output.height - top, shape.width - output.width - left
        )
        return Cropping(self._name(operator, "cropping"), shape, output, border)

    def _reshape(self, operator: Any, shape: Shape) -> None:
        """Flatten: the bytes are in the right order already."""
        if len(self._shape(operator.outputs[0])) != 1:
            raise ArtifactError(
                f"its layer {self._label(operator)} is a reshape, C is written for a flatten"
            )

    def _limiting(self, operator: Any, shape: Shape) -> Layer:
        self._require_equal_quantization(operator)
        activation = getattr(self._schema.ActivationFunctionType, self._kind(operator))
        least, most = self._limits(operator.outputs[0], activation)
        return Limiting(self._name(operator, "relu"), shape, shape, least, most)

    def _softmax(self, operators: list[tuple[str, Any]]) -> npt.NDArray[np.int64] | None:
        """Return the table of `export.softmax_lut`; None if the operators are others."""
        kinds = [kind for kind, _ in operators]
        if "EMBEDDING_LOOKUP" not in kinds:
            return None
        table = self._constant(operators[kinds.index("EMBEDDING_LOOKUP")][1].inputs[1])
        if table.size != _CODES or table.dtype != np.float32:
            return None
        # Multiples of a power of two below 2^24 / classes, which float32 holds exactly.
        for bits in range(24):
            numerators = np.ldexp(table.ravel().astype(np.float64), bits)
            if (numerators == np.rint(numerators)).all():
                return numerators.astype(np.int64)
        return None

    def _padded(self, operator: Any, layer: Layer) -> list[Layer]:
        """Put a padding before a convolution that pads by itself ("same")."""
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
        """Fold the input's zero into the biases: Σ w (u − zero) + bias = Σ w u + folded bias."""
        given = operator.inputs[2] if len(operator.inputs) > 2 else -1
        biases = self._constant(given).astype(np.int64) if given >= 0 else np.zeros_like(sums)
        folded = biases - self._zero(operator.inputs[0]) * sums
        if np.abs(folded).max() >= 2**31:
            raise ArtifactError(f"the biases of its layer {self._label(operator)} exceed int32")
        return folded.astype(np.int32)

    def _requantization(self, operator: Any, options: Any) -> Requantization:
        source, weights, result = operator.inputs[0], operator.inputs[1], operator.outputs[0]
        if np.any(self._tensors[weights].quantization.zeroPoint):
            raise ArtifactError(
                f"the weights of its layer {self._label(operator)} have a zero point other than 0"
            )
        # In float32 and in this order, as XNNPACK computes it.
        scales = self._scales(source)[0] * self._scales(weights) / self._scales(result)[0]
        channels = int(self._tensors[result].shape[-1])
        scales = np.broadcast_to(scales, channels)
        return self._rule(operator, scales, options.fusedActivationFunction)

    def _rule(self, operator: Any, scales: Scales, activation: int) -> Requantization:
        scales, result = scales.astype(np.float32), operator.outputs[0]
        if scales.min() < MIN_SCALE or scales.max() >= MAX_SCALE:
            raise ArtifactError(
                f"its layer {self._label(operator)} is requantized by {scales.min():g} to "
                f"{scales.max():g}; C is written for {MIN_SCALE:g} to {MAX_SCALE:g}"
            )
        return Requantization(scales, self._zero(result), *self._limits(result, activation))

    def _limits(self, tensor: int, activation: int) -> tuple[int, int]:
        """Return the least and greatest byte that an activation leaves."""
        names = self._schema.ActivationFunctionType
        zero, most = self._zero(tensor), _CODES - 1
        if activation == names.NONE:
            return 0, most
        if activation == names.RELU:
            return zero, most
        if activation == names.RELU6:
            six = round(float(np.float32(6) / self._scales(tensor)[0]))
            return zero, min(zero + six, most)
        raise ArtifactError("it has an activation that C is not written for; use ReLU or ReLU6")

    def _require_equal_quantization(self, operator: Any) -> None:
        source, result = operator.inputs[0], operator.outputs[0]
        if (self._scales(source)[0], self._zero(source)) != (
            self._scales(result)[0],
            self._zero(result),
        ):
            raise ArtifactError(
                f"its layer {self._label(operator)} changes the quantization, which C is not "
                "written for; export it again with digit-edge export-tflite --quantize"
            )

    def _name(self, operator: Any, kind: str) -> str:
        """Return a C identifier for a layer: the name that it has in Keras, if there is one."""
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
        """Return what the file calls an operator: the name of its output."""
        name: str = self._tensors[operator.outputs[0]].name.decode(errors="replace")
        return name.partition(";")[0]

    def _kind(self, operator: Any) -> str:
        return next(kind for kind, each in self._operators if each is operator)

    def _shape(self, tensor: int) -> list[int]:
        """Return a tensor's shape without the batch."""
        return [int(n) for n in self._tensors[tensor].shape[1:]]

    def _type(self, tensor: int) -> str:
        types: dict[str, int] = vars(self._schema.TensorType)
        return next(name for name, n in types.items() if n == self._tensors[tensor].type)

    def _scales(self, tensor: int) -> Scales:
        return np.asarray(self._tensors[tensor].quantization.scale, np.float32)

    def _zero(self, tensor: int) -> int:
        """Return the byte that stands for 0."""
        return int(self._tensors[tensor].quantization.zeroPoint[0]) + _OFFSET

    def _constant(self, tensor: int) -> npt.NDArray[Any]:
        dtypes = {"INT8": np.int8, "INT32": np.int32, "FLOAT32": np.float32}
        found = self._tensors[tensor]
        data, kind = self._buffers[found.buffer].data, self._type(tensor)
        if data is None or kind not in dtypes:
            raise ArtifactError(f"its tensor {found.name.decode(errors='replace')} is no constant")
        values = np.frombuffer(np.asarray(data, np.uint8).tobytes(), dtypes[kind])
        return values.reshape(found.shape if found.shape is not None else ())


def _operator_code(code: Any) -> int:
    """Return an operator's number; files of old converters hold it in a field of one byte."""
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))


def _same(shape: Shape, window: Window, stride: Window) -> Border:
    """Return the border that TensorFlow's padding "same" adds; the odd one is below and right."""

    def total(length: int, size: int, step: int) -> int:
        return max((math.ceil(length / step) - 1) * step + size - length, 0)

    rows = total(shape.height, window.height, stride.height)
    columns = total(shape.width, window.width, stride.width)
    return Border(rows // 2, columns // 2, rows - rows // 2, columns - columns // 2)


def _grown(shape: Shape, border: Border) -> Shape:
    return Shape(
        shape.height + border.top + border.bottom,
        shape.width + border.left + border.right,
        shape.channels,
    )


def _fused(layers: list[Layer]) -> list[Layer]:
    """Merge each max pooling whose windows neither overlap nor are padded into the convolution."""
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
