"""Finds a sheet of paper on a desk, or a board on a wall, and replaces its surroundings by paper.

If a desk is darker than the paper, most of the image's "ink" is the desk; its edge hides the
writing. `runtime.multi_digit.recognize` calls `isolate_sheet`.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

from runtime.preprocess.background import otsu
from runtime.preprocess.connected_components import Mask, find_components
from runtime.preprocess.grayscale import Gray, reduced
from runtime.preprocess.region import convex_hull, fill_polygon

_REDUCED_SIDE_PX = 160  # longer side of the reduced copy on which a sheet is sought
_MIN_SIDE_PX = 128  # shorter side of the image; a smaller one is a crop of digits
_MIN_AREA_SHARE = 0.12  # of the image; a smaller sheet is not sought
_MIN_BOARD_SHARE = 0.4  # of the image; a smaller dark board may be a bold digit
_MIN_AROUND_SHARE = 0.04  # of the image; with less around it, the sheet fills the image
_MIN_STEP_LEVELS = 30.0  # of 255 gray levels, between sheet and desk
_MIN_FILL = 0.75  # paper / sheet with its holes, which are ink, filled
_MIN_SOLIDITY = 0.75  # area of the sheet / of its convex hull; letters and drawings have less
_MIN_SHARP_SHARE = 0.6  # of the sheet's boundary inside the image; a shadow has less that is sharp
_EROSION_PX = 2  # pixels of the copy; the sheet is eroded by these, to drop its boundary
_PAPER_SAMPLE_PX = 5  # pixels of the copy at the end of a row; their median is the paper's level

Floats = npt.NDArray[np.float32]


def isolate_sheet(gray: Gray) -> tuple[Gray, bool] | None:
    """Replace everything around a sheet by paper.

    Args:
        gray: uint8 (height, width).

    Returns:
        The image, of the same shape, and whether the sheet is lighter than its surroundings, so
        that its ink is dark; None if no sheet is found.
    """
    if min(gray.shape) < _MIN_SIDE_PX:
        return None
    copy = reduced(gray, _REDUCED_SIDE_PX).astype(np.float32)
    for is_light in (True, False):
        plane = copy if is_light else np.float32(255) - copy
        sheet = _find(plane, _MIN_AREA_SHARE if is_light else _MIN_BOARD_SHARE)
        if sheet is not None:
            return _replace_surroundings(gray, copy, sheet), is_light
    return None


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
        or paper.sum() < _MIN_FILL * sheet.sum()
        or sheet.sum() < _MIN_SOLIDITY * hull.sum()
    ):
        return None
    step = float(np.median(plane[paper])) - float(np.median(plane[around]))
    if step < _MIN_STEP_LEVELS or _sharp_share(plane, sheet, step) < _MIN_SHARP_SHARE:
        return None
    inside = _eroded(sheet, _EROSION_PX)
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
    """Return the share of the sheet's boundary that is sharp.

    It is sharp at a pixel if the gray level changes by half a step within 3 pixels. Along a shadow,
    it changes slowly. The sheet's boundary along the image border does not count.
    """
    sharp = total = 0
    for levels, inside in ((plane, sheet), (plane.T, sheet.T)):
        ends = np.argwhere(inside[:, 1:] != inside[:, :-1])
        if not len(ends):
            continue
        row, column = ends.T
        last = levels.shape[1] - 1
        before = levels[row, np.maximum(column - 1, 0)]
        after = levels[row, np.minimum(column + 2, last)]
        sharp += int((np.abs(before - after) > step / 2).sum())
        total += len(ends)
    return sharp / max(total, 1)


def _eroded(mask: Mask, reach: int) -> Mask:
    """Return a mask without the pixels near its boundary. The image border does not count."""
    outside = np.pad(~mask, reach)
    wide = np.zeros_like(outside)
    for shift in range(-reach, reach + 1):
        wide |= np.roll(outside, shift, axis=0)
    outside = wide.copy()
    for shift in range(-reach, reach + 1):
        wide |= np.roll(outside, shift, axis=1)
    inside: Mask = ~wide[reach:-reach, reach:-reach]
    return inside


def _replace_surroundings(gray: Gray, copy: Floats, sheet: Mask) -> Gray:
    """Continue the sheet's illumination beyond its boundary, so that no edge is left.

    Args:
        gray: the image.
        copy: the reduced copy of it.
        sheet: in the copy.
    """
    illumination = copy.copy()
    rows = np.flatnonzero(sheet.any(axis=1))
    width = sheet.shape[1]
    columns = np.arange(width)
    first = sheet[rows].argmax(axis=1)
    last = width - 1 - sheet[rows, ::-1].argmax(axis=1)
    sample = np.arange(_PAPER_SAMPLE_PX)
    for near, beyond in (
        (np.minimum(first[:, None] + sample, last[:, None]), columns < first[:, None]),
        (np.maximum(last[:, None] - sample, first[:, None]), columns > last[:, None]),
    ):
        paper = np.median(copy[rows[:, None], near], axis=1)  # rarely of ink
        illumination[rows] = np.where(beyond, paper[:, None], illumination[rows])
    illumination[: rows[0]] = illumination[rows[0]]
    illumination[rows[-1] + 1 :] = illumination[rows[-1]]
    size = gray.shape[1], gray.shape[0]
    is_sheet = np.asarray(Image.fromarray(sheet).resize(size, Image.Resampling.NEAREST))
    enlarged = np.asarray(Image.fromarray(illumination).resize(size, Image.Resampling.BILINEAR))
    return np.where(is_sheet, gray, np.clip(enlarged, 0, 255).astype(np.uint8))
