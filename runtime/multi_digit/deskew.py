"""Rotates a page so that its ruled lines are horizontal (deskewing), and converts boxes back.

Slanting ruled lines cannot be removed along rows, and join the digits that stand on them.
`runtime.multi_digit.recognize` calls `find_skew`, `deskew` and `skew_box`.
"""

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from runtime.preprocess.grayscale import Gray, reduced
from runtime.preprocess.segment import Box

_REDUCED_SIDE_PX = 384  # longer side of the reduced copy on which ruled lines are sought
_MIN_SIDE_PX = 100  # shorter side of the image; a smaller one is a crop of digits
_REACH_PX = 3  # pixels of the copy; a ruled line is darker than the paper this far above and below
_NOISE_FACTOR = 3.0  # times the noise of `_noise`; a ruled line is darker by more
_MIN_DEPTH_LEVELS = 3.0  # of 255 gray levels; a ruled line is darker than the paper by more
_DARK_PAPER_LEVEL = 100  # gray level; on paper of a smaller median, ruled lines are light
_MAX_SLOPE = math.tan(math.radians(16))  # rows per column; 16°, the largest slope that is tried
_SLOPE_STEP = 0.005  # rows per column; two rows over the 384 columns of the copy
_MIN_LINE_SHARE = 0.4  # of the image's width, along one slope; a line of digits covers less
_MIN_LINES = 2  # a page with fewer ruled lines is not deskewed
_MIN_SLOPE = 0.004  # rows per column; a smaller slope does not matter


def find_skew(gray: Gray) -> float:
    """Return the slope of a page's ruled lines, rows per column; 0 if it has none.

    All slopes are tried. At the right one, the pixels of thin lines fall on the fewest rows, as in
    a Radon transform of sheared copies.

    Args:
        gray: uint8 (height, width).
    """
    if min(gray.shape) < _MIN_SIDE_PX:
        return 0.0
    plane = reduced(gray, _REDUCED_SIDE_PX).astype(np.int16)
    if np.median(plane) < _DARK_PAPER_LEVEL:
        plane = -plane
    found = _slope_of_dark_lines(plane)
    return found if abs(found) >= _MIN_SLOPE else 0.0


def _slope_of_dark_lines(plane: npt.NDArray[np.int16]) -> float:
    above, below = plane[: -2 * _REACH_PX], plane[2 * _REACH_PX :]
    depth = np.minimum(above, below) - plane[_REACH_PX:-_REACH_PX]
    min_depth = max(_NOISE_FACTOR * _noise(above, below), _MIN_DEPTH_LEVELS)
    rows, columns = np.nonzero(depth > min_depth)
    width = plane.shape[1]
    if len(rows) < _MIN_LINES * _MIN_LINE_SHARE * width:
        return 0.0
    best_slope, best_power, n_lines = 0.0, 0.0, 0
    reach = int(_MAX_SLOPE * width) + 1
    for slope in _slopes():
        shifted = rows - np.rint(slope * columns).astype(np.intp) + reach
        counts = np.bincount(shifted).astype(np.float64)
        # A ruled line is up to two rows thick.
        lengths = np.minimum(counts[1:] + counts[:-1], width)
        lines = np.flatnonzero(lengths > _MIN_LINE_SHARE * width)
        power = float((lengths[lines] ** 2).sum())
        if power > best_power:
            best_slope, best_power = slope, power
            n_lines = int((np.diff(lines) > _REACH_PX).sum()) + 1
    return best_slope if n_lines >= _MIN_LINES else 0.0


def _noise(above: npt.NDArray[np.int16], below: npt.NDArray[np.int16]) -> float:
    """Return 0.7 of the standard deviation of Gaussian noise, to which `_NOISE_FACTOR` is tuned.

    The median absolute difference of two pixels is 0.95 standard deviations.
    """
    return float(np.median(np.abs(above - below))) / 1.35


def _slopes() -> Iterator[float]:
    """Yield slopes, the smallest first."""
    yield 0.0
    for step in range(1, int(_MAX_SLOPE / _SLOPE_STEP) + 1):
        yield step * _SLOPE_STEP
        yield -step * _SLOPE_STEP


def deskew(gray: Gray, slope: float) -> Gray:
    """Rotate a page by two shears, so that lines of a slope become horizontal.

    Args:
        gray: uint8 (height, width).
        slope: rows per column.

    Returns:
        uint8 of the same shape. Pixels from outside of the image repeat its border.
    """
    height, width = gray.shape
    falls = np.rint(slope * (np.arange(width) - width / 2)).astype(np.intp)
    rows = np.clip(np.arange(height)[:, None] + falls, 0, height - 1)
    sheared = np.take_along_axis(gray, rows, axis=0)
    shifts = np.rint(slope * (np.arange(height) - height / 2)).astype(np.intp)
    columns = np.clip(np.arange(width) - shifts[:, None], 0, width - 1)
    return np.take_along_axis(sheared, columns, axis=1)


def skew_box(box: Box, slope: float, shape: tuple[int, ...]) -> Box:
    """Convert a box on a deskewed page to the box around it on the original.

    Args:
        box: left, top, right, bottom.
        slope: by which the page was deskewed.
        shape: (height, width) of the page.
    """
    if not slope:
        return box
    height, width = shape[:2]
    left, top, right, bottom = box
    x = np.array((left, right, left, right), np.float64)
    y = np.array((top, top, bottom, bottom), np.float64)
    across = x - slope * (y - height / 2)
    down = y + slope * (across - width / 2)
    return (
        max(math.floor(across.min()), 0),
        max(math.floor(down.min()), 0),
        min(math.ceil(across.max()), width),
        min(math.ceil(down.max()), height),
    )
