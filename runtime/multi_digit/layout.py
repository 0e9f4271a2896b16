"""Detects text lines: the ink components of each digit, line by line."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.errors import ImageError
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
from runtime.preprocess.segment import Box

# Ink is first looked for at this part of the picture's level, for pencil stands beside marker;
# then each component keeps what reaches this part of its own level.
_FAINT, _OWN_LEVEL = 0.1, 0.3
# A ruled line is broken for no more than this part of the picture: digits' own bars stand apart.
# Ink is this part of it at least: of those photographed 0.8, of a row of printed digits' tops 0.6.
_BROKEN, _INKED = 0.02, 0.7
# What is this much fainter than the writing is none.
_GHOST = 0.25
# In heights of a digit: smaller in both directions is a speck; higher or wider is no writing.
_SPECK, _TALL, _WIDE = 0.25, 2.5, 8.0
# Digits further apart than this stand in different lines, or in none together.
_REACH = 6.0
# How far around ink there must be paper, in heights, and which part of that may be as dark as ink.
_RING, _MAX_DARK = 0.2, 0.2
# Lower writing than this, in pixels, cannot be read.
_MIN_HEIGHT = 5
_MAX_COMPONENTS = 2_500  # pieces of ink; each takes 0.2 to 0.5 ms, an A4 page holds 2,000 digits
_MAX_COMPONENT_AREA = 1_000_000  # pixels in the box of one piece; cutting it takes 40 bytes each
_MAX_AREA = 4096 * 3072  # pixels in the boxes of all pieces
_MAX_RUNS = 600_000  # runs of ink along rows or columns; more are a texture
_MAX_PAIRS = 100_000  # of boxes compared at once

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class InkComponent:
    """Connected ink, float32 from 0 to 1, cut to its box in the picture; one digit, mostly."""

    ink: Plane
    box: Box


@dataclass(frozen=True)
class PageLayout:
    """Lines from top to bottom, in each its components from left to right.

    `height` is that of a typical digit, in pixels.
    """

    lines: tuple[tuple[InkComponent, ...], ...]
    height: float


@dataclass(frozen=True)
class Writing:
    """Ink that is large, small and free enough to be writing; not yet cut out and arranged."""

    found: Components
    levels: Plane
    contrast: Plane
    groups: list[npt.NDArray[np.intp]]
    everything: Mask
    raw: Gray
    height: float

    def components(self) -> Iterator[InkComponent]:
        """Yield each group's ink, unless it is the edge of something dark."""
        for group in self.groups:
            component = _cut_out(self.found, self.levels, self.contrast, group)
            if not _is_edge(component, self.raw, self.everything, self.height):
                yield component

    def layout(self) -> PageLayout | None:
        """Return its lines; None if there are none."""
        components = list(self.components())
        boxes = np.array([component.box for component in components], np.intp).reshape(-1, 4)
        lines = tuple(
            tuple(components[number] for number in line) for line in _arrange(boxes, self.height)
        )
        return PageLayout(lines, self.height) if lines else None


def detect_text_lines(gray: Gray, name: str) -> PageLayout | None:
    """Find the lines of writing in a gray picture, uint8 (height, width); None if there are none.

    Raises ImageError, with `name`, if there is more ink than a page holds.
    """
    writing = find_writing(gray, name)
    return None if writing is None else writing.layout()


def find_writing(gray: Gray, name: str) -> Writing | None:
    """Find the writing in a gray picture, uint8 (height, width); None if there is none.

    Raises ImageError, with `name`, if there is more ink than a page holds.
    """
    foreground = subtract_background(gray)
    if foreground is None or foreground.polarity_ambiguous:
        return None
    contrast = foreground.contrast
    mask = contrast > max(_FAINT * foreground.ink_level, foreground.noise_floor)
    if max(np.count_nonzero(one[1:] > one[:-1]) for one in (mask, mask.T)) > _MAX_RUNS:
        return None
    mask = remove_ruled_lines(remove_ruled_lines(mask, _BROKEN, _INKED).T, _BROKEN, _INKED).T
    faint = find_components(mask, contrast)
    if faint is None:
        return None
    _keep_own_level(mask, faint, contrast)
    found = find_components(mask, contrast)
    if found is None:
        return None
    height = _typical_height(found)
    if height < _MIN_HEIGHT:
        return None
    own = _levels(found, contrast)
    writing = _is_writing(found, height)
    if not writing.any():
        return None
    writing &= own > _GHOST * np.average(own[writing], weights=found.mass[writing])
    sizes = found.boxes[writing, 2:] - found.boxes[writing, :2]
    areas = sizes.prod(axis=1, dtype=np.int64)
    if len(sizes) > _MAX_COMPONENTS or areas.max() > _MAX_COMPONENT_AREA or areas.sum() > _MAX_AREA:
        raise too_much_ink(name)
    groups = _group(found, np.flatnonzero(writing), height)
    everything = found.paint(np.ones(len(own), np.bool_), (0, 0, gray.shape[1], gray.shape[0]))
    raw = 255 - gray if foreground.dark else gray
    writing_found = Writing(found, own, contrast, groups, everything, raw, height)
    return writing_found if any(True for _ in writing_found.components()) else None


def too_much_ink(name: str) -> ImageError:
    """What is said of a picture with more on it than a page of digits holds."""
    return ImageError(f"{name}: more pieces of ink than a page of digits; crop it to the digits")


def _keep_own_level(mask: Mask, faint: Components, contrast: Plane) -> None:
    """Take out of the mask what is fainter than its component's strokes."""
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
        mask[rows] &= contrast[rows] > _OWN_LEVEL * level[:, :-1]


def _counting(lengths: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """0, 1, … up to each of the lengths, one after the other."""
    return np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def _levels(found: Components, contrast: Plane) -> Plane:
    """Return each component's contrast: a mean in which the rim and the paper count little."""
    above, below = (
        np.bincount(
            found.labels, sum_runs(found.starts, found.ends, contrast, power), len(found.mass)
        )
        for power in (3, 2)
    )
    return (above / np.maximum(below, 1e-6)).astype(np.float32)


def _touches_rim(found: Components) -> npt.NDArray[np.bool_]:
    height, width = found.shape
    near, far = found.boxes[:, :2] == 0, found.boxes[:, 2:] == (width, height)
    touches: npt.NDArray[np.bool_] = (near | far).any(axis=1)
    return touches


def _typical_height(found: Components) -> float:
    """The median height, each component weighted by its ink; those on the picture's rim apart."""
    heights = found.boxes[:, 3] - found.boxes[:, 1]
    inside = ~_touches_rim(found)
    if inside.any():
        heights, weights = heights[inside], found.mass[inside]
    else:
        weights = found.mass
    # One large thing must not outweigh many digits.
    weights = np.minimum(weights, np.sort(weights)[-min(len(weights), 4)])
    order = np.argsort(heights, kind="stable")
    middle = np.searchsorted(np.cumsum(weights[order]), weights.sum() / 2)
    return float(heights[order[min(int(middle), len(order) - 1)]])


def _is_writing(found: Components, height: float) -> npt.NDArray[np.bool_]:
    sizes = found.boxes[:, 2:] - found.boxes[:, :2]
    small = (sizes < _SPECK * height).all(axis=1)
    large = (sizes[:, 1] > _TALL * height) | (sizes[:, 0] > _WIDE * height)
    # A dash, an underline, the edge of something dark.
    flat = (
        (sizes[:, 1] < 0.4 * height)
        & (sizes[:, 0] > 3 * sizes[:, 1])
        & (sizes[:, 0] > 1.2 * height)
    )
    # What the picture's rim cuts off is a digit only where nearly all of it is there.
    cut = _touches_rim(found) & ((sizes[:, 1] < 0.6 * height) | (sizes[:, 1] > 1.5 * height))
    writing: npt.NDArray[np.bool_] = ~(small | large | flat | cut)
    return writing


def _around(boxes: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    return np.concatenate((boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)))


def _group(
    found: Components, writing: npt.NDArray[np.intp], height: float
) -> list[npt.NDArray[np.intp]]:
    """Components that belong together whatever they are: one above the other, hardly apart.

    The hat of a 5, a stroke that broke. What stands side by side is left to the reading.
    """
    boxes = found.boxes[writing]
    root = np.arange(len(writing))
    for one, other in _joined(boxes, height):
        if root[one] != root[other]:
            root[root == root[other]] = root[one]
    return [writing[root == number] for number in np.unique(root)]


def _joined(boxes: npt.NDArray[np.intp], height: float) -> Iterator[tuple[int, int]]:
    """Yield the pairs of boxes that belong together, both ways round, sorted."""
    pairs = [np.empty((0, 2), np.intp)]
    sizes = boxes[:, 2:] - boxes[:, :2]
    for one, other in _near_pairs(boxes, height):
        across = np.minimum(boxes[other, 2], boxes[one, 2]) - np.maximum(
            boxes[other, 0], boxes[one, 0]
        )
        down = np.maximum(boxes[other, 1], boxes[one, 1]) - np.minimum(
            boxes[other, 3], boxes[one, 3]
        )
        width, low = np.minimum(sizes[one], sizes[other]).T
        above = across > 0.5 * width
        beside = (across > -0.1 * height) & (width * low < 0.2 * height * height)
        joined = (
            (low < 0.6 * height)
            & (above | beside)
            & (down < 0.25 * height)
            & (
                np.maximum(boxes[other, 3], boxes[one, 3])
                - np.minimum(boxes[other, 1], boxes[one, 1])
                < 1.8 * height
            )
        )
        pairs.append(np.stack((one[joined], other[joined]), axis=1))
        pairs.append(np.stack((other[joined], one[joined]), axis=1))
    found = np.concatenate(pairs)
    yield from found[np.lexsort((found[:, 1], found[:, 0]))].tolist()


def _near_pairs(
    boxes: npt.NDArray[np.intp], height: float
) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Yield pairs of boxes that overlap or nearly so, along the axis on which fewer do.

    Sweeps over the boxes, sorted by where they start, some pairs at a time.
    """
    sweeps = []
    for axis in (0, 1):
        order = np.argsort(boxes[:, axis], kind="stable")
        ends = boxes[order, axis + 2] + 0.25 * height
        until = np.searchsorted(boxes[order, axis], ends, "right")
        counts = np.maximum(until - np.arange(len(boxes)) - 1, 0)
        sweeps.append((int(counts.sum()), order, counts))
    _, order, counts = min(sweeps, key=lambda sweep: sweep[0])
    totals = np.cumsum(counts)
    first = 0
    while first < len(boxes):
        last = max(int(np.searchsorted(totals, totals[first] + _MAX_PAIRS)), first + 1)
        part = counts[first:last]
        at = np.repeat(np.arange(first, last), part)
        yield order[at], order[at + 1 + _counting(part)]
        first = last


def _is_edge(component: InkComponent, raw: Gray, everything: Mask, height: float) -> bool:
    """Whether this is the rim of something as dark as ink, a shadow or the end of the paper.

    Around ink there is paper; around a rim much is no lighter than the rim is.
    """
    left, top, right, bottom = component.box
    reach = max(2, int(_RING * height))
    around = (
        slice(max(top - reach, 0), bottom + reach),
        slice(max(left - reach, 0), right + reach),
    )
    ground = np.bincount(raw[around][~everything[around]], minlength=256)
    pixels = int(ground.sum())
    if not pixels:
        return False
    ink = quantile(
        np.bincount(raw[top:bottom, left:right][component.ink > 0.5], minlength=256), 0.5
    )
    middle = (ink + quantile(ground, 0.25)) / 2
    return int(ground[int(middle) + 1 :].sum()) / pixels > _MAX_DARK


def _arrange(boxes: npt.NDArray[np.intp], height: float) -> list[list[int]]:
    """Indices of the boxes, line by line; a line may slant, and bend a little."""
    if not len(boxes):
        return []
    centers: Floats = (boxes[:, :2] + boxes[:, 2:]) / 2
    tall = boxes[:, 3] - boxes[:, 1] > 0.5 * height
    slope = _slope(centers[tall], height)
    # Each box hangs on the nearest one to its left that stands at its own height.
    root = np.arange(len(boxes))
    level = centers[:, 1] - slope * centers[:, 0]
    order = np.argsort(centers[:, 0], kind="stable")
    across = centers[order, 0]
    first = np.searchsorted(across, across - _REACH * height, "right")
    last = np.searchsorted(across, across, "left")
    for at, one in enumerate(order):
        left = order[first[at] : last[at]]
        off = np.abs(level[left] - level[one])
        near = off < 0.55 * height
        if near.any():
            left, off = left[near], off[near]
            root[one] = root[_nearest(centers[one, 0] - centers[left, 0] + 2 * off, left)]
    lines = [np.flatnonzero(root == number) for number in np.unique(root)]
    lines = _join(lines, level, height)
    lines.sort(key=lambda line: float(level[line].mean()))
    return [line[np.argsort(centers[line, 0], kind="stable")].tolist() for line in lines]


def _nearest(distances: Floats, numbers: npt.NDArray[np.intp]) -> int:
    """Return the number of the least distance, the lowest one of several."""
    return int(numbers[distances == distances.min()].min())


def _slope(centers: Floats, height: float) -> float:
    """How steeply the lines rise: the median over each digit's nearest one to the right."""
    slopes = []
    order = np.argsort(centers[:, 0], kind="stable")
    across = centers[order, 0]
    first = np.searchsorted(across, across + 0.2 * height, "right")
    last = np.searchsorted(across, across + _REACH * height, "left")
    for at, one in enumerate(order):
        others = order[first[at] : last[at]]
        right, down = (centers[others] - centers[one]).T
        near = np.abs(down) < 0.5 * right
        if near.any():
            others, right, down = others[near], right[near], down[near]
            nearest = _nearest(right + 2 * np.abs(down), others)
            steep = centers[nearest] - centers[one]
            slopes.append(steep[1] / steep[0])
    return float(np.median(slopes)) if slopes else 0.0


def _join(
    lines: list[npt.NDArray[np.intp]], level: Floats, height: float
) -> list[npt.NDArray[np.intp]]:
    """Join lines that stand at the same height, a wide gap between them."""
    joined: list[npt.NDArray[np.intp]] = []
    for line in sorted(lines, key=lambda line: float(level[line].mean())):
        if joined and level[line].mean() - level[joined[-1]].mean() < 0.5 * height:
            joined[-1] = np.concatenate((joined[-1], line))
        else:
            joined.append(line)
    return joined


def _cut_out(
    found: Components, levels: Plane, contrast: Plane, group: npt.NDArray[np.intp]
) -> InkComponent:
    left, top, right, bottom = (int(edge) for edge in _around(found.boxes[group]))
    box = left, top, right, bottom
    chosen = np.zeros(len(found.mass), np.bool_)
    chosen[group] = True
    weights = found.mass[group]
    level = float(np.average(levels[group], weights=weights))
    ink = np.minimum(contrast[top:bottom, left:right] / np.float32(level), 1)
    return InkComponent(np.where(found.paint(chosen, box), ink, np.float32(0)), box)
