"""Detects text lines: the connected components of ink on a page, arranged in lines.

`find_writing` thresholds the page, removes ruled lines and drops components that are too small,
too large or too faint for digits. `Writing.layout` cuts out the rest and arranges it in lines,
which may slant. `runtime.multi_digit.recognize` splits and joins these components to digits.
Lengths are compared with the height of a typical digit on the page ("digit heights").
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.errors import ImageError
from runtime.multi_digit.frames import find_bars, find_frames
from runtime.preprocess.background import subtract_background
from runtime.preprocess.connected_components import (
    Components,
    Mask,
    Plane,
    find_components,
    sum_runs,
)
from runtime.preprocess.grayscale import Gray, quantile, row_slices
from runtime.preprocess.ruled_lines import remove_ruled_lines
from runtime.preprocess.segment import MIN_WINDOW_PX, Box
from runtime.preprocess.tight_crop import is_window

# Thresholds for ink.
_PAGE_LEVEL_SHARE = 0.1  # of the page's ink level; low, because pencil may be next to marker
_OWN_LEVEL_SHARE = 0.3  # of a component's own level; its fainter pixels are removed
_MIN_LEVEL_SHARE = 0.25  # of the mean level of all writing; fainter components are removed

# Ruled lines, see `remove_ruled_lines`.
MAX_GAP_SHARE = 0.02  # of the picture's width; the bars of neighboring digits have wider gaps
MIN_INK_SHARE = 0.7  # of a line's length; ruled lines have 0.8, the tops of printed digits 0.6

# Sizes of components that are not writing.
_MIN_HEIGHT_PX = 5  # pixels of a typical digit; a page with lower digits cannot be read
_MAX_SPECK_HEIGHTS = 0.25  # digit heights; a component whose sides are both shorter is a speck
_MAX_TALL_HEIGHTS = 2.5  # digit heights; a higher component is not writing
_MAX_WIDE_HEIGHTS = 8.0  # digit heights; a wider component is not writing
_MIN_FILLED_RUN_HEIGHTS = 0.4  # of its height; mean length of a component's runs if it is an area
_MIN_FRAMED_HEIGHTS = 0.4  # digit heights; lower ink does not make a component a frame around it
# A component is flat, like a dash or an underline, if all three hold.
_MAX_FLAT_HEIGHTS = 0.4  # digit heights; its height
_MIN_FLAT_WIDTH_HEIGHTS = 1.2  # digit heights; its width
_MIN_FLAT_ASPECT = 3  # its width / height
# A component at an edge of the picture may be cut off. It is writing only between these limits.
_MIN_RIM_HEIGHTS = 0.6  # digit heights; its height
_MAX_RIM_HEIGHTS = 1.5  # digit heights; its height
_MIN_WEIGHT_SHARE = 0.05  # of the heaviest component's ink; lighter components may be specks

# Two components belong to one digit if the first three conditions hold, and either the fourth or
# the last two.
_MAX_PIECE_HEIGHTS = 0.6  # digit heights; height of the lower component
_MAX_PIECE_GAP_HEIGHTS = 0.25  # digit heights; vertical gap
_MAX_JOINED_HEIGHTS = 1.8  # digit heights; height of both together
_MIN_OVERLAP_SHARE = 0.5  # of the narrower one's width; horizontal overlap
_MAX_SIDE_GAP_HEIGHTS = 0.1  # digit heights; horizontal gap
_MAX_PIECE_AREA_HEIGHTS = 0.2  # squared digit heights; smaller width × smaller height

# A display of seven segments.
_MAX_DISPLAY_PIECES = 64  # higher than half a digit
_MAX_DISPLAY_GAP = 0.15  # digit heights; between the halves of a digit
_MAX_DISPLAY_UNEVEN = 0.1  # of the digits' height; how much it differs

# Lines.
_MAX_DIGIT_GAP_HEIGHTS = 6.0  # digit heights; digits with a wider gap are not linked to one line
_MAX_OFFSET_HEIGHTS = 0.55  # digit heights; vertical offset of linked digits, without the slope
_MAX_LINE_OFFSET_HEIGHTS = 0.5  # digit heights; lines with a smaller vertical offset are joined

# A component is the edge of a dark area, not ink, if the paper around it is as dark.
_RING_HEIGHTS = 0.2  # digit heights; width of the ring around the component that is examined
_MAX_DARK_SHARE = 0.2  # of the ring's pixels; if more are dark, the component is an edge

# Light writing in dark windows, as in a meter's counter, is inverted.
_MIN_WINDOW_FILL = 0.55  # of a window's box; its dark part
_MIN_WINDOWS_SHARE = 0.8  # of the area of all ink; all windows together

# Limits. Beyond any of the first three the page is rejected, because reading it takes too long.
_MAX_COMPONENTS = 2_500  # on a page; each takes 0.2 to 0.5 ms; an A4 page has 2,000 digits
_MAX_COMPONENT_AREA_PX = 1_000_000  # box of one component; splitting it takes 40 bytes per pixel
_MAX_TOTAL_AREA_PX = 4096 * 3072  # boxes of all components
_MAX_RUNS = 600_000  # of ink along rows or columns; a page with more is texture without writing
_MAX_PAIRS = 100_000  # pairs of boxes that are compared at once

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class InkComponent:
    """Connected ink: a digit, several touching digits, or part of a digit.

    Attributes:
        ink: float32 (height, width) from 0 to 1, cropped to `box`.
        box: left, top, right, bottom in the picture's pixels; right and bottom exclusive.
    """

    ink: Plane
    box: Box


@dataclass(frozen=True)
class PageLayout:
    """The text lines of a page.

    Attributes:
        lines: from top to bottom; in each line its components from left to right.
        height: of a typical digit, in pixels.
    """

    lines: tuple[tuple[InkComponent, ...], ...]
    height: float


@dataclass(frozen=True)
class TextLine:
    """The components of one line.

    Attributes:
        members: numbers of its components in `Writing.all_components`.
        boxes: (N, 4) left, top, right, bottom of its digits, or of what may be digits.
        slope: of all lines of the page.
    """

    members: npt.NDArray[np.intp]
    boxes: npt.NDArray[np.intp]
    slope: float


@dataclass(frozen=True)
class Writing:
    """The writing on a page, not yet cut out and arranged in lines.

    Attributes:
        all_components: all components of ink, N of them, also those that are not writing.
        levels: float32 (N,), contrast of each component's strokes.
        contrast: float32 (height, width), see `Foreground.contrast`.
        groups: numbers of the components that belong to one digit, for each digit.
        all_ink: (height, width), the mask of all components.
        raw: uint8 (height, width), the page's gray levels, inverted if ink is dark.
        height: of a typical digit, in pixels.
        dark: whether ink is darker than its background.
        frames: bool (N,), whether a component is printed around digits.
    """

    all_components: Components
    levels: Plane
    contrast: Plane
    groups: list[npt.NDArray[np.intp]]
    all_ink: Mask
    raw: Gray
    height: float
    dark: bool
    frames: npt.NDArray[np.bool_]

    def components(self) -> Iterator[InkComponent]:
        """Yield the ink of each group, unless it is the edge of a dark area."""
        for group in self.groups:
            component = _cut_out(self.all_components, self.levels, self.contrast, group)
            if not _is_edge(component, self.raw, self.all_ink, self.height):
                yield component

    def text_lines(self) -> list["TextLine"]:
        """Arrange the writing in lines, from top to bottom."""
        groups = [
            group
            for group in self.groups
            if not _is_edge(
                _cut_out(self.all_components, self.levels, self.contrast, group),
                self.raw,
                self.all_ink,
                self.height,
            )
        ]
        if not groups:
            return []
        boxes = np.stack([_bounding_box(self.all_components.boxes[group]) for group in groups])
        tall = boxes[:, 3] - boxes[:, 1] > 0.5 * self.height
        slope = _slope((boxes[tall, :2] + boxes[tall, 2:]) / 2, self.height)
        return [
            TextLine(np.concatenate([groups[number] for number in line]), boxes[line], slope)
            for line in _arrange(boxes, self.height)
        ]

    def layout(self) -> PageLayout | None:
        """Arrange the writing in lines; return None if it is empty."""
        components = list(self.components())
        boxes = np.array([component.box for component in components], np.intp).reshape(-1, 4)
        lines = tuple(
            tuple(components[number] for number in line) for line in _arrange(boxes, self.height)
        )
        return PageLayout(lines, self.height) if lines else None


def find_writing(
    gray: Gray,
    name: str,
    *,
    dark: bool | None = None,
    at_rim: bool = False,
    look_into_windows: bool = True,
) -> Writing | None:
    """Find the writing on a page.

    Args:
        gray: uint8 (height, width).
        name: of the image, for error messages.
        dark: whether ink is darker than the paper; None decides by the whole picture.
        at_rim: whether digits may be cut off by the picture's rim. Otherwise what touches the rim
            does not decide how high a typical digit is.
        look_into_windows: whether light writing in dark windows is found.

    Returns:
        The writing; None if the page has none.

    Raises:
        ImageError: there are too many or too large pieces of ink, see the limits above.
    """
    foreground = subtract_background(gray, dark)
    if foreground is None or (foreground.polarity_ambiguous and dark is None):
        return None
    contrast = foreground.contrast
    mask = contrast > max(_PAGE_LEVEL_SHARE * foreground.ink_level, foreground.noise_floor)
    if max(np.count_nonzero(rows[1:] > rows[:-1]) for rows in (mask, mask.T)) > _MAX_RUNS:
        return None
    mask = remove_ruled_lines(mask, MAX_GAP_SHARE, MIN_INK_SHARE)
    mask = remove_ruled_lines(mask.T, MAX_GAP_SHARE, MIN_INK_SHARE).T
    faint = find_components(mask, contrast)
    if faint is None:
        return None
    _keep_own_level(mask, faint, contrast)
    components = find_components(mask, contrast)
    if components is None:
        return None
    windows = _windows(components) if look_into_windows else []
    if windows:
        inverted = _invert(gray, windows, components)
        return find_writing(
            inverted, name, dark=foreground.dark, at_rim=at_rim, look_into_windows=False
        )
    levels = _levels(components, contrast)
    weights = components.mass * levels
    frames = find_frames(components)
    height = _typical_height(components, weights, at_rim, frames)
    if frames.any():
        frames = find_frames(components, _MIN_FRAMED_HEIGHTS * height)
        height = _typical_height(components, weights, at_rim, frames)
    bars = find_bars(components, height)
    if bars.any():
        frames |= bars
        height = _typical_height(components, weights, at_rim, frames)
    height = max(height, _display_height(components, height))
    if height < _MIN_HEIGHT_PX:
        return None
    is_writing = _is_writing(components, height) & ~frames
    if not is_writing.any():
        return None
    mean_level = np.average(levels[is_writing], weights=components.mass[is_writing])
    is_writing &= levels > _MIN_LEVEL_SHARE * mean_level
    sizes = components.boxes[is_writing, 2:] - components.boxes[is_writing, :2]
    areas = sizes.prod(axis=1, dtype=np.int64)
    if (
        len(sizes) > _MAX_COMPONENTS
        or areas.max() > _MAX_COMPONENT_AREA_PX
        or areas.sum() > _MAX_TOTAL_AREA_PX
    ):
        raise too_much_ink(name)
    groups = _group(components, np.flatnonzero(is_writing), height)
    all_ink = components.paint(np.ones(len(levels), np.bool_), (0, 0, gray.shape[1], gray.shape[0]))
    raw = 255 - gray if foreground.dark else gray
    writing = Writing(
        components, levels, contrast, groups, all_ink, raw, height, foreground.dark, frames
    )
    return writing if any(True for _ in writing.components()) else None


def _windows(components: Components) -> list[Box]:
    """Return the boxes of dark windows with light writing, if they have most of the page's ink."""
    sizes = components.boxes[:, 2:] - components.boxes[:, :2]
    areas = sizes.prod(axis=1)
    # A cheap test first: a window fills half of its box, a digit or line rarely.
    dense = (components.area >= _MIN_WINDOW_FILL * areas) & (sizes.min(axis=1) >= MIN_WINDOW_PX)
    if components.area[dense].sum() < _MIN_WINDOWS_SHARE * components.area.sum():
        return []
    found: list[Box] = []
    for number in np.flatnonzero(dense).tolist():
        left, top, right, bottom = box = tuple(components.boxes[number].tolist())
        shape = components.paint(np.arange(len(areas)) == number, box)
        if is_window(shape) and not shape.all():
            found.append((left, top, right, bottom))
    return found


def _invert(gray: Gray, windows: list[Box], components: Components) -> Gray:
    """Return the page with inverted windows, whose ground becomes that of the page."""
    inverted = gray.astype(np.int16)
    everything = np.ones(len(components.mass), np.bool_)
    ink = components.paint(everything, (0, 0, gray.shape[1], gray.shape[0]))
    page = int(np.median(gray[~ink]))
    for left, top, right, bottom in windows:
        part = inverted[top:bottom, left:right]
        ground = int(np.median(gray[top:bottom, left:right][ink[top:bottom, left:right]]))
        part[:] = page + ground - part
    return np.clip(inverted, 0, 255).astype(np.uint8)


def too_much_ink(name: str) -> ImageError:
    """Return the error for an image, `name`, with more ink than a page of digits."""
    return ImageError(f"{name}: more pieces of ink than a page of digits; crop it to the digits")


def _keep_own_level(mask: Mask, faint: Components, contrast: Plane) -> None:
    """Remove from the mask, in place, pixels that are fainter than their component's strokes."""
    levels = _levels(faint, contrast)
    height, width = mask.shape
    for rows in row_slices(height, width + 1):
        before = rows.start * (width + 1)
        first, last = np.searchsorted(faint.starts, (before, rows.stop * (width + 1)))
        starts, ends = faint.starts[first:last], faint.ends[first:last]
        lengths = ends - starts
        level = np.zeros((rows.stop - rows.start, width + 1), np.float32)
        inside = np.repeat(starts - before, lengths) + _counting(lengths)
        level.reshape(-1)[inside] = np.repeat(levels[faint.labels[first:last]], lengths)
        mask[rows] &= contrast[rows] > _OWN_LEVEL_SHARE * level[:, :-1]


def _counting(lengths: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Return the concatenation of `np.arange(n)` for each n of `lengths`."""
    return np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def _levels(components: Components, contrast: Plane) -> Plane:
    """Return the level of each component: the mean contrast, weighted by its square.

    The weights reduce the influence of the faint pixels at the rim of a stroke.
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


def _touches_rim(components: Components) -> npt.NDArray[np.bool_]:
    """Return for each component whether it touches an edge of the picture."""
    height, width = components.shape
    near, far = components.boxes[:, :2] == 0, components.boxes[:, 2:] == (width, height)
    touches: npt.NDArray[np.bool_] = (near | far).any(axis=1)
    return touches


def _typical_height(
    components: Components,
    weights: npt.NDArray[np.float64],
    at_rim: bool,
    frames: npt.NDArray[np.bool_],
) -> float:
    """Return the height of a typical digit in pixels: the weighted median of the components'.

    Args:
        components: of the page.
        weights: (N,), the ink of each component times its level, as a shadow is large and faint.
        at_rim: whether components at the picture's rim count; otherwise they are ignored unless
            the page has no other component. Frames and filled areas are ignored, too.
        frames: (N,), whether a component is a frame.
    """
    heights = components.boxes[:, 3] - components.boxes[:, 1]
    own = ~frames if not frames.all() else np.ones_like(frames)
    strokes = own & ~_is_filled(components)
    own = strokes if strokes.any() else own
    inside = (~_touches_rim(components) | at_rim) & own
    chosen = inside if inside.any() else own
    heights, weights = heights[chosen], weights[chosen]
    # Cap the weights, so that one large component cannot outweigh many digits. Light components do
    # not count, so that specks cannot lower the cap of a few digits.
    heavy = np.sort(weights[weights > _MIN_WEIGHT_SHARE * weights.max()])
    weights = np.minimum(weights, heavy[-min(len(heavy), 4)])
    order = np.argsort(heights, kind="stable")
    middle = np.searchsorted(np.cumsum(weights[order]), weights.sum() / 2)
    return float(heights[order[min(int(middle), len(order) - 1)]])


def _is_filled(components: Components) -> npt.NDArray[np.bool_]:
    """Return for each component whether it is an area, not strokes: its runs are long."""
    heights = components.boxes[:, 3] - components.boxes[:, 1]
    runs = np.bincount(components.labels, minlength=len(heights))
    filled: npt.NDArray[np.bool_] = components.area > _MIN_FILLED_RUN_HEIGHTS * heights * runs
    return filled


def _display_height(components: Components, height: float) -> float:
    """Return the height of the digits of a seven-segment display; 0 if the page is not one.

    Such a digit has two halves, one above the other, with a gap narrower than its strokes, unless
    its middle segment joins them. All digits are equally high.
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


def _is_writing(components: Components, height: float) -> npt.NDArray[np.bool_]:
    """Return for each component whether its size may be that of one or several digits."""
    widths, heights = (components.boxes[:, 2:] - components.boxes[:, :2]).T
    small = (widths < _MAX_SPECK_HEIGHTS * height) & (heights < _MAX_SPECK_HEIGHTS * height)
    large = (heights > _MAX_TALL_HEIGHTS * height) | (widths > _MAX_WIDE_HEIGHTS * height)
    flat = (
        (heights < _MAX_FLAT_HEIGHTS * height)
        & (widths > _MIN_FLAT_ASPECT * heights)
        & (widths > _MIN_FLAT_WIDTH_HEIGHTS * height)
    )
    cut_off = _touches_rim(components) & (
        (heights < _MIN_RIM_HEIGHTS * height) | (heights > _MAX_RIM_HEIGHTS * height)
    )
    is_writing: npt.NDArray[np.bool_] = ~(small | large | flat | cut_off)
    return is_writing


def _bounding_box(boxes: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Return the smallest box that contains all of the boxes (N, 4)."""
    return np.concatenate((boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)))


def _group(
    components: Components, writing: npt.NDArray[np.intp], height: float
) -> list[npt.NDArray[np.intp]]:
    """Group components that must belong to one digit, like the bar of a 5 or a broken stroke.

    They are above each other, with a small gap. Components side by side stay separate; the
    recognition decides whether to join them.

    Args:
        components: all components.
        writing: numbers of the components to group.
        height: of a typical digit, in pixels.

    Returns:
        The numbers of the components in each group.
    """
    boxes = components.boxes[writing]
    root = np.arange(len(writing))
    for first, second in _joined(boxes, height):
        if root[first] != root[second]:
            root[root == root[second]] = root[first]
    return [writing[root == number] for number in np.unique(root)]


def _joined(boxes: npt.NDArray[np.intp], height: float) -> Iterator[tuple[int, int]]:
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


def _near_pairs(
    boxes: npt.NDArray[np.intp], height: float
) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Yield batches of pairs of boxes that overlap, or nearly overlap, along one axis.

    Sweep and prune: the boxes are sorted by their start on the axis along which fewer pairs
    overlap. Each batch has about `_MAX_PAIRS` pairs.
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
        last = max(int(np.searchsorted(totals, totals[first] + _MAX_PAIRS)), first + 1)
        part = counts[first:last]
        position = np.repeat(np.arange(first, last), part)
        yield order[position], order[position + 1 + _counting(part)]
        first = last


def _is_edge(component: InkComponent, raw: Gray, all_ink: Mask, height: float) -> bool:
    """Return whether a component is the edge of a dark area: a shadow or the end of the paper.

    Ink is surrounded by paper. Around an edge, many pixels are as dark as the edge itself.
    """
    left, top, right, bottom = component.box
    reach = max(2, int(_RING_HEIGHTS * height))
    around = (
        slice(max(top - reach, 0), bottom + reach),
        slice(max(left - reach, 0), right + reach),
    )
    ground = np.bincount(raw[around][~all_ink[around]], minlength=256)
    pixels = int(ground.sum())
    if not pixels:
        return False
    ink = quantile(
        np.bincount(raw[top:bottom, left:right][component.ink > 0.5], minlength=256), 0.5
    )
    middle = (ink + quantile(ground, 0.25)) / 2
    return int(ground[int(middle) + 1 :].sum()) / pixels > _MAX_DARK_SHARE


def _arrange(boxes: npt.NDArray[np.intp], height: float) -> list[list[int]]:
    """Arrange boxes in lines, which may slant and bend a little.

    Args:
        boxes: (N, 4) left, top, right, bottom.
        height: of a typical digit, in pixels.

    Returns:
        Numbers of the boxes in each line, from left to right; the lines from top to bottom.
    """
    if not len(boxes):
        return []
    centers: Floats = (boxes[:, :2] + boxes[:, 2:]) / 2
    tall = boxes[:, 3] - boxes[:, 1] > 0.5 * height
    slope = _slope(centers[tall], height)
    # Link each box to the nearest one to its left that has about the same level.
    root = np.arange(len(boxes))
    level = centers[:, 1] - slope * centers[:, 0]
    order = np.argsort(centers[:, 0], kind="stable")
    across = centers[order, 0]
    first = np.searchsorted(across, across - _MAX_DIGIT_GAP_HEIGHTS * height, "right")
    last = np.searchsorted(across, across, "left")
    for position, box in enumerate(order):
        left = order[first[position] : last[position]]
        offset = np.abs(level[left] - level[box])
        near = offset < _MAX_OFFSET_HEIGHTS * height
        if near.any():
            left, offset = left[near], offset[near]
            root[box] = root[_nearest(centers[box, 0] - centers[left, 0] + 2 * offset, left)]
    lines = [np.flatnonzero(root == number) for number in np.unique(root)]
    lines = _join(lines, level, height)
    lines.sort(key=lambda line: float(level[line].mean()))
    return [line[np.argsort(centers[line, 0], kind="stable")].tolist() for line in lines]


def _nearest(distances: Floats, numbers: npt.NDArray[np.intp]) -> int:
    """Return the number with the smallest distance; of equal distances, the lowest number."""
    return int(numbers[distances == distances.min()].min())


def _slope(centers: Floats, height: float) -> float:
    """Return the slope of the lines: the median slope from each digit to its right neighbor."""
    slopes = []
    order = np.argsort(centers[:, 0], kind="stable")
    across = centers[order, 0]
    first = np.searchsorted(across, across + 0.2 * height, "right")
    last = np.searchsorted(across, across + _MAX_DIGIT_GAP_HEIGHTS * height, "left")
    for position, box in enumerate(order):
        others = order[first[position] : last[position]]
        right, down = (centers[others] - centers[box]).T
        near = np.abs(down) < 0.5 * right
        if near.any():
            others, right, down = others[near], right[near], down[near]
            nearest = _nearest(right + 2 * np.abs(down), others)
            step = centers[nearest] - centers[box]
            slopes.append(step[1] / step[0])
    return float(np.median(slopes)) if slopes else 0.0


def _join(
    lines: list[npt.NDArray[np.intp]], level: Floats, height: float
) -> list[npt.NDArray[np.intp]]:
    """Join lines at the same level, which a wide gap separated."""
    joined: list[npt.NDArray[np.intp]] = []
    for line in sorted(lines, key=lambda line: float(level[line].mean())):
        if (
            joined
            and level[line].mean() - level[joined[-1]].mean() < _MAX_LINE_OFFSET_HEIGHTS * height
        ):
            joined[-1] = np.concatenate((joined[-1], line))
        else:
            joined.append(line)
    return joined


def _cut_out(
    components: Components, levels: Plane, contrast: Plane, group: npt.NDArray[np.intp]
) -> InkComponent:
    """Cut the ink of a group of components out of the page, scaled by the group's level."""
    left, top, right, bottom = (int(edge) for edge in _bounding_box(components.boxes[group]))
    box = left, top, right, bottom
    chosen = np.zeros(len(components.mass), np.bool_)
    chosen[group] = True
    weights = components.mass[group]
    level = float(np.average(levels[group], weights=weights))
    ink = np.minimum(contrast[top:bottom, left:right] / np.float32(level), 1)
    return InkComponent(np.where(components.paint(chosen, box), ink, np.float32(0)), box)
