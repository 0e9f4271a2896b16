"""Finds a sheet of paper on a desk, or a board on a wall, and replaces its surroundings by paper.

`runtime.multi_digit.recognize.decode_page` calls `isolate_sheet`. If a desk is darker than the
paper, most of the picture's "ink" is the desk; its edge hides the writing.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

from runtime.preprocess.background import otsu
from runtime.preprocess.connected_components import Mask, find_components
from runtime.preprocess.grayscale import Gray
from runtime.preprocess.region import convex_hull, fill_polygon

_COARSE_SIDE_PX = 160  # longer side of the copy on which a sheet is sought
_MIN_SIDE_PX = 128  # of the picture; a smaller one is a crop of digits
_MIN_AREA_SHARE = 0.12  # of the picture; a smaller sheet is not sought
_MIN_BOARD_SHARE = 0.4  # the same of a dark board; a smaller one may be a bold digit
_MIN_AROUND_SHARE = 0.04  # of the picture; with less around it, the sheet fills the picture
_MIN_STEP_LEVELS = 30.0  # of 255 gray levels, between sheet and desk
_MIN_SOLIDITY = 0.75  # of the filled sheet; the share that is paper, not ink
# Shares of the sheet's rim, inside of the picture, where …
_MIN_SHARP_SHARE = 0.6  # … the level falls by half a step; along a shadow it falls slowly
_MIN_STRAIGHT_SHARE = 0.75  # of the sheet's hull; letters and drawings are not convex
_RIM_PX = 2  # of the copy, beside the edge of the sheet, which are removed, too

Floats = npt.NDArray[np.float32]


def isolate_sheet(gray: Gray) -> tuple[Gray, bool] | None:
    """Replace everything around a sheet by paper.

    Args:
        gray: uint8 (height, width).

    Returns:
        The picture, of the same shape, and whether the sheet is lighter than its surroundings, so
        that its ink is dark; None if no sheet is found.
    """
    if min(gray.shape) < _MIN_SIDE_PX:
        return None
    coarse = _coarse(gray)
    for light in (True, False):
        plane = coarse if light else np.float32(255) - coarse
        sheet = _find(plane, _MIN_AREA_SHARE if light else _MIN_BOARD_SHARE)
        if sheet is not None:
            return _replace_surroundings(gray, coarse, sheet), light
    return None


def _coarse(gray: Gray) -> Floats:
    height, width = gray.shape
    scale = min(_COARSE_SIDE_PX / max(height, width), 1.0)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    reduced = Image.fromarray(gray).resize(size, Image.Resampling.BOX)
    coarse: Floats = np.asarray(reduced).astype(np.float32)
    return coarse


def _find(plane: Floats, min_area_share: float) -> Mask | None:
    """Return the mask of a sheet that is lighter than its surroundings, or None."""
    threshold, _ = otsu(plane.ravel())
    bright = plane > threshold
    found = find_components(bright, plane)
    if found is None:
        return None
    largest = int(found.area.argmax())
    if found.area[largest] < min_area_share * plane.size:
        return None
    whole = (0, 0, plane.shape[1], plane.shape[0])
    paper = found.paint(np.arange(len(found.area)) == largest, whole)
    sheet = _filled(paper)
    around = ~sheet
    hull = fill_polygon(convex_hull(sheet), *sheet.shape)
    if (
        around.mean() < _MIN_AROUND_SHARE
        or paper.sum() < _MIN_SOLIDITY * sheet.sum()
        or sheet.sum() < _MIN_STRAIGHT_SHARE * hull.sum()
    ):
        return None
    step = float(np.median(plane[paper])) - float(np.median(plane[around]))
    if step < _MIN_STEP_LEVELS or _sharp_share(plane, sheet, step) < _MIN_SHARP_SHARE:
        return None
    inside = _eroded(sheet, _RIM_PX)
    return inside if inside.any() else None


def _filled(paper: Mask) -> Mask:
    """Add the pixels that have paper on all four sides: ink on the sheet."""
    filled = np.ones_like(paper)
    for axis in (0, 1):
        after = np.logical_or.accumulate(paper, axis=axis)
        before = np.flip(np.logical_or.accumulate(np.flip(paper, axis), axis=axis), axis)
        filled &= after & before
    return filled


def _sharp_share(plane: Floats, sheet: Mask, step: float) -> float:
    """Return the share of the sheet's edge along which the level falls within few pixels."""
    falls = total = 0
    for turned, inside in ((plane, sheet), (plane.T, sheet.T)):
        ends = np.argwhere(inside[:, 1:] != inside[:, :-1])
        if not len(ends):
            continue
        row, column = ends.T
        last = turned.shape[1] - 1
        before = turned[row, np.maximum(column - 1, 0)]
        after = turned[row, np.minimum(column + 2, last)]
        falls += int((np.abs(before - after) > step / 2).sum())
        total += len(ends)
    return falls / max(total, 1)


def _eroded(mask: Mask, reach: int) -> Mask:
    """Return a mask without the pixels near its edge. The picture's rim does not count as one."""
    outside = np.pad(~mask, reach)
    wide = np.zeros_like(outside)
    for shift in range(-reach, reach + 1):
        wide |= np.roll(outside, shift, axis=0)
    outside = wide.copy()
    for shift in range(-reach, reach + 1):
        wide |= np.roll(outside, shift, axis=1)
    inside: Mask = ~wide[reach:-reach, reach:-reach]
    return inside


def _replace_surroundings(gray: Gray, coarse: Floats, sheet: Mask) -> Gray:
    """Continue the sheet's light beyond its edge, so that no edge is left."""
    light = coarse.copy()
    rows = np.flatnonzero(sheet.any(axis=1))
    columns = np.arange(sheet.shape[1])
    for row in rows.tolist():
        own = np.flatnonzero(sheet[row])
        # The level of paper, not of ink: the median near the end.
        for near, target in ((own[:5], columns < own[0]), (own[-5:], columns > own[-1])):
            light[row, target] = np.median(coarse[row, near])
    light[: rows[0]], light[rows[-1] + 1 :] = light[rows[0]], light[rows[-1]]
    size = gray.shape[1], gray.shape[0]
    around = np.asarray(Image.fromarray(sheet).resize(size, Image.Resampling.NEAREST))
    level = np.asarray(Image.fromarray(light).resize(size, Image.Resampling.BILINEAR))
    return np.where(around, gray, np.clip(level, 0, 255).astype(np.uint8))
