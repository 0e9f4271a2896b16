"""Converts the ink of one digit to MNIST's format: 28 × 28 pixels, scaled, centered by mass.

`pipeline` calls `tight_to_mnist_format` for the ink of every image; training and test-time
augmentation call `to_mnist_format`. `is_mnist_format` recognizes images that are already in this
format.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.errors import ImageError
from runtime.preprocess.connected_components import Plane
from runtime.preprocess.grayscale import Gray

Pixels = npt.NDArray[np.uint8]
PIXELS_SHAPE = (28, 28, 1)  # height, width, channels

# Added before fractions are cut off. Means over a drawing are often an exact half, which the order
# of summation moves up or down; hardly any value is a thousandth below a half.
_ROUNDING_OFFSET = np.float32(0.5 + 2**-10)
# (2, 20); multiplied by 20x20 ink from both sides, row 0 gives its sum, row 1 its first moment.
_MOMENT_WEIGHTS = np.stack((np.ones(20), np.arange(20) + 0.5)).astype(np.float32)
# (3, 28); multiplied by 28x28 pixels from both sides, row 0 gives their sum, row 1 their first
# moment, row 2 the sum of the first and last row or column.
FORMAT_CHECK_WEIGHTS = np.stack((np.ones(28), np.arange(28), np.arange(28) % 27 == 0)).astype(
    np.float32
)

# An image is in MNIST's format if it is within these limits; all 70,000 images of MNIST are.
MIN_PEAK_LEVEL = 250  # of 255; the brightest pixel
_MAX_INK_SUM = 0.8 * 255 * 400  # sum of all pixels; at most 0.78 of 20x20 white pixels in MNIST
_MAX_RIM_SUM = 1000  # sum of the outermost rows and columns; at most 932 in MNIST
_MAX_OFFSET_PX = 1  # from (14, 14) to the center of mass, along each axis

_MAX_DOT_PIXELS = 1024  # BLAS multiplies matrices up to this size in the calling thread


def to_mnist_format(ink: npt.NDArray[Any]) -> Pixels:
    """Convert ink to MNIST's format.

    This is MNIST's own recipe as reconstructed by QMNIST (Yadav and Bottou, "Cold Case: The Lost
    MNIST Digits", 2019):

    1. Crop to the bounding box; center it in a square of side max(height, width, 10).
    2. Resample to 20x20, weighted by area; scale the peak to 255; round fractions from 0.499 up.
    3. Shift by whole pixels in 28x28 until the center of mass, with pixel centers at +0.5, is in
       (14, 15] along each axis.

    Args:
        ink: (height, width) of any dtype and scale; 0 is background.

    Returns:
        uint8 (28, 28, 1), background 0, peak 255; all 0 if there is no ink.

    Raises:
        ImageError: `ink` does not have two dimensions.
    """
    if ink.ndim != 2:
        raise ImageError(f"<array>: ink has shape {ink.shape}; pass (height, width)")
    rows = np.flatnonzero(ink.any(axis=1))
    if not rows.size:
        return np.zeros(PIXELS_SHAPE, np.uint8)
    columns = np.flatnonzero(ink.any(axis=0))
    tight = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return tight_to_mnist_format(tight.astype(np.float32))


def tight_to_mnist_format(tight: Plane) -> Pixels:
    """Convert ink, float32 (height, width), that is already cropped to its bounding box."""
    small = area_resample(tight, 20, max(*tight.shape, 10))
    small *= 255 / small.max()
    (mass, x), (y, _) = _MOMENT_WEIGHTS.dot(small).dot(_MOMENT_WEIGHTS.T).tolist()
    down, right = int(15 - y / mass), int(15 - x / mass)
    # A few off-center digits extend past the 28x28: crop them.
    rows = slice(max(-down, 0), min(28 - down, 20))
    columns = slice(max(-right, 0), min(28 - right, 20))
    pixels = np.zeros((28, 28), np.uint8)
    small += _ROUNDING_OFFSET
    pixels[rows.start + down : rows.stop + down, columns.start + right : columns.stop + right] = (
        small[rows, columns]
    )
    return pixels.reshape(PIXELS_SHAPE)


def is_mnist_format(gray: Gray) -> bool:
    """Return whether an image, uint8 (28, 28), is a digit in MNIST's format, ink brighter."""
    return int(gray.max()) >= MIN_PEAK_LEVEL and has_mnist_sums(
        (FORMAT_CHECK_WEIGHTS @ gray.astype(np.float32) @ FORMAT_CHECK_WEIGHTS.T).tolist()
    )


def has_mnist_sums(sums: list[list[float]]) -> bool:
    """Return whether an image's ink is centered by mass and nearly absent from its rim.

    Args:
        sums: 3x3, the image multiplied by `FORMAT_CHECK_WEIGHTS` from both sides.
    """
    (mass, x, columns), (y, _, _), (rows, _, _) = sums
    return (
        0 < mass < _MAX_INK_SUM
        and rows + columns < _MAX_RIM_SUM
        and abs(x / mass - 14) < _MAX_OFFSET_PX
        and abs(y / mass - 14) < _MAX_OFFSET_PX
    )


def area_resample(plane: Plane, bins: int, side: int) -> Plane:
    """Resample a plane to bins x bins means, each pixel weighted by the area that a bin covers.

    Args:
        plane: float32 (height, width).
        bins: number of bins along each axis of the result.
        side: side in pixels of the square that is divided into bins; `plane` is in its center.
    """
    height, width = plane.shape
    down, across = _overlaps(height, bins, side), _overlaps(width, bins, side)
    if plane.size <= _MAX_DOT_PIXELS:
        small: Plane = down.dot(plane).dot(across.T)
        return small
    # Not dot: for a product that takes a millisecond, BLAS would wake all of its threads.
    means: Plane = np.einsum("ij,kj->ik", np.einsum("ij,jk->ik", down, plane), across)
    return means


@lru_cache(maxsize=256)
def _overlaps(length: int, bins: int, side: int) -> Plane:
    """Return float32 (bins, length): the share of each bin that each pixel covers.

    The `length` pixels are centered in `side`, which is divided into `bins`.
    """
    edges = np.arange(bins + 1) * (side / bins) - (side - length) // 2
    pixels = np.arange(length)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights: Plane = (np.maximum(overlap, 0) * (bins / side)).astype(np.float32)
    weights.flags.writeable = False
    return weights
