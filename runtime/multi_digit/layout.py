"""Detects text lines: the connected components of ink on a page, arranged in lines.

`find_writing` thresholds the page, removes ruled lines and drops components that are too small,
too large or too faint for digits. The line reader takes the lines of `Writing.text_lines`, see
`runtime.multi_digit.read_lines`; `Writing.layout` is for `runtime.multi_digit.recognize`, which
splits and joins components to digits. Lines may slant. Lengths are compared with the height of a
typical digit on the page ("digit heights").
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from runtime.errors import ImageError
from runtime.multi_digit.frames import Flags, find_bars, find_frames, lines_of_frames
from runtime.preprocess.background import Foreground, subtract_background
from runtime.preprocess.connected_components import (
    Components,
    IndexArray,
    Mask,
    Plane,
    find_components,
    sum_runs,
)
from runtime.preprocess.grayscale import Gray, quantile, row_slices
from runtime.preprocess.ruled_lines import remove_ruled_lines, remove_squares
from runtime.preprocess.segment import MIN_WINDOW_PX, Box
from runtime.preprocess.tight_crop import is_window

# Contrasts of ink.
_PAGE_CONTRAST_SHARE = 0.1  # of the page's ink; less is paper. Pencil may be next to marker
_OWN_CONTRAST_SHARE = 0.3  # of a component's strokes; its fainter pixels are removed
_WINDOW_CONTRAST_SHARE = 0.65  # the same, of a window, so that the frame between windows is not ink
_MIN_CONTRAST_SHARE = 0.25  # of the mean of all writing; components of fainter strokes are removed

# Ruled lines, see `remove_ruled_lines`.
MAX_GAP_SHARE = 0.02  # of the image's width; the bars of neighboring digits have wider gaps
MIN_INK_SHARE = 0.7  # of a line's length; ruled lines have 0.8, the tops of printed digits 0.6

# The height of a typical digit.
_MIN_HEIGHT_PX = 5  # a page with shorter digits cannot be read
_MIN_FILLED_RUN_HEIGHTS = 0.4  # of its height; a component of longer runs, on average, is an area
_MIN_WEIGHT_SHARE = 0.05  # of the heaviest component's ink; lighter components may be specks
_CAP_RANK = 4  # the weight of the 4th heaviest component limits the weights of all
_SHORT_QUANTILE = 0.25  # of the heights of all groups; most groups are taller

# Sizes of components that are not writing.
_MAX_SPECK_HEIGHTS = 0.25  # digit heights; a component whose sides are both shorter is a speck
_MAX_TALL_HEIGHTS = 2.5  # digit heights; a taller component is not writing
_MAX_WIDE_HEIGHTS = 8.0  # digit heights; a wider component is not writing
_MIN_FRAMED_HEIGHTS = 0.4  # digit heights; a component around shorter ink is not a frame
# A component is flat, like a dash or an underline, if all three hold.
_MAX_FLAT_HEIGHTS = 0.4  # digit heights; its height
_MIN_FLAT_WIDTH_HEIGHTS = 1.2  # digit heights; its width
_MIN_FLAT_ASPECT = 3  # its width / height
# A component at the image border may be cut off. It is writing only between these limits.
_MIN_BORDER_HEIGHTS = 0.6  # digit heights; its height
_MAX_BORDER_HEIGHTS = 1.5  # digit heights; its height

# Two components belong to one digit if the first three conditions hold, and either the fourth or
# the last two.
_MAX_PIECE_HEIGHTS = 0.6  # digit heights; height of the shorter component
_MAX_PIECE_GAP_HEIGHTS = 0.25  # digit heights; vertical gap
_MAX_JOINED_HEIGHTS = 1.8  # digit heights; height of both together
_MIN_OVERLAP_SHARE = 0.5  # of the narrower one's width; horizontal overlap
_MAX_SIDE_GAP_HEIGHTS = 0.1  # digit heights; horizontal gap
_MAX_PIECE_AREA_HEIGHTS = 0.2  # squared digit heights; smaller width × smaller height
_PAIRS_PER_BATCH = 100_000  # pairs of boxes that are compared at once

# A display of seven segments.
_MAX_DISPLAY_PIECES = 64  # components taller than half a digit; a page with more is not a display
_MAX_DISPLAY_GAP = 0.15  # digit heights; between the halves of a digit
_MAX_DISPLAY_UNEVEN = 0.1  # of the median height of the digits; difference of a digit's height

# Lines.
_MIN_TALL_HEIGHTS = 0.5  # digit heights; shorter components do not decide the slope of the lines
_MIN_DIGIT_DISTANCE_HEIGHTS = 0.2  # digit heights; horizontal, of digits that decide it
_MAX_DIGIT_GAP_HEIGHTS = 6.0  # digit heights; digits with a wider gap are not linked to one line
_MAX_NEIGHBOR_SLOPE = 0.5  # rows per column; digits in a steeper direction are not neighbors
_MAX_OFFSET_HEIGHTS = 0.55  # digit heights; vertical offset of linked digits, without the slope
_MAX_LINE_OFFSET_HEIGHTS = 0.5  # digit heights; lines with a smaller vertical offset are joined

# Writing of another size than the typical digit: a title, or small numbers below one.
_MAX_SHORT_HEIGHTS = 0.4  # digit heights; a line of shorter components only is other writing
_MIN_SHORT_PX = 8  # height; shorter components are specks
_MIN_SHORT_COMPONENTS = 2  # on a page; one may be a speck
_MIN_OTHER_DISTANCE_HEIGHTS = 0.3  # heights of the smaller one; ink nearer to a line is part of it
_MIN_OTHER_CONTRAST_SHARE = 0.5  # of the contrast of the writing; fainter ink is a shadow
_MAX_OTHER_COMPONENTS = 300  # more components of another size are texture
_MAX_OTHER_AREA_PX = 4_000_000  # of their boxes; larger ones are a drawing

# A component is the edge of a dark area, not ink, if the paper around it is as dark.
_RING_HEIGHTS = 0.2  # digit heights; width of the ring around the component that is examined
_MAX_DARK_SHARE = 0.2  # of the ring's pixels; if more are dark, the component is an edge

# Light writing in dark windows, as in a meter's counter, is inverted.
_MIN_WINDOW_FILL = 0.55  # dark part of a window / area of its box
_MIN_WINDOW_ASPECT = 0.4  # width / height of a window; a bold 1 is narrower
_MIN_WINDOWS_SHARE = 0.8  # of the area of all ink; all windows together

# Limits, because reading takes too long otherwise.
_MAX_RUNS = 600_000  # of ink along rows or columns; a page with more is texture without writing
_MAX_COMPONENTS = 2_500  # of writing; each takes 0.2 to 0.5 ms; an A4 page has 2,000 digits
_MAX_COMPONENT_AREA_PX = 1_000_000  # box of one component; splitting it takes 40 bytes per pixel
_MAX_TOTAL_AREA_PX = 4096 * 3072  # boxes of all components

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class InkComponent:
    """Connected ink: a digit, several touching digits, or part of a digit.

    Attributes:
        ink: float32 (height, width) from 0 to 1, cropped to `box`.
        box: left, top, right, bottom in the image's pixels; right and bottom exclusive.
    """

    ink: Plane
    box: Box


@dataclass(frozen=True)
class PageLayout:
    """The text lines of a page, for `recognize`.

    Attributes:
        lines: from top to bottom; in each line its components from left to right.
        height: of a typical digit, in pixels.
    """

    lines: tuple[tuple[InkComponent, ...], ...]
    height: float


@dataclass(frozen=True, eq=False)
class TextLine:
    """The components of one line, for `read_lines`.

    Attributes:
        members: indices of its components in `Writing.all_components`.
        boxes: (N, 4) left, top, right, bottom of its groups, which may be digits.
        slope: of all lines of the page, rows per column.
    """

    members: IndexArray
    boxes: IndexArray
    slope: float


@dataclass(frozen=True)
class Writing:
    """The writing on a page, not yet cut out and arranged in lines.

    Attributes:
        all_components: all components of ink, N of them, also those that are not writing.
        stroke_contrasts: float32 (N,), contrast of each component's strokes.
        contrast: float32 (height, width), see `Foreground.contrast`.
        groups: for each digit, the indices of the components that belong to it.
        all_ink: (height, width), the mask of all components.
        ink_bright: uint8 (height, width), gray levels with ink bright: inverted if ink is dark.
        height: of a typical digit, in pixels.
        dark: whether ink is darker than its background.
        preprinted: bool (N,), whether a component is a frame, bar or comb printed around digits.
    """

    all_components: Components
    stroke_contrasts: npt.NDArray[np.float32]
    contrast: Plane
    groups: list[IndexArray]
    all_ink: Mask
    ink_bright: Gray
    height: float
    dark: bool
    preprinted: Flags

    @property
    def short_height(self) -> float:
        """The height that most of the groups reach, in pixels, but at most `height`."""
        boxes = [bounding_box(self.all_components.boxes[group]) for group in self.groups]
        heights = [bottom - top for _, top, _, bottom in boxes]
        return min(self.height, float(np.quantile(heights, _SHORT_QUANTILE)))

    def text_lines(self) -> list[TextLine]:
        """Arrange the writing in lines, from top to bottom; used by `read_lines`.

        Writing of another size is included, such as a title or the small numbers below it.
        """
        all_lines = self._own_lines()
        lines = [line for line in all_lines if not self._is_short(line)] or all_lines
        short = [line for line in all_lines if line not in lines]
        others = [
            line
            for writing in self._writing_of_other_sizes(lines, short)
            for line in writing._own_lines()
        ]
        return sorted((*lines, *others), key=_middle) if others else all_lines

    def _is_short(self, line: TextLine) -> bool:
        """Return whether a line has only components that are short for this writing."""
        boxes = self.all_components.boxes[line.members]
        return bool((boxes[:, 3] - boxes[:, 1]).max() < _MAX_SHORT_HEIGHTS * self.height)

    def _own_lines(self) -> list[TextLine]:
        """Arrange the groups in lines, from top to bottom."""
        groups = [group for group, _ in self._ink_groups()]
        if not groups:
            return []
        boxes = np.array(
            [bounding_box(self.all_components.boxes[group]) for group in groups], np.intp
        )
        lines, slope = _arrange(boxes, self.height)
        return [
            TextLine(np.concatenate([groups[index] for index in line]), boxes[line], slope)
            for line in lines
        ]

    def _writing_of_other_sizes(
        self, lines: list[TextLine], short: list[TextLine]
    ) -> Iterator["Writing"]:
        """Yield the writing that is too tall for this writing, and the one that is too short.

        Ink between or beside the digits of a line is not other writing. Neither are a single speck,
        and so many or so large components that they are rather texture or a drawing.

        Args:
            lines: of this writing.
            short: lines of this writing that are short.
        """
        components = self.all_components
        heights = components.boxes[:, 3] - components.boxes[:, 1]
        own = np.concatenate(self.groups)
        mean_contrast = np.average(self.stroke_contrasts[own], weights=components.mass[own])
        is_tall = heights > _MAX_TALL_HEIGHTS * self.height
        is_short = (heights < _MAX_SHORT_HEIGHTS * self.height) & (heights >= _MIN_SHORT_PX)
        free = ~self.preprinted & ~_touches_border(components) & ~_is_filled(components)
        free &= self.stroke_contrasts > _MIN_OTHER_CONTRAST_SHARE * mean_contrast
        free &= is_tall | is_short
        free[own] = False
        if np.count_nonzero(free) > _MAX_OTHER_COMPONENTS:
            return
        others = np.flatnonzero(free)
        margin = _MIN_OTHER_DISTANCE_HEIGHTS * np.minimum(heights[others], self.height)
        starts, ends = components.boxes[others, :2], components.boxes[others, 2:]
        for line in lines:
            left, top, right, bottom = bounding_box(line.boxes)
            beside = (starts[:, 0] >= right + margin) | (ends[:, 0] <= left - margin)
            above = ends[:, 1] <= top - margin
            free[others] &= beside | above | (starts[:, 1] >= bottom + margin)
        is_tall &= free
        is_short &= free
        for line in short:
            is_short[line.members] = True
        if not short and np.count_nonzero(is_short) < _MIN_SHORT_COMPONENTS:
            is_short[:] = False
        weights = components.mass * self.stroke_contrasts
        for chosen in (is_tall, is_short):
            if not chosen.any():
                continue
            height = _typical_height(components, weights, False, ~chosen)
            chosen &= _is_writing(components, height)
            sizes = components.boxes[chosen, 2:] - components.boxes[chosen, :2]
            if len(sizes) and sizes.prod(axis=1, dtype=np.int64).sum() <= _MAX_OTHER_AREA_PX:
                groups = _group(components, np.flatnonzero(chosen), height)
                yield replace(self, groups=groups, height=height)

    def layout(self) -> PageLayout | None:
        """Arrange the writing in lines; None if it is empty; used by `recognize`."""
        components = [component for _, component in self._ink_groups()]
        boxes = np.array([component.box for component in components], np.intp).reshape(-1, 4)
        lines, _ = _arrange(boxes, self.height)
        arranged = tuple(tuple(components[index] for index in line) for line in lines)
        return PageLayout(arranged, self.height) if arranged else None

    def has_ink(self) -> bool:
        """Return whether some group is ink, not the edge of a dark area."""
        return any(True for _ in self._ink_groups())

    def _ink_groups(self) -> Iterator[tuple[IndexArray, InkComponent]]:
        """Yield each group with its ink, unless it is the edge of a dark area."""
        for group in self.groups:
            component = _cut_out(self.all_components, self.stroke_contrasts, self.contrast, group)
            if not _is_edge(component, self.ink_bright, self.all_ink, self.height):
                yield group, component


def find_writing(
    gray: Gray,
    name: str,
    *,
    dark: bool | None = None,
    at_border: bool = False,
    look_into_windows: bool = True,
) -> Writing | None:
    """Find the writing on a page.

    Args:
        gray: uint8 (height, width).
        name: of the image, for error messages.
        dark: whether ink is darker than the paper; None decides by the whole image.
        at_border: whether digits may be cut off by the image border. Otherwise ink that touches the
            border does not decide how tall a typical digit is.
        look_into_windows: whether light writing in dark windows is found.

    Returns:
        The writing; None if the image is blank, if its polarity is ambiguous, if its digits are
        shorter than `_MIN_HEIGHT_PX`, or if it is texture (`_MAX_RUNS`).

    Raises:
        ImageError: there is more ink than on a page of digits, see `_check_limits`.
    """
    foreground = subtract_background(gray, dark)
    if foreground is None or (foreground.polarity_ambiguous and dark is None):
        return None
    contrast = foreground.contrast
    components = _find_ink(foreground)
    if components is None:
        return None
    windows = _windows(components) if look_into_windows else []
    if windows:
        inverted = _invert(gray, windows, components)
        return find_writing(
            inverted, name, dark=foreground.dark, at_border=at_border, look_into_windows=False
        )
    stroke_contrasts = _stroke_contrasts(components, contrast)
    weights = components.mass * stroke_contrasts
    preprinted, height = _exclude_preprinted(components, weights, at_border)
    all_ink = _paint_all(components)
    # A number whose digits all stand on the line of a form is one large component with it.
    lines = lines_of_frames(components, preprinted | _is_large(components, height), height)
    if lines is not None:
        contrast[lines] = 0
        components = find_components(all_ink & ~lines, contrast)
        assert components is not None  # the digits on the lines remain
        stroke_contrasts = _stroke_contrasts(components, contrast)
        weights = components.mass * stroke_contrasts
        preprinted, height = _exclude_preprinted(components, weights, at_border)
    height = max(height, _display_height(components, height))
    if height < _MIN_HEIGHT_PX:
        return None
    is_writing = _is_writing(components, height) & ~preprinted
    if not is_writing.any():
        return None
    mean_contrast = np.average(stroke_contrasts[is_writing], weights=components.mass[is_writing])
    is_writing &= stroke_contrasts > _MIN_CONTRAST_SHARE * mean_contrast
    _check_limits(components.boxes[is_writing], name)
    groups = _group(components, np.flatnonzero(is_writing), height)
    ink_bright = 255 - gray if foreground.dark else gray
    writing = Writing(
        components,
        stroke_contrasts,
        contrast,
        groups,
        all_ink,
        ink_bright,
        height,
        foreground.dark,
        preprinted,
    )
    return writing if writing.has_ink() else None


def _find_ink(foreground: Foreground) -> Components | None:
    """Return the components of ink without ruled lines; None if there is no ink, or texture."""
    contrast = foreground.contrast
    mask = contrast > max(_PAGE_CONTRAST_SHARE * foreground.ink_level, foreground.noise_floor)
    if max(np.count_nonzero(rows[1:] > rows[:-1]) for rows in (mask, mask.T)) > _MAX_RUNS:
        return None
    level = remove_ruled_lines(mask, MAX_GAP_SHARE, MIN_INK_SHARE)
    columns = level.T
    rest = remove_ruled_lines(columns, MAX_GAP_SHARE, MIN_INK_SHARE)
    # Beside horizontal lines, vertical ones may be shorter: the picture may show squared paper.
    mask = remove_squares(level) if rest is columns and level is not mask else rest.T
    with_faint_pixels = find_components(mask, contrast)
    if with_faint_pixels is None:
        return None
    _remove_faint_pixels(mask, with_faint_pixels, contrast)
    return find_components(mask, contrast)


def _exclude_preprinted(
    components: Components, weights: npt.NDArray[np.float64], at_border: bool
) -> tuple[Flags, float]:
    """Return which components are printed around digits, and the height of a typical digit.

    The height is estimated again without the components that are found, because they are large.

    Args:
        components: of the page.
        weights: see `_typical_height`.
        at_border: see `_typical_height`.
    """
    preprinted = find_frames(components)
    height = _typical_height(components, weights, at_border, preprinted)
    if preprinted.any():
        preprinted = find_frames(components, _MIN_FRAMED_HEIGHTS * height)
        height = _typical_height(components, weights, at_border, preprinted)
    bars = find_bars(components, height)
    if bars.any():
        preprinted |= bars
        height = _typical_height(components, weights, at_border, preprinted)
    return preprinted, height


def _middle(line: TextLine) -> float:
    """Return the row of the middle of a line."""
    return float(line.boxes[:, 1::2].mean())


def _check_limits(boxes: IndexArray, name: str) -> None:
    """Reject a page with so many or so large components of writing that reading takes too long.

    Raises:
        ImageError: there are too many, or they are too large.
    """
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1, dtype=np.int64)
    if (
        len(areas) > _MAX_COMPONENTS
        or areas.max() > _MAX_COMPONENT_AREA_PX
        or areas.sum() > _MAX_TOTAL_AREA_PX
    ):
        raise too_much_ink(name)


def _paint_all(components: Components) -> Mask:
    """Return the mask of all components, (height, width)."""
    height, width = components.shape
    return components.paint(np.ones(len(components.mass), np.bool_), (0, 0, width, height))


def _windows(components: Components) -> list[Box]:
    """Return the boxes of dark windows with light writing, if they have most of the page's ink."""
    found: list[Box] = []
    numbers = np.arange(len(components.mass))
    for index in np.flatnonzero(_may_be_windows(components)).tolist():
        left, top, right, bottom = box = tuple(components.boxes[index].tolist())
        shape = components.paint(numbers == index, box)
        if is_window(shape) and not shape.all():
            found.append((left, top, right, bottom))
    return found


def _may_be_windows(components: Components) -> Flags:
    """Return which components may be windows: blocks that have most of the page's ink."""
    sizes = components.boxes[:, 2:] - components.boxes[:, :2]
    is_block = sizes.min(axis=1) >= np.maximum(MIN_WINDOW_PX, _MIN_WINDOW_ASPECT * sizes[:, 1])
    is_block &= components.area >= _MIN_WINDOW_FILL * sizes.prod(axis=1)
    have_most_ink = components.area[is_block].sum() >= _MIN_WINDOWS_SHARE * components.area.sum()
    return is_block if have_most_ink else np.zeros_like(is_block)


def _invert(gray: Gray, windows: list[Box], components: Components) -> Gray:
    """Return the page with inverted windows, whose ground becomes that of the page."""
    inverted = gray.astype(np.int16)
    ink = _paint_all(components)
    paper = int(np.median(gray[~ink]))
    for left, top, right, bottom in windows:
        part = inverted[top:bottom, left:right]
        ground = int(np.median(gray[top:bottom, left:right][ink[top:bottom, left:right]]))
        part[:] = paper + ground - part
    return np.clip(inverted, 0, 255).astype(np.uint8)


def too_much_ink(name: str) -> ImageError:
    """Return the error for an image, `name`, with more ink than a page of digits."""
    return ImageError(f"{name}: more pieces of ink than a page of digits; crop it to the digits")


def _remove_faint_pixels(mask: Mask, components: Components, contrast: Plane) -> None:
    """Remove from the mask, in place, pixels that are fainter than their component's strokes."""
    shares = np.where(_may_be_windows(components), _WINDOW_CONTRAST_SHARE, _OWN_CONTRAST_SHARE)
    least = (shares * _stroke_contrasts(components, contrast)).astype(np.float32)
    height, width = mask.shape
    for rows in row_slices(height, width + 1):
        before = rows.start * (width + 1)
        ends_of_rows = (before, rows.stop * (width + 1))
        first, last = np.searchsorted(components.starts, ends_of_rows)
        starts, ends = components.starts[first:last], components.ends[first:last]
        lengths = ends - starts
        own_least = np.zeros((rows.stop - rows.start, width + 1), np.float32)
        inside = np.repeat(starts - before, lengths) + _counting(lengths)
        run_least = least[components.labels[first:last]]
        own_least.reshape(-1)[inside] = np.repeat(run_least, lengths)
        mask[rows] &= contrast[rows] > own_least[:, :-1]


def _counting(lengths: IndexArray) -> IndexArray:
    """Return the concatenation of `np.arange(n)` for each n of `lengths`."""
    return np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def _stroke_contrasts(components: Components, contrast: Plane) -> npt.NDArray[np.float32]:
    """Return the contrast of each component's strokes: the mean contrast, weighted by its square.

    The weights reduce the influence of the faint pixels at the boundary of a stroke.
    """
    cubes, squares = (
        np.bincount(
            components.labels,
            sum_runs(components.starts, components.ends, contrast, power),
            len(components.mass),
        )
        for power in (3, 2)
    )
    return (cubes / np.maximum(squares, 1e-6)).astype(np.float32)


def _touches_border(components: Components) -> Flags:
    """Return for each component whether it touches the image border."""
    height, width = components.shape
    near, far = components.boxes[:, :2] == 0, components.boxes[:, 2:] == (width, height)
    touches: Flags = (near | far).any(axis=1)
    return touches


def _typical_height(
    components: Components,
    weights: npt.NDArray[np.float64],
    at_border: bool,
    preprinted: Flags,
) -> float:
    """Return the height of a typical digit in pixels: the weighted median of the components'.

    Args:
        components: of the page.
        weights: (N,), the ink of each component times its stroke contrast, because a shadow is
            large and faint.
        at_border: whether components at the image border count; otherwise they are ignored unless
            the page has no other component. Filled areas are ignored, too.
        preprinted: (N,), components that are ignored unless the page has no other one.
    """
    heights = components.boxes[:, 3] - components.boxes[:, 1]
    ink = ~preprinted if not preprinted.all() else np.ones_like(preprinted)
    strokes = ink & ~_is_filled(components)
    ink = strokes if strokes.any() else ink
    inside = (~_touches_border(components) | at_border) & ink
    chosen = inside if inside.any() else ink
    heights, weights = heights[chosen], weights[chosen]
    # Cap the weights, so that one large component cannot outweigh many digits. Light components do
    # not count, so that specks cannot lower the cap of a few digits.
    heavy = np.sort(weights[weights > _MIN_WEIGHT_SHARE * weights.max()])
    weights = np.minimum(weights, heavy[-min(len(heavy), _CAP_RANK)])
    order = np.argsort(heights, kind="stable")
    middle = np.searchsorted(np.cumsum(weights[order]), weights.sum() / 2)
    return float(heights[order[min(int(middle), len(order) - 1)]])


def _is_filled(components: Components) -> Flags:
    """Return for each component whether it is an area, not strokes: its runs are long."""
    heights = components.boxes[:, 3] - components.boxes[:, 1]
    runs = np.bincount(components.labels, minlength=len(heights))
    filled: Flags = components.area > _MIN_FILLED_RUN_HEIGHTS * heights * runs
    return filled


def _display_height(components: Components, height: float) -> float:
    """Return the height of the digits of a seven-segment display; 0 if the page is not one.

    Such a digit has two halves, one above the other, with a gap narrower than its strokes, unless
    its middle segment joins them. All digits are equally tall.
    """
    boxes = components.boxes[components.boxes[:, 3] - components.boxes[:, 1] > 0.5 * height]
    if not 2 <= len(boxes) <= _MAX_DISPLAY_PIECES:
        return 0.0
    gap = boxes[:, None, 1] - boxes[None, :, 3]  # from the lower end of the second to the first
    left = np.maximum(boxes[:, None, 0], boxes[None, :, 0])
    overlap = np.minimum(boxes[:, None, 2], boxes[None, :, 2]) - left
    narrower = np.minimum.outer(boxes[:, 2] - boxes[:, 0], boxes[:, 2] - boxes[:, 0])
    halves = (gap >= 0) & (gap <= _MAX_DISPLAY_GAP * height) & (overlap > 0.5 * narrower)
    lower, upper = np.nonzero(halves)
    if not len(lower):
        return 0.0
    heights = boxes[lower, 3] - boxes[upper, 1]
    whole = np.setdiff1d(np.arange(len(boxes)), np.concatenate((lower, upper)))
    heights = np.concatenate((heights, boxes[whole, 3] - boxes[whole, 1]))
    typical = float(np.median(heights))
    even = np.abs(heights - typical) <= _MAX_DISPLAY_UNEVEN * typical
    return typical if even.all() else 0.0


def _is_writing(components: Components, height: float) -> Flags:
    """Return for each component whether its size may be that of one or several digits."""
    widths, heights = (components.boxes[:, 2:] - components.boxes[:, :2]).T
    small = (widths < _MAX_SPECK_HEIGHTS * height) & (heights < _MAX_SPECK_HEIGHTS * height)
    flat = (
        (heights < _MAX_FLAT_HEIGHTS * height)
        & (widths > _MIN_FLAT_ASPECT * heights)
        & (widths > _MIN_FLAT_WIDTH_HEIGHTS * height)
    )
    cut_off = _touches_border(components) & (
        (heights < _MIN_BORDER_HEIGHTS * height) | (heights > _MAX_BORDER_HEIGHTS * height)
    )
    is_writing: Flags = ~(small | _is_large(components, height) | flat | cut_off)
    return is_writing


def _is_large(components: Components, height: float) -> Flags:
    """Return for each component whether it is larger than digits are, also if they touch."""
    widths, heights = (components.boxes[:, 2:] - components.boxes[:, :2]).T
    is_large: Flags = (heights > _MAX_TALL_HEIGHTS * height) | (widths > _MAX_WIDE_HEIGHTS * height)
    return is_large


def bounding_box(boxes: IndexArray) -> Box:
    """Return the smallest box that contains all of the boxes (N, 4)."""
    left, top = boxes[:, :2].min(axis=0).tolist()
    right, bottom = boxes[:, 2:].max(axis=0).tolist()
    return left, top, right, bottom


def _group(components: Components, writing: IndexArray, height: float) -> list[IndexArray]:
    """Group components that must belong to one digit, like the bar of a 5 or a broken stroke.

    They are above each other, with a small gap. Components side by side stay separate; the
    recognition decides whether to join them.

    Args:
        components: all components.
        writing: indices of the components to group.
        height: of a typical digit, in pixels.

    Returns:
        The indices of the components in each group.
    """
    boxes = components.boxes[writing]
    root = np.arange(len(writing))
    for first, second in _joined(boxes, height):
        if root[first] != root[second]:
            root[root == root[second]] = root[first]
    return [writing[root == index] for index in np.unique(root)]


def _joined(boxes: IndexArray, height: float) -> Iterator[tuple[int, int]]:
    """Yield the pairs of boxes that belong to one digit, in both orders, sorted."""
    pairs = [np.empty((0, 2), np.intp)]
    sizes = boxes[:, 2:] - boxes[:, :2]
    for first, second in _near_pairs(boxes, height):
        inner_left, inner_top = np.maximum(boxes[first, :2], boxes[second, :2]).T
        inner_right, inner_bottom = np.minimum(boxes[first, 2:], boxes[second, 2:]).T
        outer_top = np.minimum(boxes[first, 1], boxes[second, 1])
        outer_bottom = np.maximum(boxes[first, 3], boxes[second, 3])
        min_width, min_height = np.minimum(sizes[first], sizes[second]).T
        overlap = inner_right - inner_left
        stacked = overlap > _MIN_OVERLAP_SHARE * min_width
        small_and_near = (overlap > -_MAX_SIDE_GAP_HEIGHTS * height) & (
            min_width * min_height < _MAX_PIECE_AREA_HEIGHTS * height * height
        )
        joined = (
            (min_height < _MAX_PIECE_HEIGHTS * height)
            & (stacked | small_and_near)
            & (inner_top - inner_bottom < _MAX_PIECE_GAP_HEIGHTS * height)
            & (outer_bottom - outer_top < _MAX_JOINED_HEIGHTS * height)
        )
        pairs.append(np.stack((first[joined], second[joined]), axis=1))
        pairs.append(np.stack((second[joined], first[joined]), axis=1))
    sorted_pairs = np.concatenate(pairs)
    sorted_pairs = sorted_pairs[np.lexsort((sorted_pairs[:, 1], sorted_pairs[:, 0]))]
    yield from sorted_pairs.tolist()


def _near_pairs(boxes: IndexArray, height: float) -> Iterator[tuple[IndexArray, IndexArray]]:
    """Yield batches of pairs of boxes that overlap, or nearly overlap, along one axis.

    Sweep and prune: the boxes are sorted by their start on the axis along which fewer pairs
    overlap. Each batch has about `_PAIRS_PER_BATCH` pairs.
    """
    sweeps = []
    for axis in (0, 1):
        order = np.argsort(boxes[:, axis], kind="stable")
        ends = boxes[order, axis + 2] + _MAX_PIECE_GAP_HEIGHTS * height
        until = np.searchsorted(boxes[order, axis], ends, "right")
        counts = np.maximum(until - np.arange(len(boxes)) - 1, 0)
        sweeps.append((int(counts.sum()), order, counts))
    _, order, counts = min(sweeps, key=lambda sweep: sweep[0])
    totals = np.cumsum(counts)
    first = 0
    while first < len(boxes):
        last = max(int(np.searchsorted(totals, totals[first] + _PAIRS_PER_BATCH)), first + 1)
        part = counts[first:last]
        position = np.repeat(np.arange(first, last), part)
        yield order[position], order[position + 1 + _counting(part)]
        first = last


def _is_edge(component: InkComponent, ink_bright: Gray, all_ink: Mask, height: float) -> bool:
    """Return whether a component is the edge of a dark area: a shadow or the end of the paper.

    Ink is surrounded by paper. Around an edge, many pixels are as dark as the edge itself.
    """
    left, top, right, bottom = component.box
    reach = max(2, int(_RING_HEIGHTS * height))
    around = (
        slice(max(top - reach, 0), bottom + reach),
        slice(max(left - reach, 0), right + reach),
    )
    ground = np.bincount(ink_bright[around][~all_ink[around]], minlength=256)
    pixels = int(ground.sum())
    if not pixels:
        return False
    ink = quantile(
        np.bincount(ink_bright[top:bottom, left:right][component.ink > 0.5], minlength=256), 0.5
    )
    middle = (ink + quantile(ground, 0.25)) / 2
    return int(ground[int(middle) + 1 :].sum()) / pixels > _MAX_DARK_SHARE


def _arrange(boxes: IndexArray, height: float) -> tuple[list[list[int]], float]:
    """Arrange boxes in lines, which may slant and bend a little.

    Args:
        boxes: (N, 4) left, top, right, bottom.
        height: of a typical digit, in pixels.

    Returns:
        Indices of the boxes in each line, from left to right, the lines from top to bottom; and the
        slope of all lines, rows per column.
    """
    if not len(boxes):
        return [], 0.0
    centers: Floats = (boxes[:, :2] + boxes[:, 2:]) / 2
    tall = boxes[:, 3] - boxes[:, 1] > _MIN_TALL_HEIGHTS * height
    slope = _slope(centers[tall], height)
    # Link each box to the nearest one to its left that has about the same baseline offset.
    root = np.arange(len(boxes))
    baseline_offset = centers[:, 1] - slope * centers[:, 0]
    order = np.argsort(centers[:, 0], kind="stable")
    across = centers[order, 0]
    first = np.searchsorted(across, across - _MAX_DIGIT_GAP_HEIGHTS * height, "right")
    last = np.searchsorted(across, across, "left")
    for position, box in enumerate(order):
        left = order[first[position] : last[position]]
        difference = np.abs(baseline_offset[left] - baseline_offset[box])
        near = difference < _MAX_OFFSET_HEIGHTS * height
        if near.any():
            left, difference = left[near], difference[near]
            root[box] = root[_nearest(centers[box, 0] - centers[left, 0] + 2 * difference, left)]
    lines = [np.flatnonzero(root == index) for index in np.unique(root)]
    lines = _join(lines, baseline_offset, height)
    lines.sort(key=lambda line: float(baseline_offset[line].mean()))
    arranged = [line[np.argsort(centers[line, 0], kind="stable")].tolist() for line in lines]
    return arranged, slope


def _nearest(distances: Floats, indices: IndexArray) -> int:
    """Return the index with the smallest distance; of equal distances, the smallest index."""
    return int(indices[distances == distances.min()].min())


def _slope(centers: Floats, height: float) -> float:
    """Return the slope of the lines: the median slope from each digit to its right neighbor."""
    slopes = []
    order = np.argsort(centers[:, 0], kind="stable")
    across = centers[order, 0]
    first = np.searchsorted(across, across + _MIN_DIGIT_DISTANCE_HEIGHTS * height, "right")
    last = np.searchsorted(across, across + _MAX_DIGIT_GAP_HEIGHTS * height, "left")
    for position, box in enumerate(order):
        others = order[first[position] : last[position]]
        right, down = (centers[others] - centers[box]).T
        near = np.abs(down) < _MAX_NEIGHBOR_SLOPE * right
        if near.any():
            others, right, down = others[near], right[near], down[near]
            nearest = _nearest(right + 2 * np.abs(down), others)
            step = centers[nearest] - centers[box]
            slopes.append(step[1] / step[0])
    return float(np.median(slopes)) if slopes else 0.0


def _join(lines: list[IndexArray], baseline_offset: Floats, height: float) -> list[IndexArray]:
    """Join lines of about the same baseline offset, which a wide gap separated."""
    joined: list[IndexArray] = []
    for line in sorted(lines, key=lambda line: float(baseline_offset[line].mean())):
        offset = baseline_offset[line].mean()
        if (
            joined
            and offset - baseline_offset[joined[-1]].mean() < _MAX_LINE_OFFSET_HEIGHTS * height
        ):
            joined[-1] = np.concatenate((joined[-1], line))
        else:
            joined.append(line)
    return joined


def _cut_out(
    components: Components,
    stroke_contrasts: npt.NDArray[np.float32],
    contrast: Plane,
    group: IndexArray,
) -> InkComponent:
    """Cut the ink of a group of components out of the page, scaled by its stroke contrast."""
    box = left, top, right, bottom = bounding_box(components.boxes[group])
    chosen = np.zeros(len(components.mass), np.bool_)
    chosen[group] = True
    weights = components.mass[group]
    full_ink = float(np.average(stroke_contrasts[group], weights=weights))
    ink = np.minimum(contrast[top:bottom, left:right] / np.float32(full_ink), 1)
    return InkComponent(np.where(components.paint(chosen, box), ink, np.float32(0)), box)
