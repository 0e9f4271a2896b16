"""Cuts a text line out of a page: straightened, of one height, its strokes of ink from 0 to 255."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from runtime.multi_digit.layout import MAX_GAP_SHARE, MIN_INK_SHARE, TextLine, Writing
from runtime.multi_digit.line_reader import HEIGHT_PX
from runtime.preprocess.background import subtract_background
from runtime.preprocess.connected_components import Plane
from runtime.preprocess.grayscale import Gray
from runtime.preprocess.ruled_lines import remove_ruled_lines
from runtime.preprocess.segment import Box, dilate, missing_stroke_width

CROP_HEIGHT_PX = 64  # a higher line is scaled down to this height; the line reader takes half

_MARGIN_SHARE = 0.13  # of the digits' height, above and below them
_SIDE_MARGIN_SHARE = 0.35  # of the digits' height, to the left and to the right
_MIN_TALL_HEIGHTS = 0.5  # lower components do not decide where a line begins and ends
_MAX_SLOPE = 0.4
_MAX_DIGIT_WIDTH_HEIGHTS = 1.1  # wider ink is several touching digits
_MIN_SLOPE_DIGITS = 3  # a line with fewer has the page's slope
_MIN_SLOPE_SPAN_HEIGHTS = 3.0  # a shorter line has the page's slope
# Ink beside a line that may be digits of it:
_MAX_BESIDE_HEIGHTS = 2.0  # its height, in those of the line's digits
_MAX_BESIDE_OFFSET = 0.5  # of its middle from the line's, in the same
_MAX_BESIDE_GAP_HEIGHTS = 2.0  # between it and the line, in the same
_MAX_CROP_PIXELS = 4_000_000

# A whole picture as one line.
_WHOLE_INK_LEVEL = 0.4  # of the ink's level
_WHOLE_LEVELS = (0.03, 0.5, 0.85)  # quantiles: ink or paper, the middle, paper or ink
_MIN_WHOLE_CONTRAST_LEVELS = 48  # of 255 gray levels, between them
_MIN_ALL_ROWS_SHARE = 0.5  # of the picture's height; ink that is lower is a line with much paper
_WHOLE_SHARES = (0.02, 0.985)  # of the ink, above the line's top and above its bottom

Ink = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LineCrop:
    """A line of text, cut out.

    Attributes:
        ink: uint8 (height, width) at most `CROP_HEIGHT_PX` high; everything in the crop but the
            ink of other lines.
        digits: uint8, of the same shape; only the ink that may be digits, without rules.
        digit_height: of the line's digits, in pixels of the crop.
        left: column of the page at the crop's left edge.
        top: row of the page at the crop's top edge, in its first column.
        slope: rows by which the line falls per column.
        scale: pixels of the crop per pixel of the page.
    """

    ink: Ink
    digits: Ink
    digit_height: float
    left: float
    top: float
    slope: float
    scale: float

    @property
    def columns(self) -> int:
        """Its width in pixels, if it is scaled to the line reader's height."""
        height, width = self.ink.shape
        return int(width / height * HEIGHT_PX)

    def page_box(self, box: Box) -> tuple[float, float, float, float]:
        """Convert a box in the crop to the pixels of the page."""
        left, top, right, bottom = (edge / self.scale for edge in box)
        falls = sorted((self.slope * left, self.slope * right))
        return (
            self.left + left,
            self.top + top + falls[0],
            self.left + right,
            self.top + bottom + falls[1],
        )


def crop_lines(writing: Writing, lines: list[TextLine]) -> list[LineCrop]:
    """Cut the lines of a page out of it, except those that are too large.

    Args:
        writing: of the page.
        lines: `writing.text_lines()`.
    """
    removed = writing.frames.copy()
    for line in lines:
        removed[line.members] = True
    crops = (_crop(writing, line, removed) for line in lines)
    return [crop for crop in crops if crop is not None]


def _crop(writing: Writing, line: TextLine, removed: npt.NDArray[np.bool_]) -> LineCrop | None:
    """Cut a line out of the page; return None if it is too large.

    The line is straightened by moving its digits up or down, and the columns of touching digits.

    Args:
        writing: of the page.
        line: one of its lines.
        removed: of all components those of lines and frames, whose ink is not in other lines.
    """
    boxes = line.boxes.astype(np.float64)
    heights = boxes[:, 3] - boxes[:, 1]
    tall = heights > _MIN_TALL_HEIGHTS * min(writing.height, heights.max())
    boxes = boxes[tall]
    across, down = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    slope = line.slope
    span = across.max() - across.min()
    if len(boxes) >= _MIN_SLOPE_DIGITS and span > _MIN_SLOPE_SPAN_HEIGHTS * writing.height:
        slope = float(np.polyfit(across, down, 1)[0])
    elif len(writing.groups) < _MIN_SLOPE_DIGITS:
        slope = 0.0
    slope = min(max(slope, -_MAX_SLOPE), _MAX_SLOPE)
    rows, columns = writing.contrast.shape
    tops, bottoms = boxes[:, 1] - slope * across, boxes[:, 3] - slope * across
    top, bottom = float(np.quantile(tops, 0.1)), float(np.quantile(bottoms, 0.9))
    height = max(bottom - top, 1.0)
    own = np.zeros_like(removed)
    own[line.members] = True
    others = removed & ~own
    first_column, last_column = _with_ink_beside(
        writing.all_components.boxes[~removed],
        (int(line.boxes[:, 0].min()), int(line.boxes[:, 2].max())),
        (top, slope),
        height,
    )
    left = max(int(first_column - _SIDE_MARGIN_SHARE * height), 0)
    right = min(int(last_column + _SIDE_MARGIN_SHARE * height) + 1, columns)
    first = top - _MARGIN_SHARE * height
    count = round(height * (1 + 2 * _MARGIN_SHARE))
    if count * (right - left) > _MAX_CROP_PIXELS:
        return None
    tops_of_columns = first + _falls(line.boxes, left, right, slope, height)
    window = _Window(left, right, tops_of_columns, count, (rows, columns))
    weights = writing.all_components.mass[line.members]
    level = float(np.average(writing.levels[line.members], weights=weights))
    ink = np.minimum(window.cut(writing.contrast) / np.float32(level), 1)
    own_ink = window.cut_components(writing, own)
    ink[window.cut_components(writing, others) & ~own_ink] = 0
    digits = np.where(own_ink, ink, np.float32(0))
    return _finish(ink, digits, height, (left, first + slope * left), slope)


def _with_ink_beside(
    boxes: npt.NDArray[np.intp],
    span: tuple[int, int],
    top: tuple[float, float],
    height: float,
) -> tuple[int, int]:
    """Return the first and last column of a line and of ink beside it that may be digits.

    Digits that touch a rule, the picture's edge or a shadow are not found as writing.

    Args:
        boxes: (N, 4) of ink that is in no line.
        span: first and last column of the line's digits.
        top: row of the line's top edge in column 0, and by how many rows it falls per column.
        height: of the line's digits.
    """
    heights = boxes[:, 3] - boxes[:, 1]
    middles = (boxes[:, 1] + boxes[:, 3]) / 2 - top[0] - top[1] * (boxes[:, 0] + boxes[:, 2]) / 2
    like_digits = (
        (heights > _MIN_TALL_HEIGHTS * height)
        & (heights < _MAX_BESIDE_HEIGHTS * height)
        & (np.abs(middles - height / 2) < _MAX_BESIDE_OFFSET * height)
    )
    left, right = span
    near = _MAX_BESIDE_GAP_HEIGHTS * height
    for first, _, last, _ in sorted(boxes[like_digits].tolist(), reverse=True):
        if first < left <= last + near:
            left = first
    for first, _, last, _ in sorted(boxes[like_digits].tolist()):
        if first - near <= right < last:
            right = last
    return left, right


def _falls(
    boxes: npt.NDArray[np.intp], left: int, right: int, slope: float, height: float
) -> Floats:
    """Return by how many rows the line falls in columns `left` to `right`, of a slope.

    It is the same in all columns of a digit, so that straightening does not distort it.
    """
    falls = slope * np.arange(left, right, dtype=np.float64)
    if slope:
        for first, _, last, _ in boxes.tolist():
            if last - first < _MAX_DIGIT_WIDTH_HEIGHTS * height:
                falls[first - left : last - left] = slope * (first + last) / 2
    return falls


def crop_whole(gray: Gray, all_rows: bool = False) -> LineCrop | None:
    """Take a whole picture for one line, as a tight crop of a number may be.

    Args:
        gray: uint8 (height, width).
        all_rows: whether the line has the picture's height; otherwise it begins and ends with the
            ink.

    Returns:
        The line; None if the picture is blank, or its ink is too low for a line of its height; or
        if it is too large. It is large only if its digits are low, and then it is not a crop of
        one line.
    """
    if gray.size > _MAX_CROP_PIXELS:
        return None
    foreground = subtract_background(gray)
    if foreground is not None:
        ink = np.minimum(foreground.contrast / np.float32(foreground.ink_level), 1)
    else:
        # On textured paper, or if ink covers half of the picture, noise cannot be told from ink.
        low, middle, high = np.quantile(gray, _WHOLE_LEVELS).tolist()
        if high - low < _MIN_WHOLE_CONTRAST_LEVELS:
            return None
        paper, full = (high, low) if middle > (low + high) / 2 else (low, high)
        scaled = (gray.astype(np.float32) - np.float32(paper)) / np.float32(full - paper)
        ink = np.clip(scaled, 0, 1)
    mask = ink > _WHOLE_INK_LEVEL
    digits = np.where(remove_ruled_lines(mask, MAX_GAP_SHARE, MIN_INK_SHARE), ink, np.float32(0))
    below = np.cumsum((digits > _WHOLE_INK_LEVEL).sum(axis=1))
    if not below[-1]:
        return None
    top, bottom = np.searchsorted(below, np.array(_WHOLE_SHARES) * below[-1]).tolist()
    height = max(bottom - top, 1)
    margin = round(_MARGIN_SHARE * height)
    if all_rows:
        if height < _MIN_ALL_ROWS_SHARE * len(ink):
            return None
        top, height, margin = 0, len(ink), 0
    if (height + 2 * margin) * ink.shape[1] > _MAX_CROP_PIXELS:
        return None
    first = top - margin
    width = ink.shape[1]
    window = _Window(0, width, np.full(width, float(first)), height + 2 * margin, ink.shape)
    return _finish(window.cut(ink), window.cut(digits), height, (0, first), 0.0)


def _finish(
    ink: Plane, digits: Plane, height: float, corner: tuple[float, float], slope: float
) -> LineCrop:
    """Widen thin strokes, and scale the line down to `CROP_HEIGHT_PX`."""
    extra = missing_stroke_width(digits, round(height))
    if extra > 0:
        ink, digits = (dilate(_pad(plane, extra), extra + 1) for plane in (ink, digits))
    scale = min(CROP_HEIGHT_PX / len(ink), 1.0)
    return LineCrop(
        _shrink(ink, scale), _shrink(digits, scale), height * scale, *corner, slope, scale
    )


@dataclass(frozen=True)
class _Window:
    """A straightened window of a page.

    Attributes:
        left: its first column.
        right: its last column, exclusive.
        tops: (right - left,), the first row of each column.
        count: rows of each column.
        page: (height, width) of the page.
    """

    left: int
    right: int
    tops: Floats
    count: int
    page: tuple[int, ...]

    def cut(self, plane: npt.NDArray[np.generic]) -> Plane:
        """Return the plane in the window; 0 outside of the page."""
        columns = np.arange(self.left, self.right)
        starts = np.rint(self.tops).astype(np.intp)
        if (starts == starts[0]).all():
            top, bottom = int(starts[0]), int(starts[0]) + self.count
            inside = plane[max(top, 0) : max(bottom, 0), self.left : self.right]
            missing = max(-top, 0), max(self.count - len(inside) - max(-top, 0), 0)
            padded: Plane = np.pad(inside, (missing, (0, 0)))
            return padded
        rows = np.arange(self.count)[:, None] + starts
        outside = (rows < 0) | (rows >= self.page[0])
        part: Plane = plane[np.clip(rows, 0, self.page[0] - 1), columns]
        part[outside] = 0
        return part

    def cut_components(
        self, writing: Writing, chosen: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.bool_]:
        """Return the mask of some components in the window."""
        boxes = writing.all_components.boxes
        near = (
            chosen
            & (boxes[:, 0] < self.right)
            & (boxes[:, 2] > self.left)
            & (boxes[:, 1] < self.tops.max() + self.count)
            & (boxes[:, 3] > self.tops.min())
        )
        mask = np.zeros((self.count, self.right - self.left), np.bool_)
        if not near.any():
            return mask
        left, top = boxes[near, :2].min(axis=0).tolist()
        right, bottom = boxes[near, 2:].max(axis=0).tolist()
        painted = writing.all_components.paint(near, (left, top, right, bottom))
        columns = np.arange(max(self.left, left), min(self.right, right))
        starts = np.rint(self.tops[columns - self.left]).astype(np.intp)
        rows = np.arange(self.count)[:, None] + starts - top
        outside = (rows < 0) | (rows >= bottom - top)
        part = painted[np.clip(rows, 0, bottom - top - 1), columns - left]
        part[outside] = False
        mask[:, columns[0] - self.left : columns[-1] + 1 - self.left] = part
        return mask


def _pad(plane: Plane, extra: int) -> Plane:
    """Pad by what a dilation with a window of `extra` + 1 pixels takes away."""
    before = extra // 2
    return np.pad(plane, (before, extra - before))


def _shrink(plane: Plane, scale: float) -> Ink:
    """Convert ink from 0 to 1 to uint8, and scale it down."""
    ink: Ink = (plane * np.float32(255) + np.float32(0.5)).astype(np.uint8)
    if scale == 1:
        return ink
    size = max(round(ink.shape[1] * scale), 1), max(round(ink.shape[0] * scale), 1)
    small: Ink = np.asarray(Image.fromarray(ink).resize(size, Image.Resampling.BILINEAR))
    return small
