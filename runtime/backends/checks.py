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

# Zero point of an int8 model's input. Models with another zero point are rejected, because the
# runtime converts pixels by int8 = pixel − 128.
_INPUT_ZERO_POINT = -128

# Largest relative deviation of the input scale from 1/255; a larger one is rejected. Converters
# derive the scale from the calibration images, so the scale is seldom exactly 1/255.
_MAX_SCALE_DEVIATION = 0.01


def check_quantization(
    artifact: Artifact, source: tuple[float, int], result: tuple[float, int]
) -> None:
    """Check the quantization of an int8 model.

    Args:
        artifact: the model and its spec.
        source: (scale, zero point) of the input tensor.
        result: (scale, zero point) of the output tensor; (0, 0) if the output is float.

    Raises:
        ArtifactError: the quantization differs from the spec, or the input is not
            int8 = pixel − 128.
    """
    expected = artifact.spec.quantization
    if expected is None or (source, result) != (
        (expected.input.scale, expected.input.zero_point),
        (expected.output.scale, expected.output.zero_point) if expected.output else (0, 0),
    ):
        raise ArtifactError(
            f"{artifact.path} is quantized with (scale, zero point) {source} and {result}, but its "
            f"spec says {expected}: export it again"
        )
    scale, zero_point = source
    if zero_point != _INPUT_ZERO_POINT or abs(scale * 255 - 1) > _MAX_SCALE_DEVIATION:
        raise ArtifactError(
            f"{artifact.path}: the input must be int8 = pixel − 128, not scale {scale:g} with zero "
            f"point {zero_point}: quantize it again with images from 0 to 1"
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
        pixels.dtype != np.uint8
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
