"""Checks shared by all engines: pixels, the model's inputs and outputs, and its quantization.

When an engine module of `runtime.backends` opens an artifact, `check_model` and
`check_quantization` compare the model with its spec (the metadata in the file). The engine modules
call `check_pixels` for each batch.
"""

from collections.abc import Sequence

import numpy as np

from runtime.backends import Pixels
from runtime.errors import ArtifactError, ImageError
from runtime.model.artifact import Artifact
from runtime.model.spec import QuantizationParams

_UINT8 = np.dtype(np.uint8)  # an object is faster to compare than the type np.uint8
# Zero point of an int8 model's input. Models with another zero point are rejected, because the
# runtime converts pixels by int8 = pixel − 128.
_INPUT_ZERO_POINT = -128

# Largest relative deviation of the input scale from 1/255; a larger one is rejected. Converters
# derive the scale from the calibration images, so the scale is seldom exactly 1/255.
_MAX_SCALE_DEVIATION = 0.01


def check_quantization(
    artifact: Artifact, source: QuantizationParams | None, result: QuantizationParams | None
) -> None:
    """Check the quantization of an int8 model of this project.

    Args:
        artifact: the model and its spec.
        source: quantization of the input tensor; None if it is not quantized.
        result: quantization of the output tensor; None if it is not quantized.

    Raises:
        ArtifactError: the quantization differs from the spec, or the input is not
            int8 = pixel − 128.
    """
    expected = artifact.spec.quantization
    if expected is None or (source, result) != (expected.input, expected.output):
        raise ArtifactError(
            f"{artifact.path} is quantized with {source} and {result}, but its spec says "
            f"{expected}: export it again"
        )
    if not is_pixel_minus_128(source):
        raise ArtifactError(
            f"{artifact.path}: the input must be int8 = pixel − 128, not {source}: quantize it "
            "again with images from 0 to 1"
        )


def is_pixel_minus_128(source: QuantizationParams | None) -> bool:
    """Return whether an int8 input of values from 0 to 1 is pixel − 128."""
    return (
        source is not None
        and source.zero_point == _INPUT_ZERO_POINT
        and abs(source.scale * 255 - 1) <= _MAX_SCALE_DEVIATION
    )


def check_pixels(pixels: Pixels, shape: tuple[int | None, ...]) -> None:
    """Check a batch of pixels.

    Args:
        pixels: any array.
        shape: shape of one image; None in it is any size.

    Raises:
        ImageError: `pixels` is not uint8 of shape (N, *shape) with N ≥ 1.
    """
    if (
        pixels.dtype != _UINT8
        or (pixels.shape[1:] != shape and not _fits(pixels.shape[1:], shape))
        or len(pixels) == 0
    ):
        raise ImageError(
            f"pixels must be uint8 of shape (N, {', '.join(map(str, shape))}), not {pixels.dtype} "
            f"{pixels.shape}: use classify() for images, or convert them with to_pixels()"
        )


def check_model(
    artifact: Artifact, inputs: Sequence[Sequence[object]], outputs: Sequence[Sequence[object]]
) -> None:
    """Check the shapes of a model's inputs and outputs.

    Args:
        artifact: the model and its spec.
        inputs: shapes of the model's inputs; the first axis, the batch, is not checked.
        outputs: shapes of the model's outputs; the first axis, the batch, is not checked.

    Raises:
        ArtifactError: the model does not have exactly one input and one output, or their shapes
            differ from the spec.
    """
    if len(inputs) != 1 or len(outputs) != 1:
        raise ArtifactError(
            f"{artifact.path} must have one input and one output, but the numbers are "
            f"{len(inputs)} and {len(outputs)}: export it again"
        )
    interface = artifact.spec.interface
    if interface is not None:
        if not _fits_interface(inputs[0], interface.input_shape):
            raise ArtifactError(
                f"{artifact.path} takes an input of shape {tuple(inputs[0])}, but its spec says "
                f"{interface.input_shape}: run digit-edge export-spec again"
            )
        return
    actual = tuple(inputs[0][1:]), tuple(outputs[0][1:])
    free = (None,) * artifact.spec.input_shape.count(None)  # columns of a sequence model
    expected = artifact.spec.input_shape, (*free, len(artifact.spec.labels))
    if not all(map(_fits, actual, expected)):
        raise ArtifactError(
            f"{artifact.path} takes an input of shape {actual[0]} and returns {actual[1]}, but its "
            f"spec says {expected[0]} and {expected[1]}: export it again"
        )


def _fits(shape: Sequence[object], expected: Sequence[int | None]) -> bool:
    """Return whether a shape is the expected one; None in the expected one is any size."""
    return len(shape) == len(expected) and all(
        wanted is None or size == wanted for size, wanted in zip(shape, expected, strict=True)
    )


def _fits_interface(shape: Sequence[object], expected: Sequence[object]) -> bool:
    """Return whether a shape is the expected one; an axis of any size is any size in both."""
    return len(shape) == len(expected) and all(
        wanted is None or size == wanted or not isinstance(size, int) or size < 0
        for size, wanted in zip(shape, expected, strict=True)
    )
