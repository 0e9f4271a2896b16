"""Finds what is printed around digits: boxes, circles, the cells of a table, the teeth of a comb.

`runtime.multi_digit.layout` removes these components before it arranges the digits in lines, so
that no printed line is read as a 1.
"""

import numpy as np
import numpy.typing as npt

from runtime.preprocess.connected_components import Components

Flags = npt.NDArray[np.bool_]

_MIN_FRAME_PX = 12  # shorter side of a frame
_MAX_FRAME_FILL = 0.4  # of a frame's box; its ink
_MIN_CONTENT_SHARE = 0.3  # of the height of a cell; lower ink in it is a speck, not a digit
_MAX_FRAMES = 300  # that are examined, the largest ones
_MAX_SIZES = 40  # of a frame's height; larger frames are not around single digits

# Straight bars.
_MAX_BAR_ASPECT = 0.2  # width / height
_MIN_BAR_FILL = 0.8  # of its box; a written 1 leans or bends and fills less
_MIN_BARS = 3  # that are equally high and at the same level
_MAX_UNEVEN_SHARE = 0.1  # of their height; how much their ends may differ
# Of the digits' height; bars of a height between these may be digits, which the line reader decides
_MAX_LOW_BAR = 0.75
_MIN_HIGH_BAR = 1.15


def find_frames(components: Components) -> Flags:
    """Return for each component whether it is a frame around other ink."""
    boxes = components.boxes
    sizes = boxes[:, 2:] - boxes[:, :2]
    areas = sizes.prod(axis=1)
    flags = np.zeros(len(boxes), np.bool_)
    thin = (sizes.min(axis=1) >= _MIN_FRAME_PX) & (components.area <= _MAX_FRAME_FILL * areas)
    candidates = np.flatnonzero(thin)
    candidates = candidates[np.argsort(-areas[candidates], kind="stable")][:_MAX_FRAMES]
    for number in candidates.tolist():
        left, top, right, bottom = box = tuple(boxes[number].tolist())
        inside = (
            (boxes[:, 0] > left)
            & (boxes[:, 1] > top)
            & (boxes[:, 2] < right)
            & (boxes[:, 3] < bottom)
            & (sizes[:, 1] * _MAX_SIZES >= bottom - top)
        )
        if not inside.any():
            continue
        ink = components.paint(np.arange(len(boxes)) == number, box)
        flags[number] = any(_is_in_cell(ink, own) for own in boxes[inside] - (left, top) * 2)
    return flags


def _is_in_cell(ink: Flags, box: npt.NDArray[np.intp]) -> bool:
    """Return whether a box is in a cell of `ink`: enclosed on all four sides, without touching it.

    The ink in the box has to be nearly as high as the cell.
    """
    left, top, right, bottom = box.tolist()
    if ink[top:bottom, left:right].any():
        return False
    column, row = ink[:, (left + right) // 2], ink[(top + bottom) // 2]
    above, below = np.flatnonzero(column[:top]), np.flatnonzero(column[bottom:])
    if not (above.size and below.size and row[:left].any() and row[right:].any()):
        return False
    cell = bottom + int(below[0]) - int(above[-1])
    return bottom - top >= _MIN_CONTENT_SHARE * cell


def find_bars(components: Components, height: float) -> Flags:
    """Return for each component whether it is one of several equal straight bars, not a digit.

    Args:
        components: of the page.
        height: of a typical digit, in pixels.
    """
    boxes = components.boxes
    flags = np.zeros(len(boxes), np.bool_)
    sizes = boxes[:, 2:] - boxes[:, :2]
    shares = sizes[:, 1] / height
    straight = np.flatnonzero(
        (sizes[:, 0] <= _MAX_BAR_ASPECT * sizes[:, 1])
        & (components.area >= _MIN_BAR_FILL * sizes.prod(axis=1))
        & (((shares > 0.2) & (shares < _MAX_LOW_BAR)) | (shares > _MIN_HIGH_BAR))
    )
    bars = straight[np.argsort(boxes[straight, 1], kind="stable")]
    tops, bottoms = boxes[bars, 1], boxes[bars, 3]
    for number, bar in enumerate(bars.tolist()):
        slack = _MAX_UNEVEN_SHARE * sizes[bar, 1] + 1
        first, last = np.searchsorted(tops, (tops[number] - slack, tops[number] + slack))
        equal = np.abs(bottoms[first:last] - bottoms[number]) <= slack
        flags[bar] = np.count_nonzero(equal) >= _MIN_BARS
    return flags
