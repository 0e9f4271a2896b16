"""Checks that every engine shares: pixels, a model's inputs and outputs, its quantization."""

from collections.abc import Sequence

import numpy as np

from runtime.backends import Pixels
from runtime.errors import ArtifactError, ImageError
from runtime.model.artifact import Artifact


def check_quantization(
    artifact: Artifact, source: tuple[float, int], result: tuple[float, int]
) -> None:
    """Raise an ArtifactError unless a graph's (scale, zero point)s are the spec's, and ours."""
    stated = artifact.spec.quantization
    if stated is None or (source, result) != (
        (stated.input.scale, stated.input.zero_point),
        # A float tensor has the scale 0.
        (stated.output.scale, stated.output.zero_point) if stated.output else (0, 0),
    ):
        raise ArtifactError(
            f"{artifact.path} is quantized with {source} and {result}, its spec says {stated}: "
            "export it again"
        )
    if source[1] != -128 or abs(source[0] * 255 - 1) > 0.01:
        raise ArtifactError(
            f"{artifact.path} expects another input than int8 = pixel − 128 (scale {source[0]:g}, "
            f"zero point {source[1]}): quantize it again with images from 0 to 1"
        )


def check_pixels(pixels: Pixels, shape: tuple[int | None, ...]) -> None:
    """Raise an ImageError unless `pixels` is uint8 of shape (N,) + `shape`, N ≥ 1.

    None in `shape` is any size.
    """
    if (
        pixels.dtype != np.uint8
        or (pixels.shape[1:] != shape and not _fits(pixels.shape[1:], shape))
        or len(pixels) == 0
    ):
        raise ImageError(
            f"pixels are uint8 of shape (N, {', '.join(map(str, shape))}), not {pixels.dtype} "
            f"{pixels.shape}: use classify() for images, or to_pixels()"
        )


def check_model(
    artifact: Artifact, inputs: Sequence[Sequence[object]], outputs: Sequence[Sequence[object]]
) -> None:
    """Raise an ArtifactError unless a model's one input and one output are as its spec says.

    Args:
        inputs, outputs: the shapes of all of them; the batch axis, the first, may be anything.
    """
    if len(inputs) != 1 or len(outputs) != 1:
        raise ArtifactError(f"{artifact.path} has not one input and one output: export it again")
    found = tuple(inputs[0][1:]), tuple(outputs[0][1:])
    free = (None,) * artifact.spec.input_shape.count(None)  # columns, of a sequence model
    expected = artifact.spec.input_shape, (*free, len(artifact.spec.labels))
    if not all(map(_fits, found, expected)):
        raise ArtifactError(
            f"{artifact.path} takes {found[0]} and gives {found[1]}, its spec says {expected[0]} "
            f"and {expected[1]}: export it again"
        )


def _fits(shape: Sequence[object], expected: Sequence[int | None]) -> bool:
    """Return whether a shape is the expected one; None in that is any size."""
    return len(shape) == len(expected) and all(
        wanted is None or size == wanted for size, wanted in zip(shape, expected, strict=True)
    )
