"""Convert the ink of one digit to MNIST's format: 28 × 28 pixels, scaled, centered by mass.

`runtime.preprocess.pipeline` calls `tight_to_mnist_format` for the ink of every image. Training and
test-time augmentation call `to_mnist_format`. `is_mnist_format` recognizes images that are already
in this format.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.errors import ImageError
from runtime.preprocess.connected_components import Plane
from runtime.preprocess.grayscale import Gray

Pixels = npt.NDArray[np.uint8]  # (28, 28, 1), one digit; 0 is background
PIXELS_SHAPE = (28, 28, 1)  # height, width, channels

_INK_SHARE = 20 / 28  # of each side of an image; the ink is scaled into it before it is centered

# Gray levels. Rounding adds this offset and cuts off the fraction. A mean over a drawing is often
# an exact half, and the order of summation moves such a mean slightly up or down. With the
# additional 2^-10, all of them are rounded up; other values are hardly ever so close to a half.
_ROUNDING_OFFSET = np.float32(0.5 + 2**-10)

# W, (2, 20). The product W @ ink @ W.T for 20x20 ink has the sum of the ink at [0, 0]. The first
# moments are at [0, 1] (x) and [1, 0] (y), with pixel centers at +0.5.
_MOMENT_WEIGHTS = np.stack((np.ones(20), np.arange(20) + 0.5)).astype(np.float32)

# W, (3, 28). The product W @ pixels @ W.T for 28x28 pixels has the sum of the pixels at [0, 0]. The
# first moments are at [0, 1] (x) and [1, 0] (y), with pixel centers at whole numbers. The sum of
# the two outermost columns is at [0, 2], and the sum of the two outermost rows at [2, 0].
FORMAT_CHECK_WEIGHTS = np.stack((np.ones(28), np.arange(28), np.arange(28) % 27 == 0)).astype(
    np.float32
)

# An image beyond one of these limits is not in MNIST's format. All 70,000 images of MNIST are
# within the limits.
MIN_PEAK_LEVEL = 250  # of 255; smallest level of the brightest pixel
_MAX_INK_SUM = 0.8 * 255 * 400  # sum of all pixels, in levels: 80 % of 20x20 white pixels
_MAX_RIM_SUM = 1000  # sum of the outermost rows and columns, in levels; at most 932 in MNIST
_MAX_OFFSET_PX = 1  # along each axis, from (14, 14) to the center of mass

# Pixels of a plane. Up to this size, BLAS multiplies matrices in the calling thread; larger planes
# are multiplied with einsum, which starts no threads.
_MAX_DOT_PIXELS = 1024


def to_mnist_format(ink: npt.NDArray[Any]) -> Pixels:
    """Convert ink to MNIST's format.

    This is MNIST's own recipe as reconstructed by QMNIST (Yadav and Bottou, "Cold Case: The Lost
    MNIST Digits", 2019):

    1. Crop the ink to its bounding box. Center the box in a square of side max(height, width, 10).
    2. Resample the square to 20x20, weighted by area. Scale the peak to 255 and round.
    3. Shift the 20x20 pixels by whole pixels in a 28x28 image. The center of mass, with pixel
       centers at +0.5, is then in (14, 15] along each axis.

    Args:
        ink: (height, width) of any numeric dtype and scale; 0 is background, ink is positive.

    Returns:
        uint8 (28, 28, 1), background 0, peak 255; all 0 if there is no ink.

    Raises:
        ImageError: `ink` does not have two dimensions.
    """
    tight = _tight(ink)
    return np.zeros(PIXELS_SHAPE, np.uint8) if tight is None else tight_to_mnist_format(tight)


def to_ink_format(ink: npt.NDArray[Any], size: tuple[int, int]) -> Pixels:
    """Convert ink to MNIST's format in another size, see `tight_to_ink_format`.

    Args:
        ink: as for `to_mnist_format`.
        size: height and width of the result.

    Returns:
        uint8 (*size, 1), background 0, peak 255; all 0 if there is no ink.

    Raises:
        ImageError: `ink` does not have two dimensions.
    """
    tight = _tight(ink)
    return np.zeros((*size, 1), np.uint8) if tight is None else tight_to_ink_format(tight, size)


def _tight(ink: npt.NDArray[Any]) -> Plane | None:
    """Crop ink to its bounding box, as float32; None if there is no ink."""
    if ink.ndim != 2:
        raise ImageError(f"<array>: ink has shape {ink.shape}; pass (height, width)")
    rows = np.flatnonzero(ink.any(axis=1))
    if not rows.size:
        return None
    columns = np.flatnonzero(ink.any(axis=0))
    tight = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return tight.astype(np.float32)


def tight_to_mnist_format(tight: Plane) -> Pixels:
    """Convert ink that is already cropped to its bounding box, see `to_mnist_format`.

    Args:
        tight: float32 (height, width) of any scale; at least one pixel is positive.

    Returns:
        uint8 (28, 28, 1), background 0, peak 255.
    """
    small = area_resample(tight, 20, max(*tight.shape, 10))
    small *= 255 / small.max()
    (mass, x), (y, _) = _MOMENT_WEIGHTS.dot(small).dot(_MOMENT_WEIGHTS.T).tolist()
    down, right = int(15 - y / mass), int(15 - x / mass)
    # A few digits with an off-center mass extend beyond the 28x28 image: crop these digits.
    rows = slice(max(-down, 0), min(28 - down, 20))
    columns = slice(max(-right, 0), min(28 - right, 20))
    pixels = np.zeros((28, 28), np.uint8)
    small += _ROUNDING_OFFSET
    pixels[rows.start + down : rows.stop + down, columns.start + right : columns.stop + right] = (
        small[rows, columns]
    )
    return pixels.reshape(PIXELS_SHAPE)


def tight_to_ink_format(tight: Plane, size: tuple[int, int]) -> Pixels:
    """Convert ink to MNIST's format in another size: 5/7 of each side for the ink, then centered.

    The steps are those of `to_mnist_format`; for 28x28 pixels the result is the same.

    Args:
        tight: float32 (height, width) of any scale, cropped to its bounding box; at least one pixel
            is positive.
        size: height and width of the result.

    Returns:
        uint8 (*size, 1), background 0, peak 255.
    """
    inner = tuple(round(side * _INK_SHARE) for side in size)
    # The ink keeps its proportions: it is centered in a rectangle of the proportions of `inner`.
    scale = max(*(length / bins for length, bins in zip(tight.shape, inner, strict=True)), 0.5)
    sides = tuple(
        max(length, round(scale * bins)) for length, bins in zip(tight.shape, inner, strict=True)
    )
    down, across = (
        _overlaps(length, bins, side)
        for length, bins, side in zip(tight.shape, inner, sides, strict=True)
    )
    small = np.einsum("ij,kj->ik", np.einsum("ij,jk->ik", down, tight), across)
    small *= 255 / small.max()
    pixels = np.zeros(size, np.uint8)
    places = []
    for axis in (0, 1):
        mass = small.sum(axis=1 - axis)
        center = float(mass @ (np.arange(inner[axis]) + 0.5) / mass.sum())
        shift = int(size[axis] // 2 + 1 - center)
        places.append((max(-shift, 0), min(size[axis] - shift, inner[axis]), shift))
    (top, bottom, lower), (left, right, further) = places
    pixels[top + lower : bottom + lower, left + further : right + further] = (
        small[top:bottom, left:right] + _ROUNDING_OFFSET
    )
    return pixels[..., np.newaxis]


def is_mnist_format(gray: Gray) -> bool:
    """Return whether an image is in MNIST's format.

    Args:
        gray: uint8 (28, 28); ink must be brighter than the background.
    """
    return int(gray.max()) >= MIN_PEAK_LEVEL and has_mnist_sums(
        (FORMAT_CHECK_WEIGHTS @ gray.astype(np.float32) @ FORMAT_CHECK_WEIGHTS.T).tolist()
    )


def has_mnist_sums(sums: list[list[float]]) -> bool:
    """Return whether an image's ink is centered by mass and nearly absent from its rim.

    Args:
        sums: 3x3, the result of W @ image @ W.T for a 28x28 image, with W the
            `FORMAT_CHECK_WEIGHTS`.
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
        side: side, in pixels, of the square that is divided into bins. The plane is in the center
            of the square; the rest of the square is 0. At least max(height, width).

    Returns:
        float32 (bins, bins).
    """
    height, width = plane.shape
    down, across = _overlaps(height, bins, side), _overlaps(width, bins, side)
    if plane.size <= _MAX_DOT_PIXELS:
        small: Plane = down.dot(plane).dot(across.T)
        return small
    # For a larger product, BLAS would wake all its threads, although it takes a millisecond only.
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
