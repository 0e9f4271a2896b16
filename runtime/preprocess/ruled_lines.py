"""Remove the ruled lines of writing paper from a mask of ink.

A ruled line is a thin, nearly horizontal line of ink that starts or ends near an edge of the
picture. Strokes of digits that cross the line are kept. `runtime.preprocess.segment` and
`runtime.multi_digit.layout` call `remove_ruled_lines` twice, the second time with the transposed
mask for vertical lines. `remove_squares` removes the vertical lines of squared paper from a wide
picture, and `remove_spanning_lines` those of a table.
"""

import math

import numpy as np

from runtime.preprocess.connected_components import Mask, find_runs, paint_runs

_MIN_SIDE_PX = 32  # a picture with a shorter side is returned unchanged
# Of the picture's width. If no line begins or ends within this distance from the left or right
# edge, nothing is removed.
_MAX_EDGE_GAP_SHARE = 0.04
_MIN_ROW_SHARE = 0.25  # of the width; if no row has that share of ink, nothing is removed
_MIN_LENGTH_SHARE = 0.4  # of the longer side; shorter lines are strokes and kept
_MAX_THICKNESS_SHARE = 0.02  # of the longer side; if the lines are thicker, nothing is removed
# Times the lines' thickness. A vertical run of ink that is longer belongs to a stroke that crosses
# the line, and is kept.
_MAX_RUN_FACTOR = 1.5

# Squared paper, see `remove_squares`.
_MIN_SQUARE_SHARE = 0.9  # of the picture's height; shorter lines are kept
_MIN_SQUARE_GAP_PX = 8  # gap in a vertical line; smaller ones are where horizontal lines crossed it
_MIN_SQUARE_LINES = 4  # fewer lines are kept
_MAX_UNEVEN_SHARE = 0.15  # of the median space between two lines; difference from it
_MIN_EVEN_SHARE = 0.7  # of the spaces; if fewer are even, the lines are kept

# Lines that span a mask, see `remove_spanning_lines`.
_MAX_SPANNING_GAP_SHARE = 0.05  # of the width; a longer gap ends the line
_MIN_SPANNING_INK_SHARE = 0.8  # of a line with its gaps; a line with less ink is kept


def remove_ruled_lines(mask: Mask, max_gap_share: float = 0.1, min_ink_share: float = 0.0) -> Mask:
    """Remove thin horizontal lines that reach an edge of the picture, but keep crossing strokes.

    The mask is thickened vertically by two pixels on each side, so that slanting or broken lines
    connect. A line is a long run of ink in a row of the thickened mask. A pixel of a line is
    removed unless its vertical run in the original mask is longer than 1.5 times the thickness of
    the lines.

    Args:
        mask: (height, width) bool, True for ink.
        max_gap_share: longest gap in a line, as a share of the picture's width, 0 to 1; a longer
            gap ends the line.
        min_ink_share: smallest share of ink, 0 to 1, in a line with its gaps; a line with less ink
            is kept.

    Returns:
        (height, width) bool, without ruled lines; `mask` itself if there are none.
    """
    height, width = mask.shape
    left = int(_MAX_EDGE_GAP_SHARE * width)
    right = math.ceil((1 - _MAX_EDGE_GAP_SHARE) * (width - 1))
    if min(height, width) < _MIN_SIDE_PX or not (
        mask[:, : left + 1].any() or mask[:, right:].any()
    ):
        return mask
    thick = _thicken(mask)
    if np.count_nonzero(thick, axis=1).max() < _MIN_ROW_SHARE * width:
        return mask
    longer = max(height, width)
    line = _find_lines(thick, _MIN_LENGTH_SHARE * longer, max_gap_share * width, min_ink_share)
    line_columns = np.flatnonzero(line.any(axis=0))
    if not line_columns.size or (line_columns[0] > left and line_columns[-1] < right):
        return mask
    return _erase(mask, line, _MAX_THICKNESS_SHARE * longer)


def remove_spanning_lines(
    mask: Mask, min_share: float, max_thickness_px: float, reach_px: int
) -> Mask:
    """Remove thin horizontal lines that span most of a mask, as in a table.

    Crossing strokes are kept, see `remove_ruled_lines`.

    Args:
        mask: (height, width) bool, True for ink.
        min_share: of the width, 0 to 1; shorter lines are kept.
        max_thickness_px: if the lines are thicker, nothing is removed.
        reach_px: by how many pixels the mask is thickened above and below, to find lines that are
            not straight.

    Returns:
        (height, width) bool; `mask` itself if it has none.
    """
    width = mask.shape[1]
    max_gap_px = _MAX_SPANNING_GAP_SHARE * width
    lines = _find_lines(
        _thicken(mask, reach_px), min_share * width, max_gap_px, _MIN_SPANNING_INK_SHARE
    )
    return _erase(mask, lines, max_thickness_px)


def remove_squares(mask: Mask) -> Mask:
    """Remove the vertical lines of squared paper from a wide mask, see `remove_ruled_lines`.

    They are shorter than the strokes of a tight crop may be, which `remove_ruled_lines` keeps. So
    there must be several, evenly spaced, each from the top to the bottom of the picture.

    Args:
        mask: (height, width) bool, without horizontal ruled lines.

    Returns:
        (height, width) bool; `mask` itself if it has none.
    """
    height, width = mask.shape
    upright = np.ascontiguousarray(mask.T)
    max_gap_px = max(_MAX_SPANNING_GAP_SHARE * height, _MIN_SQUARE_GAP_PX)
    lines = _find_lines(
        _thicken(upright), _MIN_SQUARE_SHARE * height, max_gap_px, _MIN_SPANNING_INK_SHARE
    )
    has_line: Mask = np.asarray(lines.any(axis=1))
    starts, ends = find_runs(has_line[None])
    if len(starts) < _MIN_SQUARE_LINES:
        return mask
    spaces = np.diff((starts + ends) / 2)
    even = np.abs(spaces - np.median(spaces)) <= _MAX_UNEVEN_SHARE * np.median(spaces)
    if even.mean() < _MIN_EVEN_SHARE:
        return mask
    cleared = _erase(upright, lines, _MAX_THICKNESS_SHARE * max(height, width))
    return mask if cleared is upright else cleared.T


def _thicken(mask: Mask, reach_px: int = 2) -> Mask:
    """Thicken a mask vertically by some pixels on each side."""
    thick: Mask = mask.copy()
    for shift in range(1, reach_px + 1):
        thick[shift:] |= mask[:-shift]
        thick[:-shift] |= mask[shift:]
    return thick


def _find_lines(thick: Mask, min_length_px: float, max_gap_px: float, min_ink_share: float) -> Mask:
    """Return the mask of the lines in a thickened mask, with their gaps."""
    height, width = thick.shape
    stride = width + 1
    starts, ends = find_runs(thick)
    if not starts.size:
        return thick
    is_break = starts[1:] - ends[:-1] > max_gap_px
    is_break |= starts[1:] // stride != starts[:-1] // stride
    first = np.flatnonzero(np.append(True, is_break))
    ink = np.add.reduceat(ends - starts, first)
    starts, ends = starts[first], ends[np.append(is_break, True)]
    is_line = (ends - starts > min_length_px) & (ink >= min_ink_share * (ends - starts))
    return paint_runs(starts[is_line], ends[is_line], (height, width))


def _erase(mask: Mask, line: Mask, max_thickness_px: float) -> Mask:
    """Remove lines from a mask, but not the strokes that cross them, nor thicker lines."""
    height, width = mask.shape
    starts, ends = find_runs(mask.T)
    stride = height + 1
    middle = (starts + ends) // 2
    on_line = line[middle % stride, middle // stride]
    if not on_line.any():
        return mask
    length = ends - starts
    thickness = float(np.median(length[on_line]))
    if thickness > max_thickness_px:
        return mask
    removed = on_line & (length <= _MAX_RUN_FACTOR * thickness + 1)
    cleared: Mask = mask & ~paint_runs(starts[removed], ends[removed], (width, height)).T
    return cleared
