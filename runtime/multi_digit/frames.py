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
_MAX_BARS = 2_500  # that are compared; a page with more pieces of ink is rejected anyway
_MAX_UNEVEN_SHARE = 0.1  # of their height; how much their ends may differ
_MIN_BAR_HEIGHTS = 0.2  # of a digit; lower ones are specks
# Bars between these heights, of a digit, may be 1s; they are a comb if they are evenly spaced, too.
_MAX_LOW_BAR = 0.7
_MIN_HIGH_BAR = 1.15
_MAX_UNEVEN_SPACE = 0.06  # of the space between two bars


def find_frames(components: Components, min_content_px: float = 0.0) -> Flags:
    """Return for each component whether it is a frame around other ink.

    Args:
        components: of the page.
        min_content_px: height of the ink in a frame; a lower piece may be that of a broken rule in
            a digit.
    """
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
            & (sizes[:, 1] >= min_content_px)
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
    return bool(bottom - top >= _MIN_CONTENT_SHARE * cell)


def find_bars(components: Components, height: float) -> Flags:
    """Return for each component whether it is one of several equal straight bars, not a digit.

    Args:
        components: of the page.
        height: of a typical digit, in pixels.
    """
    boxes = components.boxes
    flags = np.zeros(len(boxes), np.bool_)
    sizes = boxes[:, 2:] - boxes[:, :2]
    straight = (
        (sizes[:, 0] <= _MAX_BAR_ASPECT * sizes[:, 1])
        & (components.area >= _MIN_BAR_FILL * sizes.prod(axis=1))
        & (sizes[:, 1] > _MIN_BAR_HEIGHTS * height)
    )
    bars = np.flatnonzero(straight)
    if len(bars) > _MAX_BARS:
        return flags
    bars = bars[np.argsort(boxes[bars, 1], kind="stable")]
    others = (boxes[~straight & (sizes[:, 1] > height / 2)][:, [0, 2]]).mean(axis=1)
    tops, bottoms = boxes[bars, 1], boxes[bars, 3]
    for number, bar in enumerate(bars.tolist()):
        slack = _MAX_UNEVEN_SHARE * sizes[bar, 1] + 1
        first, last = np.searchsorted(tops, (tops[number] - slack, tops[number] + slack))
        equal = bars[first:last][np.abs(bottoms[first:last] - bottoms[number]) <= slack]
        if len(equal) >= _MIN_BARS:
            may_be_ones = _MAX_LOW_BAR < sizes[bar, 1] / height < _MIN_HIGH_BAR
            flags[bar] = not may_be_ones or _is_comb(boxes[equal], others)
    return flags


def _is_comb(bars: npt.NDArray[np.intp], others: npt.NDArray[np.float64]) -> bool:
    """Return whether bars are evenly spaced, with other ink between most of them.

    Args:
        bars: (N, 4), boxes of the bars.
        others: (M,), the middle column of all other ink of the height of digits.
    """
    places = np.sort(bars[:, [0, 2]].mean(axis=1))
    spaces = np.diff(places)
    even = np.abs(spaces - np.median(spaces)) <= _MAX_UNEVEN_SPACE * np.median(spaces)
    filled = np.histogram(others, places)[0] > 0
    return bool(even.all() and np.count_nonzero(filled) > len(filled) / 2)
