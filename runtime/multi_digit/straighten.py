"""Turns a page so that its ruled lines are horizontal, and converts boxes back.

Slanting rules cannot be removed along rows, and join the digits that stand on them.
`runtime.multi_digit.recognize.decode_page` calls `find_slope` and `straighten`.
"""

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

from runtime.preprocess.grayscale import Gray
from runtime.preprocess.segment import Box

_COARSE_SIDE_PX = 384  # longer side of the copy on which rules are sought
_MIN_SIDE_PX = 100  # of the picture; a smaller one is a crop of digits
_REACH_PX = 3  # of the copy; a rule differs from the paper this far above and below
_NOISE_FACTOR = 3.0  # times the noise; a rule differs more from the paper
_MIN_LEVELS = 3.0  # of 255 gray levels, that a rule differs from the paper
_DARK_PAPER_LEVEL = 100  # median gray level; rules on darker paper are light
_MAX_SLOPE = math.tan(math.radians(16))
_SLOPE_STEP = 0.005  # in the copy, two rows along a line of 384 columns
_MIN_RULE_SHARE = 0.4  # of the picture's width, along one slope; a line of digits has less
_MIN_RULES = 2
_MIN_SLOPE = 0.004  # smaller slopes do not matter


def find_slope(gray: Gray) -> float:
    """Return the slope of a page's ruled lines, rows per column; 0 if it has none.

    The slope at which the pixels of thin lines fall on fewest rows is found by trying all, as in
    a Radon transform of sheared copies.

    Args:
        gray: uint8 (height, width).
    """
    height, width = gray.shape
    if min(height, width) < _MIN_SIDE_PX:
        return 0.0
    scale = min(_COARSE_SIDE_PX / max(height, width), 1.0)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    plane = np.asarray(Image.fromarray(gray).resize(size, Image.Resampling.BOX)).astype(np.int16)
    if np.median(plane) < _DARK_PAPER_LEVEL:
        plane = -plane
    found = _slope_of_dark_rules(plane)
    return found if abs(found) >= _MIN_SLOPE else 0.0


def _slope_of_dark_rules(plane: npt.NDArray[np.int16]) -> float:
    above, below = plane[: -2 * _REACH_PX], plane[2 * _REACH_PX :]
    depth = np.minimum(above, below) - plane[_REACH_PX:-_REACH_PX]
    noise = float(np.median(np.abs(above - below))) / 1.35
    rows, columns = np.nonzero(depth > max(_NOISE_FACTOR * noise, _MIN_LEVELS))
    width = plane.shape[1]
    if len(rows) < _MIN_RULES * _MIN_RULE_SHARE * width:
        return 0.0
    best, most, apart = 0.0, 0.0, 0
    reach = int(_MAX_SLOPE * width) + 1
    for slope in _slopes():
        shifted = rows - np.rint(slope * columns).astype(np.intp) + reach
        counts = np.bincount(shifted).astype(np.float64)
        # A rule is up to two rows thick.
        lines = np.minimum(counts[1:] + counts[:-1], width)
        rules = np.flatnonzero(lines > _MIN_RULE_SHARE * width)
        power = float((lines[rules] ** 2).sum())
        if power > most:
            best, most = slope, power
            apart = int((np.diff(rules) > _REACH_PX).sum()) + 1
    if apart < _MIN_RULES:
        return 0.0
    return best


def _slopes() -> Iterator[float]:
    """Yield slopes, the smallest first."""
    yield 0.0
    for step in range(1, int(_MAX_SLOPE / _SLOPE_STEP) + 1):
        yield step * _SLOPE_STEP
        yield -step * _SLOPE_STEP


def straighten(gray: Gray, slope: float) -> Gray:
    """Turn a page by two shears, so that lines of a slope become horizontal.

    Args:
        gray: uint8 (height, width).
        slope: rows per column.

    Returns:
        uint8 of the same shape. Pixels from outside of the picture repeat its edge.
    """
    height, width = gray.shape
    falls = np.rint(slope * (np.arange(width) - width / 2)).astype(np.intp)
    rows = np.clip(np.arange(height)[:, None] + falls, 0, height - 1)
    sheared = np.take_along_axis(gray, rows, axis=0)
    shifts = np.rint(slope * (np.arange(height) - height / 2)).astype(np.intp)
    columns = np.clip(np.arange(width) - shifts[:, None], 0, width - 1)
    return np.take_along_axis(sheared, columns, axis=1)


def turn_box_back(box: Box, slope: float, shape: tuple[int, ...]) -> Box:
    """Convert a box on a straightened page to the box around it on the original.

    Args:
        box: left, top, right, bottom.
        slope: by which the page was straightened.
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
