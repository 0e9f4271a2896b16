"""Cuts text lines out of a page: each line horizontal, of one height, its ink from 0 to 255."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from runtime.multi_digit.layout import (
    MAX_GAP_SHARE,
    MIN_INK_SHARE,
    TextLine,
    Writing,
    bounding_box,
)
from runtime.multi_digit.line_reader import HEIGHT_PX
from runtime.preprocess.background import subtract_background
from runtime.preprocess.connected_components import IndexArray, Mask, Plane, find_components
from runtime.preprocess.grayscale import Gray
from runtime.preprocess.ruled_lines import remove_ruled_lines
from runtime.preprocess.segment import Box, dilate, missing_stroke_width

CROP_HEIGHT_PX = 64  # a taller line is scaled down to this height; the line reader takes half of it
_MAX_CROP_PIXELS = 4_000_000  # of the page; a larger line is not cropped

# The line in the page.
MARGIN_SHARE = 0.13  # of the digits' height; margin above and below them
SIDE_MARGIN_SHARE = 0.35  # of the digits' height; margin to the left and to the right
_MIN_TALL_HEIGHTS = 0.5  # digit heights; shorter components do not decide where a line is
_TOP_QUANTILE = 0.1  # of the tops of the tall digits; the top of a line
_BOTTOM_QUANTILE = 0.9  # of the bottoms of the tall digits; the bottom of a line
_MIN_SLOPE_DIGITS = 3  # a line with fewer tall digits does not have a slope of its own
_MIN_SLOPE_SPAN_HEIGHTS = 3.0  # digit heights; neither does a line with a shorter span
_MAX_SLOPE = 0.4  # rows per column, 22°; the slope of a line is limited to it
_MAX_DIGIT_WIDTH_HEIGHTS = 1.1  # digit heights; wider ink is several touching digits

# Ink beside a line that may be digits of the line.
_MAX_BESIDE_HEIGHTS = 2.0  # digit heights of the line; taller ink is not a digit
_MAX_BESIDE_OFFSET_HEIGHTS = 0.5  # digit heights; vertical distance of its center from the line's
_MAX_BESIDE_GAP_HEIGHTS = 2.0  # digit heights; horizontal gap between it and the line

# Strokes beside a line that are a part of a dark area.
_MIN_STROKE_INK = 0.55  # of the contrast of the line's strokes; fainter ink is not a stroke
_MIN_STROKES_WIDTH_HEIGHTS = 0.35  # digit heights; narrower ink is the edge of the area
_MAX_STROKES_FILL = 0.75  # ink of strokes / area of their box, which is at most one digit wide

# Ink beside a line that the left or right image border cuts off.
_MIN_CUT_OFF_HEIGHTS = 0.2  # digit heights; ink of a smaller width and height is a speck
_MIN_CUT_OFF_ASPECT = 0.15  # width / height; narrower ink is the edge of a page
_MAX_CUT_OFF_BEYOND_HEIGHTS = 0.25  # digit heights; how far a digit may be above or below the line
_MAX_CUT_OFF_GAP_HEIGHTS = 0.8  # digit heights; horizontal gap between it and the line

# A whole image as one line.
_MIN_INK = 0.4  # of full ink; fainter pixels are not ink
_PAPER_QUANTILES = (
    0.03,
    0.5,
    0.85,
)  # of gray: the darker of ink and paper, the middle, the lighter
_MIN_RANGE_LEVELS = 48  # of 255 gray levels; range between the first and the last of them
_MIN_ALL_ROWS_SHARE = 0.5  # of the image's height; shorter ink is a line with much paper
_WHOLE_TOP_SHARE = 0.02  # of the ink; this much is above the top of the line
_WHOLE_BOTTOM_SHARE = 0.985  # of the ink; this much is above the bottom of the line

Ink = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LineCrop:
    """A line of text, cut out.

    Attributes:
        ink: uint8 (height, width), at most `CROP_HEIGHT_PX` tall; everything in the crop but the
            ink of other lines.
        digits: uint8, of the same shape; only the ink that may be digits, without ruled lines.
        digit_height: of the line's digits, in pixels of the crop.
        left: column of the page at the crop's left edge.
        top: row of the page at the crop's top edge, in its first column.
        slope: rows by which the line falls per column.
        scale: pixels of the crop per pixel of the page.
        cut_off: boxes, in pixels of the crop, of ink beside the line that the image border cuts
            off. They may be partly outside of the crop.
    """

    ink: Ink
    digits: Ink
    digit_height: float
    left: float
    top: float
    slope: float
    scale: float
    cut_off: tuple[Box, ...] = ()

    @property
    def reader_width_px(self) -> int:
        """Its width in pixels after scaling to the line reader's height."""
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
    claimed = writing.preprinted.copy()
    for line in lines:
        claimed[line.members] = True
    crops = (_crop(writing, line, claimed) for line in lines)
    return [crop for crop in crops if crop is not None]


def _crop(writing: Writing, line: TextLine, claimed: npt.NDArray[np.bool_]) -> LineCrop | None:
    """Cut a line out of the page; return None if it is too large.

    The line is made horizontal by moving its digits, and the columns of touching digits, up or
    down.

    Args:
        writing: of the page.
        line: one of its lines.
        claimed: bool (N,), whether a component belongs to a line, or is printed around digits. Such
            ink is blanked in the crops of all other lines.
    """
    heights = line.boxes[:, 3] - line.boxes[:, 1]
    tall = line.boxes[heights > _MIN_TALL_HEIGHTS * min(writing.height, heights.max())]
    across, down = _centers(tall)
    slope = _line_slope(writing, line, across, down)
    tops, bottoms = tall[:, 1] - slope * across, tall[:, 3] - slope * across
    top = float(np.quantile(tops, _TOP_QUANTILE))
    height = max(float(np.quantile(bottoms, _BOTTOM_QUANTILE)) - top, 1.0)
    span = int(line.boxes[:, 0].min()), int(line.boxes[:, 2].max())
    weights = writing.all_components.mass[line.members]
    full_ink = np.float32(np.average(writing.stroke_contrasts[line.members], weights=weights))
    strokes = _strokes_of_areas(writing, claimed, span, (top, slope), height, full_ink)
    first_column, last_column = _with_ink_beside(
        np.concatenate([writing.all_components.boxes[~claimed], strokes]),
        span,
        (top, slope),
        height,
    )
    page_rows, page_columns = writing.contrast.shape
    left = max(int(first_column - SIDE_MARGIN_SHARE * height), 0)
    right = min(int(last_column + SIDE_MARGIN_SHARE * height) + 1, page_columns)
    crop_top = top - MARGIN_SHARE * height
    crop_height = round(height * (1 + 2 * MARGIN_SHARE))
    if crop_height * (right - left) > _MAX_CROP_PIXELS:
        return None
    column_tops = crop_top + _falls(line.boxes, left, right, slope, height)
    window = _Window(left, right, column_tops, crop_height, (page_rows, page_columns))
    ink = np.minimum(window.cut(writing.contrast) / full_ink, 1)
    is_own = np.zeros_like(claimed)
    is_own[line.members] = True
    own_mask = window.cut_components(writing, is_own)
    ink[window.cut_components(writing, claimed & ~is_own) & ~own_mask] = 0
    digits = np.where(own_mask, ink, np.float32(0))
    crop = _finish(ink, digits, height, (left, crop_top + slope * left), slope)
    is_strong = writing.stroke_contrasts > _MIN_STROKE_INK * full_ink
    others = writing.all_components.boxes[~claimed & is_strong]
    return _with_cut_off(crop, others, span, (top, slope), height, (page_rows, page_columns))


def _with_cut_off(
    crop: LineCrop,
    boxes: IndexArray,
    span: tuple[int, int],
    top: tuple[float, float],
    height: float,
    page: tuple[int, int],
) -> LineCrop:
    """Add to a crop the ink that the left or right image border cuts off.

    Less is left of such a digit than of one that is writing, see `_MIN_BORDER_HEIGHTS` of
    `runtime.multi_digit.layout`.

    Args:
        crop: of the line.
        boxes: (N, 4) of ink that is in no line, in pixels of the page.
        span: see `_with_ink_beside`.
        top: see `_with_ink_beside`.
        height: of the line's digits.
        page: (height, width) of the page.
    """
    left, upper, right, lower = boxes.T
    first_row = top[0] + top[1] * (left + right) / 2
    is_part = right - left >= _MIN_CUT_OFF_ASPECT * (lower - upper)
    is_part &= right - left <= _MAX_DIGIT_WIDTH_HEIGHTS * height
    is_part &= (upper > 0) | (lower < page[0])
    is_part &= upper >= first_row - _MAX_CUT_OFF_BEYOND_HEIGHTS * height
    is_part &= lower <= first_row + (1 + _MAX_CUT_OFF_BEYOND_HEIGHTS) * height
    max_gap = _MAX_CUT_OFF_GAP_HEIGHTS * height
    at_left = is_part & (left == 0) & (right <= span[0]) & (right >= span[0] - max_gap)
    at_right = is_part & (right == page[1]) & (left >= span[1]) & (left <= span[1] + max_gap)
    cut_off: list[Box] = []
    for chosen in (at_left, at_right):
        if not chosen.any():
            continue
        start, above, end, below = bounding_box(boxes[chosen])
        if max(end - start, below - above) >= _MIN_CUT_OFF_HEIGHTS * height:
            x, y = start - crop.left, above - crop.top - top[1] * ((start + end) / 2 - crop.left)
            edges = (x, y, x + end - start, y + below - above)
            first, upper_edge, last, lower_edge = (round(edge * crop.scale) for edge in edges)
            cut_off.append((first, upper_edge, last, lower_edge))
    return replace(crop, cut_off=tuple(cut_off)) if cut_off else crop


def _centers(boxes: IndexArray) -> tuple[Floats, Floats]:
    """Return the columns and the rows of the centers of boxes (N, 4)."""
    return (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2


def _line_slope(writing: Writing, line: TextLine, across: Floats, down: Floats) -> float:
    """Return by how many rows a line falls per column.

    It is fitted by least squares to a line of enough tall digits. A shorter line has the slope of
    all lines of the page; 0 if the page has too few digits for this slope.

    Args:
        writing: of the page.
        line: one of its lines.
        across: columns of the centers of the line's tall digits.
        down: rows of these centers.
    """
    slope = line.slope
    span = across.max() - across.min()
    if len(across) >= _MIN_SLOPE_DIGITS and span > _MIN_SLOPE_SPAN_HEIGHTS * writing.height:
        # np.polyfit of NumPy 1.24 would warn if an engine has switched off subnormal numbers, as
        # tflite-runtime does on Arm.
        from_mean = across - across.mean()
        slope = float((from_mean * down).sum() / (from_mean**2).sum())
    elif len(writing.groups) < _MIN_SLOPE_DIGITS:
        slope = 0.0
    return min(max(slope, -_MAX_SLOPE), _MAX_SLOPE)


def _with_ink_beside(
    boxes: IndexArray, span: tuple[int, int], top: tuple[float, float], height: float
) -> tuple[int, int]:
    """Return the first and last column of a line and of ink beside it that may be digits.

    Digits that touch a ruled line, the image border or a shadow are not found as writing.

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
        & (np.abs(middles - height / 2) < _MAX_BESIDE_OFFSET_HEIGHTS * height)
    )
    first_column, last_column = span
    max_gap = _MAX_BESIDE_GAP_HEIGHTS * height
    for left, _, right, _ in sorted(boxes[like_digits].tolist(), reverse=True):
        if left < first_column <= right + max_gap:
            first_column = left
    for left, _, right, _ in sorted(boxes[like_digits].tolist()):
        if left - max_gap <= last_column < right:
            last_column = right
    return first_column, last_column


def _strokes_of_areas(
    writing: Writing,
    claimed: npt.NDArray[np.bool_],
    span: tuple[int, int],
    top: tuple[float, float],
    height: float,
    full_ink: np.float32,
) -> IndexArray:
    """Return the boxes, (N, 4), of strokes beside a line that touch a dark area.

    A digit that touches a shadow, a dark corner or the edge of a desk is a part of that component.

    Args:
        writing: of the page.
        claimed: see `_crop`.
        span: see `_with_ink_beside`.
        top: see `_with_ink_beside`.
        height: of the line's digits.
        full_ink: contrast of the line's strokes; clearly fainter pixels are the area.
    """
    boxes = writing.all_components.boxes
    areas = boxes[~claimed & (boxes[:, 3] - boxes[:, 1] >= _MAX_BESIDE_HEIGHTS * height)]
    page_rows, page_columns = writing.all_ink.shape
    reach = int((_MAX_BESIDE_GAP_HEIGHTS + _MAX_DIGIT_WIDTH_HEIGHTS) * height)
    found = [np.empty((0, 4), np.intp)]
    for on_left in (True, False):
        left, right = (span[0] - reach, span[0]) if on_left else (span[1], span[1] + reach)
        left, right = max(left, 0), min(right, page_columns)
        first_row = top[0] + top[1] * (left + right) / 2
        upper, lower = max(int(first_row), 0), min(int(first_row + height), page_rows)
        overlaps = (areas[:, :2] < (right, lower)) & (areas[:, 2:] > (left, upper))
        if not overlaps.all(axis=1).any():
            continue
        ink = writing.all_ink[upper:lower, left:right]
        contrast = writing.contrast[upper:lower, left:right]
        # A faint area hides a digit; in a dark one, the digit is cut out as part of all ink.
        for mask in (ink, ink & (contrast > _MIN_STROKE_INK * full_ink)):
            strokes = _stroke_boxes(mask, height, on_left)
            found.append(strokes + np.array([left, upper, left, upper]))
    return np.concatenate(found)


def _stroke_boxes(ink: Mask, height: float, on_left: bool) -> IndexArray:
    """Return the boxes, (N, 4), of tall strokes; of each only the part next to the line.

    That part is as wide as a digit: the area may begin behind it.

    Args:
        ink: mask of the ink beside a line.
        height: of the line's digits.
        on_left: whether the ink is to the left of the line.
    """
    pieces = find_components(ink, ink.astype(np.float32))
    if pieces is None:
        return np.empty((0, 4), np.intp)
    boxes = pieces.boxes[pieces.boxes[:, 3] - pieces.boxes[:, 1] > _MIN_TALL_HEIGHTS * height]
    digit_width = int(_MAX_DIGIT_WIDTH_HEIGHTS * height)
    if on_left:
        boxes[:, 0] = np.maximum(boxes[:, 0], boxes[:, 2] - digit_width)
    else:
        boxes[:, 2] = np.minimum(boxes[:, 2], boxes[:, 0] + digit_width)
    fills = np.array([ink[top:bottom, start:end].mean() for start, top, end, bottom in boxes])
    is_wide = boxes[:, 2] - boxes[:, 0] >= _MIN_STROKES_WIDTH_HEIGHTS * height
    return boxes[is_wide & (fills <= _MAX_STROKES_FILL)]


def _falls(boxes: IndexArray, left: int, right: int, slope: float, height: float) -> Floats:
    """Return by how many rows a line of a slope falls in the columns from `left` to `right`.

    It is the same in all columns of a digit, so that moving them does not distort it.

    Args:
        boxes: (N, 4) of the line's digits.
        left: first column.
        right: last column, exclusive.
        slope: of the line, rows per column.
        height: of the line's digits.
    """
    falls = slope * np.arange(left, right, dtype=np.float64)
    if slope:
        for box_left, _, box_right, _ in boxes.tolist():
            if box_right - box_left < _MAX_DIGIT_WIDTH_HEIGHTS * height:
                falls[box_left - left : box_right - left] = slope * (box_left + box_right) / 2
    return falls


def crop_whole(gray: Gray, all_rows: bool = False) -> LineCrop | None:
    """Crop a whole image as one line, as a tight crop of a number may be.

    Only horizontal ruled lines are removed from it, because a 1 may be as tall as the image.

    Args:
        gray: uint8 (height, width).
        all_rows: whether the line has the image's height; otherwise it begins and ends with the
            ink.

    Returns:
        The line; None if the image is blank, if its ink is too short for a line of its height, or
        if it is too large: then its digits are small, and it is not a crop of one line.
    """
    if gray.size > _MAX_CROP_PIXELS:
        return None
    ink = _whole_ink(gray)
    if ink is None:
        return None
    mask = remove_ruled_lines(ink > _MIN_INK, MAX_GAP_SHARE, MIN_INK_SHARE)
    digits = np.where(mask, ink, np.float32(0))
    ink_down_to_row = np.cumsum((digits > _MIN_INK).sum(axis=1))
    if not ink_down_to_row[-1]:
        return None
    ends = np.array((_WHOLE_TOP_SHARE, _WHOLE_BOTTOM_SHARE)) * ink_down_to_row[-1]
    top, bottom = np.searchsorted(ink_down_to_row, ends).tolist()
    height = max(bottom - top, 1)
    margin = round(MARGIN_SHARE * height)
    if all_rows:
        if height < _MIN_ALL_ROWS_SHARE * len(ink):
            return None
        top, height, margin = 0, len(ink), 0
    width = ink.shape[1]
    crop_top, crop_height = top - margin, height + 2 * margin
    if crop_height * width > _MAX_CROP_PIXELS:
        return None
    window = _Window(0, width, np.full(width, float(crop_top)), crop_height, ink.shape)
    crop = _finish(window.cut(ink), window.cut(digits), height, (0, crop_top), 0.0)
    pieces = find_components(digits > _MIN_STROKE_INK, digits)
    if pieces is None:
        return crop
    boxes = pieces.boxes
    inside = (boxes[:, 0] > 0) & (boxes[:, 2] < width)
    inside &= boxes[:, 3] - boxes[:, 1] > _MIN_TALL_HEIGHTS * height
    if not inside.any():
        return crop
    span = int(boxes[inside, 0].min()), int(boxes[inside, 2].max())
    return _with_cut_off(crop, boxes[~inside], span, (crop_top + margin, 0.0), height, ink.shape)


def _whole_ink(gray: Gray) -> Plane | None:
    """Return the ink of an image, float32 from 0 to 1; None if the image is blank."""
    foreground = subtract_background(gray)
    if foreground is not None:
        scaled: Plane = np.minimum(foreground.contrast / np.float32(foreground.ink_level), 1)
        return scaled
    # On textured paper, or if ink covers half of the image, noise cannot be told from ink.
    darkest, middle, lightest = np.quantile(gray, _PAPER_QUANTILES).tolist()
    if lightest - darkest < _MIN_RANGE_LEVELS:
        return None
    is_light = middle > (darkest + lightest) / 2
    paper, full_ink = (lightest, darkest) if is_light else (darkest, lightest)
    scaled = (gray.astype(np.float32) - np.float32(paper)) / np.float32(full_ink - paper)
    scaled = np.clip(scaled, 0, 1)
    return scaled


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
    """A window of a page that follows a line: each of its columns begins in another row.

    Attributes:
        left: its first column.
        right: its last column, exclusive.
        tops: (right - left,), the first row of each column.
        height: rows of each column.
        page: (height, width) of the page.
    """

    left: int
    right: int
    tops: Floats
    height: int
    page: tuple[int, ...]

    def cut(self, plane: npt.NDArray[np.generic]) -> Plane:
        """Return the plane in the window; 0 outside of the page."""
        columns = np.arange(self.left, self.right)
        starts = np.rint(self.tops).astype(np.intp)
        if (starts == starts[0]).all():
            top, bottom = int(starts[0]), int(starts[0]) + self.height
            inside = plane[max(top, 0) : max(bottom, 0), self.left : self.right]
            missing = max(-top, 0), max(self.height - len(inside) - max(-top, 0), 0)
            padded: Plane = np.pad(inside, (missing, (0, 0)))
            return padded
        rows = np.arange(self.height)[:, None] + starts
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
            & (boxes[:, 1] < self.tops.max() + self.height)
            & (boxes[:, 3] > self.tops.min())
        )
        mask = np.zeros((self.height, self.right - self.left), np.bool_)
        if not near.any():
            return mask
        left, top, right, bottom = bounding_box(boxes[near])
        painted = writing.all_components.paint(near, (left, top, right, bottom))
        columns = np.arange(max(self.left, left), min(self.right, right))
        starts = np.rint(self.tops[columns - self.left]).astype(np.intp)
        rows = np.arange(self.height)[:, None] + starts - top
        outside = (rows < 0) | (rows >= bottom - top)
        part = painted[np.clip(rows, 0, bottom - top - 1), columns - left]
        part[outside] = False
        mask[:, columns[0] - self.left : columns[-1] + 1 - self.left] = part
        return mask


def _pad(plane: Plane, extra: int) -> Plane:
    """Pad a plane by the `extra` pixels that a dilation with a window of `extra` + 1 removes."""
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
