"""Recognize shapes that the network predicts as another digit.

A B has a straight left edge; an 8 has a waist. `runtime.Classifier` calls `has_straight_left_edge`
for each image that is predicted as 8, and rejects the image if the result is True.

The 3 of a seven-segment display is predicted as 7, and its 6 as 5. `Classifier` calls
`is_display_of_other` for predictions as 7 or 5, and rejects them if the result is True.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

from runtime.backends import Pixels

_SIDE_PX = 28  # width and height of MNIST's images
_INK_LEVEL = 100  # of 255; a pixel of at least this level is ink, other pixels are background
_MIN_HEIGHT_PX = 10  # ink that is less high counts as not straight
_MIN_WIDTH_PX = 5  # ink that is less wide is not a display's digit
_CURVE_SHARE = 0.12  # of the ink's height; ignored at the top and at the bottom, where a B curves

# Pixels, if the ink is 20 px high. The left edge is straight if all points of it are nearer to the
# fitted line. In MNIST's training set, 3 in 10,000 of the 8s have such an edge.
_MAX_DEVIATION_PX = 0.4
_DEVIATION_HEIGHT_PX = 20  # ink height for which `_MAX_DEVIATION_PX` holds

# Predicted digit → the digit of a display that is predicted so.
_DISPLAY_OF = {5: 6, 7: 3}
# Digit → the segments of its variants: a is the top, b to f go on clockwise, g is the middle.
_SEGMENTS = {3: ("abcdg",), 5: ("acdfg",), 6: ("acdefg",), 7: ("abc", "abcf")}
_DISPLAY_SHAPE = (20, 12)  # height and width that displays and ink are compared in
_SEGMENT_WIDTHS = (0.05, 0.1, 0.15, 0.2)  # of the height
_UPRIGHT_RATIO = 1.7  # height / width of a display's digit, before it is stretched to the shape
_DISPLAY_SLANTS = (0.0, 0.1, 0.2)  # tangents of the angle; the ink is sheared back by each
_MIN_DISPLAY_IOU = 0.58  # intersection over union of the ink and the display
_MIN_DISPLAY_LEAD = 0.01  # over the display of the predicted digit

_IS_INK = bytes(level >= _INK_LEVEL for level in range(256))  # table for bytes.translate: 1 is ink


def has_straight_left_edge(pixels: Pixels) -> bool:
    """Return whether the left edge of the ink is one straight line, upright or slanted.

    A line is fitted by least squares to the first ink pixel of each row, with subpixel accuracy.

    Args:
        pixels: (28, 28, 1) uint8 in MNIST's format; 0 is background.

    Returns:
        False also if there is no ink, if the ink is less than 10 px high, or if a row within the
        ink is empty.
    """
    # Bytes are three times as fast as NumPy on an array this small.
    data = pixels.tobytes()
    is_ink = data.translate(_IS_INK)
    first_ink = [is_ink.find(1, row, row + _SIDE_PX) for row in range(0, len(data), _SIDE_PX)]
    inked_rows = [y for y, index in enumerate(first_ink) if index >= 0]
    height = inked_rows[-1] - inked_rows[0] + 1 if inked_rows else 0
    if height < _MIN_HEIGHT_PX or len(inked_rows) < height:
        return False
    skipped_rows = round(_CURVE_SHARE * height)
    rows = inked_rows[skipped_rows : height - skipped_rows]
    edge = []
    for y in rows:
        index = first_ink[y]
        x, level = index - _SIDE_PX * y, data[index]
        level_left = data[index - 1] if index % _SIDE_PX else 0
        # Interpolate the position at which the level crosses _INK_LEVEL.
        edge.append(x - (level - _INK_LEVEL) / (level - level_left))
    mean_y, mean_x = sum(rows) / len(rows), sum(edge) / len(edge)
    slope = sum((y - mean_y) * x for y, x in zip(rows, edge, strict=True))
    slope /= sum((y - mean_y) ** 2 for y in rows)
    deviations = [abs(x - mean_x - slope * (y - mean_y)) for y, x in zip(rows, edge, strict=True)]
    return max(deviations) < _MAX_DEVIATION_PX * height / _DEVIATION_HEIGHT_PX


def is_display_of_other(pixels: Pixels, predicted: int) -> bool:
    """Return whether the ink is the digit of a seven-segment display that is predicted wrongly.

    The ink is compared with drawings of both digits by its intersection over union (IoU), upright
    and slanted.

    Args:
        pixels: (28, 28, 1) uint8 in MNIST's format; 0 is background.
        predicted: the predicted digit.

    Returns:
        True for a 3 predicted as 7, or a 6 predicted as 5. False for all other predicted digits,
        if there is no ink, or if the ink is less than 10 px high or 5 px wide.
    """
    shown = _DISPLAY_OF.get(predicted)
    ink = pixels[..., 0] >= _INK_LEVEL
    rows = np.flatnonzero(ink.any(axis=1))
    if shown is None or len(rows) < _MIN_HEIGHT_PX:
        return False
    digits, displays = _displays()
    best = np.zeros(10)
    position = np.arange(_SIDE_PX)
    for slant in _DISPLAY_SLANTS:
        offsets = np.rint(slant * (position - _SIDE_PX / 2)).astype(int)
        upright = np.take_along_axis(
            ink, np.clip(position - offsets[:, np.newaxis], 0, _SIDE_PX - 1), axis=1
        )
        columns = np.flatnonzero(upright.any(axis=0))
        if len(columns) < _MIN_WIDTH_PX:
            continue
        y, x = (
            np.rint(np.linspace(ends[0], ends[-1], count)).astype(int)
            for ends, count in zip((rows, columns), _DISPLAY_SHAPE, strict=True)
        )
        sample = upright[np.ix_(y, x)].ravel().astype(np.float32)
        common = displays @ sample
        iou = common / (displays.sum(axis=1) + sample.sum() - common)
        np.maximum.at(best, digits, iou)
    lead = best[shown] - best[predicted]
    return bool(best[shown] >= _MIN_DISPLAY_IOU and lead >= _MIN_DISPLAY_LEAD)


@cache
def _displays() -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """Draw all displays; return the digit of each and its pixels, (N, height · width)."""
    height, width = _DISPLAY_SHAPE
    middle = height // 2
    digits, planes = [], []
    for digit, variants in _SEGMENTS.items():
        for segments in variants:
            for share in _SEGMENT_WIDTHS:
                down = max(1, round(share * height))
                across = max(1, round(share * width * _UPRIGHT_RATIO))
                center = (height - down) // 2
                areas: dict[str, tuple[slice, slice]] = {
                    "a": np.s_[:down, :],
                    "b": np.s_[:middle, -across:],
                    "c": np.s_[middle:, -across:],
                    "d": np.s_[-down:, :],
                    "e": np.s_[middle:, :across],
                    "f": np.s_[:middle, :across],
                    "g": np.s_[center : center + down, :],
                }
                plane = np.zeros(_DISPLAY_SHAPE, np.float32)
                for segment in segments:
                    plane[areas[segment]] = 1
                digits.append(digit)
                planes.append(plane.ravel())
    return np.array(digits), np.stack(planes)
