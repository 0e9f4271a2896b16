"""Checks shared by all engines: pixels, the model's inputs and outputs, and its quantization.

They compare the model as the engine opened it with the artifact's spec.
"""

from collections.abc import Sequence

import numpy as np

from runtime.backends import Pixels
from runtime.errors import ArtifactError, ImageError
from runtime.model.artifact import Artifact

_INPUT_ZERO_POINT = -128  # the runtime converts pixels by int8 = pixel − 128
# Largest relative deviation of the input scale from 1/255. Converters derive the scale from the
# calibration images, so it is seldom exact.
_MAX_SCALE_DEVIATION = 0.01


def check_quantization(
    artifact: Artifact, source: tuple[float, int], result: tuple[float, int]
) -> None:
    """Raise ArtifactError if a model's quantization differs from its spec or is unsupported.

    Args:
        artifact: the model and its spec.
        source: (scale, zero point) of the input tensor.
        result: (scale, zero point) of the output tensor; (0, 0) if it is float.
    """
    expected = artifact.spec.quantization
    if expected is None or (source, result) != (
        (expected.input.scale, expected.input.zero_point),
        (expected.output.scale, expected.output.zero_point) if expected.output else (0, 0),
    ):
        raise ArtifactError(
            f"{artifact.path} is quantized with {source} and {result}, its spec says {expected}: "
            "export it again"
        )
    scale, zero_point = source
    if zero_point != _INPUT_ZERO_POINT or abs(scale * 255 - 1) > _MAX_SCALE_DEVIATION:
        raise ArtifactError(
            f"{artifact.path}: the input must be int8 = pixel − 128, not scale {scale:g} with zero "
            f"point {zero_point}: quantize it again with images from 0 to 1"
        )


def check_pixels(pixels: Pixels, shape: tuple[int, ...]) -> None:
    """Raise ImageError unless `pixels` is uint8 of shape (N,) + `shape` with N ≥ 1."""
    if pixels.dtype != np.uint8 or pixels.shape[1:] != shape or len(pixels) == 0:
        raise ImageError(
            f"pixels must be uint8 of shape (N, {', '.join(map(str, shape))}), not {pixels.dtype} "
            f"{pixels.shape}: use classify() for images, or convert them with to_pixels()"
        )


def check_model(
    artifact: Artifact, inputs: Sequence[Sequence[object]], outputs: Sequence[Sequence[object]]
) -> None:
    """Raise ArtifactError unless a model has one input and one output with the spec's shapes.

    Args:
        artifact: the model and its spec.
        inputs: shapes of the model's inputs; the first axis, the batch, is not checked.
        outputs: shapes of the model's outputs; the first axis, the batch, is not checked.
    """
    if len(inputs) != 1 or len(outputs) != 1:
        raise ArtifactError(
            f"{artifact.path} has {len(inputs)} inputs and {len(outputs)} outputs, not one of "
            "each: export it again"
        )
    actual = tuple(inputs[0][1:]), tuple(outputs[0][1:])
    expected = artifact.spec.input_shape, (len(artifact.spec.labels),)
    if actual != expected:
        raise ArtifactError(
            f"{artifact.path} takes {actual[0]} and returns {actual[1]}, its spec says "
            f"{expected[0]} and {expected[1]}: export it again"
        )
