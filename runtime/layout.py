"""Finds the ink of several digits in a grey picture, and the lines that it stands in."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.components import Components, Mask, Plane, find_components, sum_runs
from runtime.errors import ImageError
from runtime.grey import Grey, strips
from runtime.ink import Box, without_lines
from runtime.relief import find_relief

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
_RING, _MOST_DARK = 0.2, 0.2
# Lower writing than this, in pixels, cannot be read.
_LEAST_HEIGHT = 5
# What holds more is no page of digits: blobs, the pixels in all their boxes; and with more runs of
# ink along rows or columns it is a texture.
_MOST_BLOBS, _MOST_AREA, _MOST_RUNS = 5000, 4096 * 3072, 600_000

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Blob:
    """Connected ink, float32 from 0 to 1, cut to its box in the picture; one digit, mostly."""

    ink: Plane
    box: Box


@dataclass(frozen=True)
class Layout:
    """Lines from top to bottom, in each its blobs from left to right.

    `height` is that of a typical digit, in pixels; `dark` says that ink is darker than its ground.
    """

    lines: tuple[tuple[Blob, ...], ...]
    height: float
    dark: bool


def find_lines(grey: Grey, name: str) -> Layout | None:
    """Find the writing in a grey picture, uint8 (height, width); None where there is none.

    Raises ImageError, with `name`, where there is more than a page holds.
    """
    relief = find_relief(grey)
    if relief is None or relief.undecided:
        return None
    depth = relief.depth
    mask = depth > max(_FAINT * relief.level, relief.floor)
    if max(np.count_nonzero(one[1:] > one[:-1]) for one in (mask, mask.T)) > _MOST_RUNS:
        return None
    mask = without_lines(without_lines(mask, _BROKEN, _INKED).T, _BROKEN, _INKED).T
    faint = find_components(mask, depth)
    if faint is None:
        return None
    _keep_own_level(mask, faint, depth)
    found = find_components(mask, depth)
    if found is None:
        return None
    height = _typical_height(found)
    if height < _LEAST_HEIGHT:
        return None
    own = _levels(found, depth)
    writing = _is_writing(found, height)
    if not writing.any():
        return None
    writing &= own > _GHOST * np.average(own[writing], weights=found.mass[writing])
    sizes = found.boxes[writing, 2:] - found.boxes[writing, :2]
    if len(sizes) > _MOST_BLOBS or sizes.prod(axis=1).sum(dtype=np.int64) > _MOST_AREA:
        raise too_much_ink(name)
    groups = _group(found, np.flatnonzero(writing), height)
    blobs = [_cut_out(found, own, depth, group) for group in groups]
    everything = found.paint(np.ones(len(own), np.bool_), (0, 0, grey.shape[1], grey.shape[0]))
    raw = 255 - grey if relief.dark else grey
    blobs = [blob for blob in blobs if not _is_edge(blob, raw, everything, height)]
    boxes = np.array([blob.box for blob in blobs], np.intp).reshape(-1, 4)
    lines = tuple(tuple(blobs[number] for number in line) for line in _arrange(boxes, height))
    return Layout(lines, height, relief.dark) if lines else None


def too_much_ink(name: str) -> ImageError:
    """What is said of a picture with more on it than a page of digits holds."""
    return ImageError(f"{name}: more pieces of ink than a page of digits; crop it to the digits")


def _keep_own_level(mask: Mask, faint: Components, depth: Plane) -> None:
    """Take out of the mask what is fainter than its component's strokes."""
    levels = _levels(faint, depth)
    height, width = mask.shape
    for rows in strips(height, width + 1):
        before = rows.start * (width + 1)
        first, last = np.searchsorted(faint.starts, (before, rows.stop * (width + 1)))
        starts, ends = faint.starts[first:last], faint.ends[first:last]
        lengths = ends - starts
        level = np.zeros((rows.stop - rows.start, width + 1), np.float32)
        inside = np.repeat(starts - before, lengths) + _counting(lengths)
        level.reshape(-1)[inside] = np.repeat(levels[faint.labels[first:last]], lengths)
        mask[rows] &= depth[rows] > _OWN_LEVEL * level[:, :-1]


def _counting(lengths: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """0, 1, … up to each of the lengths, one after the other."""
    return np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def _levels(found: Components, depth: Plane) -> Plane:
    """The depth of each component's strokes: a mean that the rim and the paper count little in."""
    above, below = (
        np.bincount(found.labels, sum_runs(found.starts, found.ends, depth, power), len(found.mass))
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
    for one in range(len(writing)):
        across = np.minimum(boxes[:, 2], boxes[one, 2]) - np.maximum(boxes[:, 0], boxes[one, 0])
        down = np.maximum(boxes[:, 1], boxes[one, 1]) - np.minimum(boxes[:, 3], boxes[one, 3])
        widths, heights = (boxes[:, 2:] - boxes[:, :2]).T
        small = np.minimum(heights, heights[one]) < 0.6 * height
        above = across > 0.5 * np.minimum(widths, widths[one])
        beside = (across > -0.1 * height) & (
            np.minimum(widths, widths[one]) * np.minimum(heights, heights[one])
            < 0.2 * height * height
        )
        joined = (
            small
            & (above | beside)
            & (down < 0.25 * height)
            & (
                np.maximum(boxes[:, 3], boxes[one, 3]) - np.minimum(boxes[:, 1], boxes[one, 1])
                < 1.8 * height
            )
        )
        for other in np.flatnonzero(joined):
            root[root == root[other]] = root[one]
    return [writing[root == number] for number in np.unique(root)]


def _is_edge(blob: Blob, raw: Grey, everything: Mask, height: float) -> bool:
    """Whether this is the rim of something as dark as ink, a shadow or the end of the paper.

    Around ink there is paper; around a rim much is no lighter than the rim is.
    """
    left, top, right, bottom = blob.box
    reach = max(2, int(_RING * height))
    around = (
        slice(max(top - reach, 0), bottom + reach),
        slice(max(left - reach, 0), right + reach),
    )
    ground = raw[around][~everything[around]].astype(np.float32)
    if not ground.size:
        return False
    ink = float(np.median(raw[top:bottom, left:right][blob.ink > 0.5]))
    paper = float(np.quantile(ground, 0.25))
    return bool((ground > (ink + paper) / 2).mean() > _MOST_DARK)


def _arrange(boxes: npt.NDArray[np.intp], height: float) -> list[list[int]]:
    """Indices of the boxes, line by line; a line may slant, and bend a little."""
    if not len(boxes):
        return []
    centres: Floats = (boxes[:, :2] + boxes[:, 2:]) / 2
    tall = boxes[:, 3] - boxes[:, 1] > 0.5 * height
    slope = _slope(centres[tall], height)
    # Each box hangs on the nearest one to its left that stands at its own height.
    root = np.arange(len(boxes))
    level = centres[:, 1] - slope * centres[:, 0]
    for one in np.argsort(centres[:, 0], kind="stable"):
        right = centres[:, 0] - centres[one, 0]
        off = np.abs(level - level[one])
        near = (right < 0) & (-right < _REACH * height) & (off < 0.55 * height)
        if near.any():
            distance = np.where(near, -right + 2 * off, np.inf)
            root[one] = root[int(distance.argmin())]
    lines = [np.flatnonzero(root == number) for number in np.unique(root)]
    lines = _join(lines, level, height)
    lines.sort(key=lambda line: float(level[line].mean()))
    return [line[np.argsort(centres[line, 0], kind="stable")].tolist() for line in lines]


def _slope(centres: Floats, height: float) -> float:
    """How steeply the lines rise: the median over each digit's nearest one to the right."""
    slopes = []
    for x, y in centres:
        right, down = centres[:, 0] - x, centres[:, 1] - y
        near = (right > 0.2 * height) & (right < _REACH * height) & (np.abs(down) < 0.5 * right)
        if near.any():
            nearest = int(np.where(near, right + 2 * np.abs(down), np.inf).argmin())
            slopes.append(down[nearest] / right[nearest])
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


def _cut_out(found: Components, levels: Plane, depth: Plane, group: npt.NDArray[np.intp]) -> Blob:
    left, top, right, bottom = (int(edge) for edge in _around(found.boxes[group]))
    box = left, top, right, bottom
    chosen = np.zeros(len(found.mass), np.bool_)
    chosen[group] = True
    weights = found.mass[group]
    level = float(np.average(levels[group], weights=weights))
    ink = np.minimum(depth[top:bottom, left:right] / np.float32(level), 1)
    return Blob(np.where(found.paint(chosen, box), ink, np.float32(0)), box)
