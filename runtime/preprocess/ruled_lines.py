"""Remove the ruled lines of writing paper from a mask of ink.

A ruled line is a thin, nearly horizontal line of ink that starts or ends near an edge of the
picture. Strokes of digits that cross the line are kept. `runtime.preprocess.segment` and
`runtime.multi_digit.layout` call `remove_ruled_lines` twice, the second time with the transposed
mask for vertical lines.
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
    thick = mask.copy()
    for shift in (1, 2):
        thick[shift:] |= mask[:-shift]
        thick[:-shift] |= mask[shift:]
    if np.count_nonzero(thick, axis=1).max() < _MIN_ROW_SHARE * width:
        return mask
    starts, ends = find_runs(thick)
    is_break = starts[1:] - ends[:-1] > max_gap_share * width
    is_break |= starts[1:] // (width + 1) != starts[:-1] // (width + 1)
    first = np.flatnonzero(np.append(True, is_break))
    ink = np.add.reduceat(ends - starts, first)
    starts, ends = starts[first], ends[np.append(is_break, True)]
    min_length = _MIN_LENGTH_SHARE * max(height, width)
    is_line = (ends - starts > min_length) & (ink >= min_ink_share * (ends - starts))
    line = paint_runs(starts[is_line], ends[is_line], mask.shape)
    line_columns = np.flatnonzero(line.any(axis=0))
    if not line_columns.size or (line_columns[0] > left and line_columns[-1] < right):
        return mask
    starts, ends = find_runs(mask.T)
    stride = height + 1
    middle = (starts + ends) // 2
    on_line = line[middle % stride, middle // stride]
    if not on_line.any():
        return mask
    length = ends - starts
    thickness = float(np.median(length[on_line]))
    if thickness > _MAX_THICKNESS_SHARE * max(height, width):
        return mask
    removed = on_line & (length <= _MAX_RUN_FACTOR * thickness + 1)
    cleared: Mask = mask & ~paint_runs(starts[removed], ends[removed], (width, height)).T
    return cleared
