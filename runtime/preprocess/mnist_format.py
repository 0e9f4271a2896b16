"""Ink → pixels in MNIST's format: scaled, centered by mass, in 28 × 28."""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.errors import ImageError
from runtime.preprocess.connected_components import Plane
from runtime.preprocess.grayscale import Gray

# A product of matrices this small stays in the BLAS's own thread.
_SMALL = 1024

Pixels = npt.NDArray[np.uint8]
PIXELS_SHAPE = (28, 28, 1)
# An MNIST digit's darkest ink; and how many images are worth reading together.
_MNIST_PEAK, _BATCH_PAYS = 250, 4
# Added before the fraction is cut off. Means of a drawing are often an exact half, which another
# order of summation moves to either side; next to nothing lies a thousandth below it.
_ROUNDING = np.float32(0.5 + 2**-10)
# On either side of 20x20 ink these give the sum and the moment of rows and columns.
_MOMENTS = np.stack((np.ones(20), np.arange(20) + 0.5)).astype(np.float32)
# On either side of (28, 28) pixels these give the sum, the moment and the sum on the rim.
_SUMS = np.stack((np.ones(28), np.arange(28), np.arange(28) % 27 == 0)).astype(np.float32)


def to_mnist_format(ink: npt.NDArray[Any]) -> Pixels:
    """Bring ink, (height, width) of any scale on 0, into MNIST's form: uint8 (28, 28, 1).

    The recipe is MNIST's own as QMNIST reconstructed it (Yadav and Bottou, "Cold Case: The Lost
    MNIST Digits", 2019): the tight bounding box, centered in a square of side max(height, width,
    10); area-weighted resampling to 20x20; the peak scaled to 255, fractions from 0.499 rounded
    up; a shift by whole pixels that brings the center of mass c, pixel centers at +0.5, to
    (14, 15].
    No ink gives all zeros. Raises ImageError where `ink` is no plane.
    """
    if ink.ndim != 2:
        raise ImageError(f"<array>: ink of shape {ink.shape}; give (height, width)")
    rows = np.flatnonzero(ink.any(axis=1))
    if not rows.size:
        return np.zeros(PIXELS_SHAPE, np.uint8)
    columns = np.flatnonzero(ink.any(axis=0))
    tight = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return tight_to_mnist_format(tight.astype(np.float32))


def tight_to_mnist_format(tight: Plane) -> Pixels:
    """Return `to_mnist_format` of ink whose first and last rows and columns are not empty."""
    small = area_resample(tight, 20, max(*tight.shape, 10))
    small *= 255 / small.max()
    (mass, x), (y, _) = _MOMENTS.dot(small).dot(_MOMENTS.T).tolist()
    down, right = int(15 - y / mass), int(15 - x / mass)
    # The part of the 20x20 that lies on the 28x28; the rest, hardly ever any, is cut off.
    rows = slice(max(-down, 0), min(28 - down, 20))
    columns = slice(max(-right, 0), min(28 - right, 20))
    pixels = np.zeros((28, 28), np.uint8)
    small += _ROUNDING
    pixels[rows.start + down : rows.stop + down, columns.start + right : columns.stop + right] = (
        small[rows, columns]
    )
    return pixels.reshape(PIXELS_SHAPE)


def _in_mnist_form(gray: Gray) -> bool:
    """Whether a (28, 28) image is an MNIST digit; see `_has_mnist_sums`."""
    highest = int(gray.max())
    return highest >= _MNIST_PEAK and _has_mnist_sums(
        (_SUMS @ gray.astype(np.float32) @ _SUMS.T).tolist()
    )


def _has_mnist_sums(sums: list[list[float]]) -> bool:
    """Whether next to nothing is on the rim, and the digit centered by mass.

    All 70,000 images of MNIST are so: their ink is at most 0.78 of 20x20 white pixels, their rims
    add up to at most 932.
    """
    (mass, x, columns), (y, _, _), (rows, _, _) = sums
    return (
        0 < mass < 0.8 * 255 * 400
        and rows + columns < 1000
        and abs(x / mass - 14) < 1
        and abs(y / mass - 14) < 1
    )


def area_resample(plane: Plane, bins: int, side: int) -> Plane:
    """Means over bins x bins equal cells of a square of `side`, `plane` in its middle.

    Exact area weights: each pixel counts by the part of it that a cell covers.
    """
    height, width = plane.shape
    down, across = _overlaps(height, bins, side), _overlaps(width, bins, side)
    if plane.size <= _SMALL:
        small: Plane = down.dot(plane).dot(across.T)
        return small
    # einsum rather than a product, which wakes every thread of the BLAS for a millisecond's work.
    means: Plane = np.einsum("ij,kj->ik", np.einsum("ij,jk->ik", down, plane), across)
    return means


@lru_cache(maxsize=256)
def _overlaps(length: int, bins: int, side: int) -> Plane:
    """(bins, length): which part of each bin each of `length` pixels, centered in side, covers."""
    edges = np.arange(bins + 1) * (side / bins) - (side - length) // 2
    pixels = np.arange(length)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights: Plane = (np.maximum(overlap, 0) * (bins / side)).astype(np.float32)
    weights.flags.writeable = False
    return weights
