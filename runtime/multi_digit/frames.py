"""Finds preprinted ink around digits: boxes, circles, the cells of a table, the teeth of a comb.

`runtime.multi_digit.layout` removes these components before it arranges the digits in lines, so
that no printed line is read as a 1. Digits that touch them are cut from them (`lines_of_frames`).
"""

import numpy as np
import numpy.typing as npt

from runtime.multi_digit.ellipse import distance_from_ellipse, without_curve
from runtime.preprocess.connected_components import (
    Components,
    IndexArray,
    Mask,
    find_components,
    find_runs,
    sum_runs,
)
from runtime.preprocess.ruled_lines import remove_spanning_lines

Flags = npt.NDArray[np.bool_]

# Frames.
_MIN_FRAME_PX = 12  # shorter side of a frame
_MAX_FRAME_FILL = 0.4  # ink of a frame / area of its box
_MIN_CONTENT_SHARE = 0.3  # of the height of a cell; shorter ink in it is a speck, not a digit
_MAX_CONTENT_RATIO = 40  # height of a frame / of its content; a larger frame is not around digits
_BASE_SHARE = 0.1  # of the height of a comb; its base is in these lowest rows
_MIN_BASE_SHARE = 0.95  # of the width of a comb; a shorter base is a stroke
_MAX_FRAMES = 300  # components that are examined, the largest ones

# Digits that touch the lines of a frame.
_MAX_FRAMES_PAGES = 2  # areas of the page; frames whose boxes are together larger stay as they are
_MIN_LEVEL_SHARE = 0.7  # of the width of a frame; shorter horizontal lines are strokes
_MIN_UPRIGHT_SHARE = 0.85  # of the height of a frame; shorter vertical lines are strokes
_MIN_UPRIGHT_HEIGHTS = 1.2  # digit heights; a lower component is a line without a frame
_MAX_LINE_HEIGHTS = 0.15  # digit heights; a frame of thicker lines stays as it is
_LINE_REACH_HEIGHTS = 0.1  # digit heights; a line may wander by this up and down
_MAX_LINE_REACH_PX = 8  # greatest reach
_MIN_DIGIT_HEIGHTS = 0.4  # digit heights; shorter ink that remains is a piece of a line
_MIN_DIGIT_WIDTH_HEIGHTS = 0.25  # digit heights; narrower ink that remains is one, too, or a 1
_MIN_DISTANCE_HEIGHTS = 0.3  # digit heights; ink that is all nearer to a circle is its line
_MIN_STROKE_WIDTHS = 1.6  # width of the stroke of a 1 / width of the lines
_LINE_WIDTH_QUANTILE = 0.25  # of the lengths of a frame's runs; the others are those of digits

# Straight bars.
_MAX_BAR_ASPECT = 0.2  # width / height
_MIN_BAR_FILL = 0.8  # ink of a bar / area of its box; a written 1 leans or bends and fills less
_MIN_BARS = 3  # of about the same top and bottom; fewer may be 1s
_MAX_BARS = 2_500  # that are compared; a page with more components is rejected anyway
_MAX_UNEVEN_SHARE = 0.1  # of a bar's height; difference of the tops, and of the bottoms, of bars
_MIN_BAR_HEIGHTS = 0.2  # digit heights; shorter bars are specks
# Bars of a height between these two may be 1s; they are a comb if they are evenly spaced, too.
_MIN_ONE_HEIGHTS = 0.7  # digit heights; a shorter bar is not a 1
_MAX_ONE_HEIGHTS = 1.15  # digit heights; a taller bar is not a 1
_MAX_UNEVEN_SPACE = 0.06  # of the median space between two bars of a comb; difference from it


def find_frames(components: Components, min_content_px: float = 0.0) -> Flags:
    """Return for each component whether it is a frame around other ink, or a comb below it.

    Args:
        components: of the page.
        min_content_px: least height of the ink in a frame; shorter ink may be a part of a broken
            ruled line in a digit.
    """
    boxes = components.boxes
    sizes = boxes[:, 2:] - boxes[:, :2]
    areas = sizes.prod(axis=1)
    flags = np.zeros(len(boxes), np.bool_)
    thin = (sizes.min(axis=1) >= _MIN_FRAME_PX) & (components.area <= _MAX_FRAME_FILL * areas)
    candidates = np.flatnonzero(thin)
    candidates = candidates[np.argsort(-areas[candidates], kind="stable")][:_MAX_FRAMES]
    for index in candidates.tolist():
        left, top, right, bottom = box = tuple(boxes[index].tolist())
        inside = (
            (boxes[:, 0] > left)
            & (boxes[:, 1] > top)
            & (boxes[:, 2] < right)
            & (boxes[:, 3] < bottom)
            & (sizes[:, 1] * _MAX_CONTENT_RATIO >= bottom - top)
            & (sizes[:, 1] >= min_content_px)
        )
        if not inside.any():
            continue
        ink = components.paint(np.arange(len(boxes)) == index, box)
        content = boxes[inside] - np.array((left, top, left, top))
        has_base = _has_base(ink)
        flags[index] = any(_is_in_cell(ink, content_box, has_base) for content_box in content)
    return flags


def _has_base(ink: Mask) -> bool:
    """Return whether ink may be a comb: it has a line along the bottom of its box."""
    rows = max(round(_BASE_SHARE * len(ink)), 2)
    return bool(ink[-rows:].any(axis=0).mean() >= _MIN_BASE_SHARE)


def lines_of_frames(components: Components, frames: Flags, height: float) -> Mask | None:
    """Return the ink of lines and frames without the digits that touch or cross them.

    Args:
        components: of the page.
        frames: (N,), whether a component may be a frame.
        height: of a typical digit, in pixels.

    Returns:
        (height, width) bool, without the frames that no digit touches; None if that leaves none.
    """
    boxes = components.boxes
    widths, heights = (boxes[:, 2:] - boxes[:, :2]).T
    candidates = np.flatnonzero(frames & (components.area <= _MAX_FRAME_FILL * widths * heights))
    if not len(candidates):
        return None
    page_height, page_width = components.shape
    pixels = _MAX_FRAMES_PAGES * page_height * page_width
    lines = np.zeros(components.shape, np.bool_)
    for index in candidates.tolist():
        left, top, right, bottom = boxes[index].tolist()
        pixels -= (right - left) * (bottom - top)
        if pixels < 0:
            break
        ink = components.paint(np.arange(len(boxes)) == index, (left, top, right, bottom))
        digits = _digits_on_lines(ink, height)
        if digits is not None:
            lines[top:bottom, left:right] |= ink & ~digits
    return lines if lines.any() else None


def _digits_on_lines(ink: Mask, height: float) -> Mask | None:
    """Return the ink of the digits that touch the lines of a frame; None without any.

    Args:
        ink: (height, width), of the frame.
        height: of a typical digit, in pixels.
    """
    starts, ends = find_runs(ink)
    line_width = float(np.quantile(ends - starts, _LINE_WIDTH_QUANTILE))
    reach_px = min(max(round(_LINE_REACH_HEIGHTS * height), 2), _MAX_LINE_REACH_PX)
    limits = _MAX_LINE_HEIGHTS * height, reach_px
    rest = remove_spanning_lines(ink, _MIN_LEVEL_SHARE, *limits)
    has_sides = len(ink) > _MIN_UPRIGHT_HEIGHTS * height
    if has_sides:  # otherwise, a stem is as tall as the frame
        rest = remove_spanning_lines(rest.T, _MIN_UPRIGHT_SHARE, *limits).T
    if not rest.any():
        return None
    distance = distance_from_ellipse(ink, reach_px)
    if distance is not None:
        rest = without_curve(ink, distance, line_width + reach_px / 2, line_width)
    found = find_components(rest, rest.astype(np.float32))
    if found is None or np.array_equal(rest, ink):
        return None
    widths, heights = (found.boxes[:, 2:] - found.boxes[:, :2]).T
    stroke_widths = found.area / np.bincount(found.labels)
    is_wide = widths >= _MIN_DIGIT_WIDTH_HEIGHTS * height
    is_wide |= stroke_widths >= _MIN_STROKE_WIDTHS * line_width
    is_wide |= not has_sides
    is_digit = is_wide & (heights >= _MIN_DIGIT_HEIGHTS * height)
    if distance is not None:
        is_far = (distance >= _MIN_DISTANCE_HEIGHTS * height).astype(np.float32)
        far_pixels = np.bincount(found.labels, sum_runs(found.starts, found.ends, is_far))
        is_digit &= far_pixels > 0
    return found.paint(is_digit, (0, 0, ink.shape[1], len(ink))) if is_digit.any() else None


def _is_in_cell(ink: Mask, box: IndexArray, has_base: bool) -> bool:
    """Return whether a box is in a cell of `ink`: enclosed on its sides, without touching it.

    The ink in the box must have at least `_MIN_CONTENT_SHARE` of the cell's height.

    Args:
        ink: (height, width), of one component.
        box: left, top, right, bottom.
        has_base: whether the component may be a comb, whose cells are open above.
    """
    left, top, right, bottom = box.tolist()
    if ink[top:bottom, left:right].any():
        return False
    column, row = ink[:, (left + right) // 2], ink[(top + bottom) // 2]
    above, below = np.flatnonzero(column[:top]), np.flatnonzero(column[bottom:])
    if not (below.size and row[:left].any() and row[right:].any()):
        return False
    if not above.size and not has_base:
        return False
    cell = bottom + int(below[0]) - (int(above[-1]) if above.size else 0)
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
    for index, bar in enumerate(bars.tolist()):
        slack = _MAX_UNEVEN_SHARE * sizes[bar, 1] + 1
        first, last = np.searchsorted(tops, (tops[index] - slack, tops[index] + slack))
        equal = bars[first:last][np.abs(bottoms[first:last] - bottoms[index]) <= slack]
        if len(equal) >= _MIN_BARS:
            may_be_ones = _MIN_ONE_HEIGHTS < sizes[bar, 1] / height < _MAX_ONE_HEIGHTS
            flags[bar] = not may_be_ones or _is_comb(boxes[equal], others)
    return flags


def _is_comb(bars: IndexArray, others: npt.NDArray[np.float64]) -> bool:
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
