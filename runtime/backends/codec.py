"""Convert pixels to a model's input, and a model's output to scores: the same for all engines.

Each engine of `runtime.backends` describes its open model by two `Tensor` and makes a `Codec`. The
codec compares them with the artifact's spec, and converts by it. Models of this project take two
short ways. All other models are converted by the `Interface` in their spec.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from runtime.backends import Pixels, Scores
from runtime.backends.checks import check_model, check_quantization
from runtime.errors import ArtifactError, plural
from runtime.model.artifact import Artifact
from runtime.model.interface import LAYOUTS, POLARITIES, RAW, Interface
from runtime.model.spec import QuantizationParams

Array = npt.NDArray[Any]

# Arrays without axes, because NumPy would convert a Python number in each call.
_TOP_BIT = np.array(128, np.uint8)  # pixel XOR 128, read as int8, is pixel − 128
_MAX_LEVEL = np.array(255, np.float32)  # pixels are divided by 255 for a float model


class Tensor(NamedTuple):
    """The input or the output of an open model.

    Attributes:
        shape: sizes of the axes. An axis of any size is None, a name, or -1.
        dtype: NumPy's name of the type of the values.
        scale: quantization scale; 0 if the tensor is not quantized.
        zero_point: quantization zero point.
    """

    shape: tuple[object, ...]
    dtype: str
    scale: float = 0.0
    zero_point: int = 0

    @classmethod
    def of_tflite(cls, details: dict[str, Any]) -> "Tensor":
        """Return the tensor of an entry of `get_input_details` or `get_output_details`."""
        scale, zero_point = details["quantization"]
        # The signature has -1 for an axis of any size; files of TensorFlow 1 have none.
        shape = details["shape_signature"] if len(details["shape_signature"]) else details["shape"]
        dtype = np.dtype(details["dtype"]).name
        return cls(tuple(shape.tolist()), dtype, float(scale), int(zero_point))

    @property
    def quantization(self) -> QuantizationParams | None:
        """The quantization; None if the tensor is not quantized."""
        return QuantizationParams(self.scale, self.zero_point) if self.scale else None


class Codec:
    """Converts pixels to the input of one model, and the output of that model to scores.

    Args:
        artifact: the model and its spec.
        inputs: the model's inputs.
        outputs: the model's outputs.

    Attributes:
        dtype: type of the input's values.
        storage: type of the array that `encode` fills: uint8 for int8, otherwise `dtype`.
        batch: number of images in each call; None for any number.

    Raises:
        ArtifactError: the model contradicts its spec.
    """

    def __init__(self, artifact: Artifact, inputs: list[Tensor], outputs: list[Tensor]) -> None:
        spec, interface = artifact.spec, artifact.spec.interface
        check_model(artifact, [t.shape for t in inputs], [t.shape for t in outputs])
        (source,), (result,) = inputs, outputs
        # The int8 .onnx files of this project have float inputs and outputs.
        own = "int8" if spec.precision == "int8" and artifact.format == ".tflite" else "float32"
        expected = own if interface is None else interface.dtype
        if source.dtype != expected or (interface is None and result.dtype not in (own, "float32")):
            raise ArtifactError(
                f"{artifact.path} is not {spec.precision}, although its spec says so: its input is "
                f"{source.dtype} and its output {result.dtype}; export it again"
            )
        self._path, self._classes, self._interface = artifact.path, len(spec.labels), interface
        self.dtype = np.dtype(expected)
        self.storage = np.dtype(np.uint8) if expected == "int8" else self.dtype
        self.batch = None if interface is None else interface.batch
        self._dequantized = _dequantization_table(result)
        # (pixels, array to fill) → None
        self._fill: Callable[[Pixels, Array], object] = _divide_by_255
        if interface is not None:
            self._fill = _Transform(interface, source, spec.fixed_shape).fill
        elif expected == "int8":
            check_quantization(artifact, source.quantization, result.quantization)
            self._fill = partial(np.bitwise_xor, _TOP_BIT)  # without a call of Python in between

    def input_shape(self, pixels: Pixels) -> tuple[int, ...]:
        """Return the shape of the model's input for pixels (N, height, width, channels)."""
        if self._interface is None:
            return pixels.shape
        batch, *sizes = self._interface.input_shape
        return (len(pixels) if batch is None else batch, *(size or 0 for size in sizes))

    def encode(self, pixels: Pixels, out: Array | None = None) -> Array:
        """Return the model's input for pixels.

        Args:
            pixels: uint8 (N, height, width, channels). N is at most `batch` unless that is None; a
                smaller number is filled up with blank images.
            out: the array to fill, of the shape `input_shape(pixels)` and the type `storage`; None
                makes one.

        Returns:
            The filled array; in the type `dtype` if `out` is None.
        """
        if out is not None:
            self._fill(pixels, out)
            return out
        made = np.empty(self.input_shape(pixels), self.storage)
        self._fill(pixels, made)
        return made.view(self.dtype)

    def decode(self, output: Array, images: int) -> Scores:
        """Return the scores, float32 (images, classes), of the model's output.

        Args:
            output: the model's output.
            images: number of images in the call.

        Raises:
            ArtifactError: the output has not one score for each image and label.
        """
        values: Scores = output if self._dequantized is None else self._dequantized.take(output)
        if self._interface is None:
            return values
        batch = self.batch or images
        if values.size not in (batch * self._classes, batch):
            raise ArtifactError(
                f"{self._path} returned {values.size} values for {plural(batch, 'image')}, not "
                f"{plural(self._classes, 'score')} for each: convert it with a free batch"
            )
        rows = values.reshape(batch, -1)[:images].astype(np.float32)
        return to_probabilities(rows, self._interface.activation)


def to_probabilities(rows: Scores, activation: str) -> Scores:
    """Return the probabilities, float32 (N, classes), of a model's outputs.

    Args:
        rows: the outputs, float32 (N, classes). One value in each row stands for two classes: it is
            the probability, or the logit, of the second.
        activation: what the outputs are, one of `runtime.model.interface.ACTIVATIONS`; `RAW`
            returns them unchanged.
    """
    if activation == RAW:
        return rows
    if rows.shape[1] == 1:
        # 1 / (1 + e^-x), in a form that does not overflow.
        second = (1 + np.tanh(rows / 2)) / 2 if activation == "logits" else rows
        rows, activation = np.concatenate((1 - second, second), axis=1), "sigmoid"
    if activation in ("logits", "log-softmax"):
        exponentials = np.exp(rows - rows.max(axis=1, keepdims=True))
        probabilities: Scores = exponentials / exponentials.sum(axis=1, keepdims=True)
        return probabilities
    return np.clip(rows, 0, 1)  # quantization may exceed 1 by a step


class _Transform:
    """Fills the input of a model that other tools made.

    Args:
        interface: the model's interface.
        source: the model's input.
        shape: height, width and channels of the pixels.
    """

    def __init__(self, interface: Interface, source: Tensor, shape: tuple[int, ...]) -> None:
        height, width, channels = interface.size
        self._interface = interface
        self._size = interface.size
        # Matrices W of (rows, columns): the fitted image is W_rows @ pixels @ W_columns.T.
        self._weights = None
        if shape[:2] != (height, width):
            fit = _pad_weights if interface.fit == "pad" else _resize_weights
            self._weights = fit(shape[0], height), fit(shape[1], width)
        # Pixel → input value, (channels, 256) or, if all channels are equal, (1, 256).
        self._table = _input_table(interface, source)
        self._channels = np.arange(channels) if len(self._table) > 1 else np.zeros(1, np.int64)

    def fill(self, pixels: Pixels, out: Array) -> None:
        """Fill `out`, the model's input, with the values of `pixels` and then with blank images."""
        levels = pixels if self._weights is None else self._fit(pixels)
        levels = np.broadcast_to(levels, (len(pixels), *self._size))
        values = self._table[self._channels, levels].view(out.dtype)
        if self._interface.layout == LAYOUTS[1]:
            values = np.moveaxis(values, 3, 1)
        flat = out.reshape(-1)
        flat[: values.size] = values.reshape(-1)
        flat[values.size :] = self._table[0, 0]

    def _fit(self, pixels: Pixels) -> Pixels:
        """Return pixels (N, h, w, channels) as (N, height, width, channels)."""
        assert self._weights is not None
        rows, columns = self._weights
        planes = np.moveaxis(pixels, 3, 1).astype(np.float32)
        fitted = np.rint(rows @ planes @ columns.T).astype(np.uint8)
        return np.moveaxis(fitted, 1, 3)


def _input_table(interface: Interface, source: Tensor) -> Array:
    """Return the input value of each pixel: (channels or 1, 256), of the type of the input."""
    levels = np.arange(256)
    if interface.polarity == POLARITIES[1]:
        levels = levels[::-1]
    scaled = levels * (interface.scale / 255)
    mean, std = np.array(interface.per_channel())[:, :, np.newaxis]
    values = (scaled - mean) / std
    if source.scale:
        values = values / source.scale + source.zero_point
    dtype = np.dtype(source.dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    table: Array = values.astype(dtype)
    return table


def _resize_weights(size: int, target: int) -> Array:
    """Return linear interpolation as a matrix (target, size); a shrunk image is averaged.

    The triangle filter of Pillow's BILINEAR.
    """
    ratio = size / target
    centers = (np.arange(target) + 0.5) * ratio
    distances = np.abs(np.arange(size) + 0.5 - centers[:, np.newaxis]) / max(ratio, 1)
    weights = np.maximum(1 - distances, 0)
    normalized: Array = weights / weights.sum(axis=1, keepdims=True)
    return normalized.astype(np.float32)


def _pad_weights(size: int, target: int) -> Array:
    """Return the matrix (target, size) that centers an image without resizing it."""
    return np.eye(target, size, (size - target) // 2, dtype=np.float32)


def _dequantization_table(result: Tensor) -> Scores | None:
    """Return the value of each byte of an int8 or uint8 output, (256,); None for other types.

    One lookup in a table replaces three passes over the output. The table is ordered by the
    unsigned byte, so a negative int8 is an index from the end of the table.
    """
    if result.dtype not in ("int8", "uint8"):
        return None
    codes = np.arange(256, dtype=np.uint8).view(result.dtype).astype(np.float32)
    scale = result.scale or 1.0
    table: Scores = (codes - np.float32(result.zero_point)) * np.float32(scale)
    return table


def _divide_by_255(pixels: Pixels, out: Array) -> None:
    np.divide(pixels, _MAX_LEVEL, out=out)
