"""Removes ruled lines from ink."""

import math

import numpy as np

from runtime.preprocess.connected_components import Mask, find_runs, paint_runs

# A ruled line ends no further than this part of the picture's width from its edge.
_REACHES = 0.04


def remove_ruled_lines(mask: Mask, broken: float = 0.1, inked: float = 0.0) -> Mask:
    """Take out thin horizontal lines from the edge of the picture, but not the strokes across.

    A line may be broken for the part `broken` of the picture's width; the part `inked` of its own
    length, at least, is ink.

    A line is where the mask, thickened a little so that slanting or broken lines hold together,
    runs on for long; of it go the pixels whose vertical run is no thicker than the line.
    """
    height, width = mask.shape
    left, right = int(_REACHES * width), math.ceil((1 - _REACHES) * (width - 1))
    if min(height, width) < 32 or not (mask[:, : left + 1].any() or mask[:, right:].any()):
        return mask
    thick = mask.copy()
    for shift in (1, 2):
        thick[shift:] |= mask[:-shift]
        thick[:-shift] |= mask[shift:]
    if np.count_nonzero(thick, axis=1).max() < 0.25 * width:
        return mask
    starts, ends = find_runs(thick)
    apart = starts[1:] - ends[:-1] > broken * width
    apart |= starts[1:] // (width + 1) != starts[:-1] // (width + 1)
    first = np.flatnonzero(np.append(True, apart))
    ink = np.add.reduceat(ends - starts, first)
    starts, ends = starts[first], ends[np.append(apart, True)]
    long = (ends - starts > 0.4 * width) & (ink >= inked * (ends - starts))
    line = paint_runs(starts[long], ends[long], mask.shape)
    reach = np.flatnonzero(line.any(axis=0))
    if not reach.size or (reach[0] > left and reach[-1] < right):
        return mask
    starts, ends = find_runs(mask.T)
    stride = height + 1
    middle = (starts + ends) // 2
    on_line = line[middle % stride, middle // stride]
    if not on_line.any():
        return mask
    length = ends - starts
    thickness = float(np.median(length[on_line]))
    if thickness > 0.02 * max(height, width):
        return mask
    gone = on_line & (length <= 1.5 * thickness + 1)
    cleared: Mask = mask & ~paint_runs(starts[gone], ends[gone], (width, height)).T
    return cleared
