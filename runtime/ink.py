"""Finds the ink of one digit in a grey picture: uneven light, noise, lines and specks aside."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from runtime.components import Mask, find_components, find_runs, paint_runs

Grey = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]
Box = tuple[int, int, int, int]

# Lighting is estimated on a copy of at most this many pixels a side, where whatever is narrower
# than this part of the side is taken for ink.
_COARSE = 48
_WIDEST_STROKE = 0.4
# Ink stands this many standard deviations of the ground's noise, and this many of 255 grey
# levels, above it; otherwise the page is blank.
NOISE_FACTOR = 4.0
LEAST_CONTRAST = 10.0
# Whatever is darker than this part of the ink's own level belongs to a stroke.
STROKE_LEVEL = 0.3
# Strokes of a digit 20 pixels high are made at least this wide: MNIST's are mostly 2 to 4.
THIN_STROKE = 1.8
# A ruled line ends no further than this part of the picture's width from its edge.
_REACHES = 0.04
# Keeps the surface's equations solvable where the picture is a line.
_RIDGE = (np.eye(6) * 1e-2).astype(np.float32)
# A product of matrices this small stays in the BLAS's own thread.
_SMALL = 1024
# Strokes wider than this part of the digit's size are none: a square's are 0.64, a disc's 0.5.
SOLID = 0.42
# As much other ink as the digit's, this many times, and it is a part of a drawing or of a text.
_MOST_CLUTTER = 1.5
# Fewer pixels than this make no digit.
LEAST_AREA = 6


@dataclass(frozen=True)
class Found:
    """A digit's ink, float32 from 0 to 1, cut to its box (left, top, right, bottom), right and
    bottom exclusive; whether it is darker than its ground; and whether its shape is no digit's."""

    ink: Plane
    box: Box
    dark: bool
    odd: bool = False


@dataclass(frozen=True)
class Relief:
    """How far each pixel stands out from its ground, on the ink's side.

    `depth` is float32 (height, width), 0 or more of 255 grey levels; what is below `floor` may be
    noise; `level` is the mean of the ink proper; `dark` says that ink is darker than its ground.
    """

    depth: Plane
    floor: float
    level: float
    dark: bool


def find_relief(grey: Grey) -> Relief | None:
    """Take light and ground out of a grey picture, uint8 (height, width); None where it is blank.

    Lighting is what a grey closing of a coarse copy leaves; ink is what stands out from it.
    """
    height, width = grey.shape
    size = (min(width, _COARSE), min(height, _COARSE))
    picture = Image.fromarray(grey)
    coarse = np.asarray(picture.resize(size, Image.Resampling.BOX)).astype(np.float32)
    plane = grey.astype(np.float32)
    dark = _ink_is_dark(coarse)
    if dark:
        plane, coarse = 255 - plane, 255 - coarse
    surface = _smooth_light(coarse)
    window = int(_WIDEST_STROKE * max(coarse.shape)) | 1
    # Both stay below the picture wherever there is no ink: take the closer one.
    light = np.maximum(_opening(coarse, window), surface + _opening(coarse - surface, window))
    if light.shape != plane.shape:
        enlarged = Image.fromarray(light).resize((width, height), Image.Resampling.BILINEAR)
        light = np.asarray(enlarged)
    depth: Plane = plane - light
    ground, noise = _ground(depth)
    depth -= np.float32(ground)
    np.maximum(depth, 0, out=depth)
    floor = max(NOISE_FACTOR * noise, LEAST_CONTRAST)
    candidates = depth[depth > floor]
    if candidates.size < LEAST_AREA:
        return None
    level = float(candidates[candidates >= _otsu(candidates)[0]].mean())
    return Relief(depth, floor, level, dark)


def find_ink(grey: Grey) -> Found | None:
    """Find the digit in a grey picture, uint8 (height, width); None where there is no ink."""
    relief = find_relief(grey)
    if relief is None:
        return None
    depth, level = relief.depth, relief.level
    mask = depth > max(STROKE_LEVEL * level, 0.75 * relief.floor)
    mask = without_lines(without_lines(mask).T).T
    chosen = _choose(mask, depth)
    if chosen is None:
        return None
    kept, box, odd = chosen
    ink = depth[box[1] : box[3], box[0] : box[2]] / np.float32(level)
    ink = thicken(np.where(kept, np.minimum(ink, 1), np.float32(0)))
    return Found(ink, box, relief.dark, odd or is_solid(kept))


def is_solid(mask: Mask) -> bool:
    """Whether this is a filled shape rather than a stroke: see `thicken` for the mean width."""
    inner = np.count_nonzero(mask[1:] != mask[:-1]) + np.count_nonzero(mask[:, 1:] != mask[:, :-1])
    outer = sum(np.count_nonzero(side) for side in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))
    width = 2 * np.count_nonzero(mask) / (np.pi / 4 * (inner + outer))
    return bool(width > SOLID * max(mask.shape))


def thicken(ink: Plane) -> Plane:
    """Widen strokes that would be too thin, among MNIST's, once the digit is 20 pixels high.

    The mean width of a stroke is its area over half its outline, which is pi / 4 of the steps
    between ink and ground counted along rows and columns.
    """
    mask = ink > 0.5
    steps = np.count_nonzero(mask[1:] != mask[:-1]) + np.count_nonzero(mask[:, 1:] != mask[:, :-1])
    width = 2 * np.count_nonzero(mask) / max(np.pi / 4 * steps, 1)
    missing = THIN_STROKE * max(ink.shape) / 20 - width
    extra = min(int(missing + 0.5), max(ink.shape) // 8)
    if extra < 1:
        return ink
    window = extra + 1
    padded = np.zeros((ink.shape[0] + 2 * extra, ink.shape[1] + 2 * extra), np.float32)
    padded[extra:-extra, extra:-extra] = ink
    for _ in range(2):
        have = 1
        while have < window:
            step = min(have, window - have)
            padded = np.maximum(padded[:-step], padded[step:])
            have += step
        padded = padded.T
    return padded


def area_resample(plane: Plane, bins: int, side: int) -> Plane:
    """Means over bins x bins equal cells of a square of `side`, `plane` in its middle.

    Exact area weights: each pixel counts by the part of it that a cell covers.
    """
    height, width = plane.shape
    down, across = _overlaps(height, bins, side), _overlaps(width, bins, side)
    if plane.size <= _SMALL:
        small: Plane = down.dot(plane).dot(across.T)
        return small
    # einsum rather than a product, which wakes every thread of the BLAS for a millisecond's work.
    means: Plane = np.einsum("ij,kj->ik", np.einsum("ij,jk->ik", down, plane), across)
    return means


@lru_cache(maxsize=256)
def _overlaps(length: int, bins: int, side: int) -> Plane:
    """(bins, length): which part of each bin each of `length` pixels, centred in side, covers."""
    edges = np.arange(bins + 1) * (side / bins) - (side - length) // 2
    pixels = np.arange(length)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights: Plane = (np.maximum(overlap, 0) * (bins / side)).astype(np.float32)
    weights.flags.writeable = False
    return weights


def _smooth_light(coarse: Plane) -> Plane:
    """The quadratic surface through the ground, brighter pixels counting for less and less.

    It takes out what a grey opening cannot at the rim: a gradient, or a lens's dark corners.
    """
    terms, sparse = _surface_terms(*coarse.shape)
    values = coarse[::2, ::2].ravel()
    weighted: npt.NDArray[Any] = sparse
    for _ in range(4):
        normal = weighted @ sparse.T + _RIDGE
        fit = np.linalg.solve(normal, weighted @ values)
        above = values - fit @ sparse
        scale = float(np.abs(above).mean()) + 0.5
        above = np.maximum(above, 0) / scale
        weighted = sparse / (1 + above * above) ** 2
    surface: Plane = (fit @ terms).reshape(coarse.shape)
    return surface


@lru_cache(maxsize=32)
def _surface_terms(height: int, width: int) -> tuple[Plane, Plane]:
    """1, x, y, x², xy and y² at each pixel, (6, pixels), and at every other one either way."""
    y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in (height, width))
    ones = np.ones((height, width), np.float32)
    down = ones * y[:, None]
    terms = np.stack((ones, ones * x, down, ones * x * x, down * x, down * down))
    sparse = np.ascontiguousarray(terms[:, ::2, ::2]).reshape(6, -1)
    return terms.reshape(6, -1), sparse


def _ink_is_dark(coarse: Plane) -> bool:
    """Ink is the minority, so that grey levels are skewed towards it; and it shuns the rim.

    Both are seen against the local mean, over a narrow and a wide window, which takes out the
    lighting: a shadow's edge skews neither way.
    """
    score = 0.0
    for part in (0.15, 0.5):
        local = coarse - _local_mean(coarse, int(part * max(coarse.shape)) // 2)
        local -= local.mean()
        spread = float(np.sqrt((local * local).mean()))
        if spread > 0:
            score += float((local * local * local).mean()) / spread**3
    if spread > 0:
        rim = np.concatenate((local[0], local[-1], local[:, 0], local[:, -1]))
        score -= float(rim.mean()) / spread
    return score <= 0


def _local_mean(plane: Plane, half: int) -> Plane:
    """The mean over the part of a square of 2 half + 1 pixels that lies in the plane."""
    mean: Plane = _averaging(plane.shape[0], half) @ plane @ _averaging(plane.shape[1], half).T
    return mean


@lru_cache(maxsize=64)
def _averaging(length: int, half: int) -> Plane:
    """(length, length): in each row the weights of a mean over the places no further than half."""
    at = np.arange(length)
    near = (np.abs(at[:, None] - at) <= half).astype(np.float32)
    weights: Plane = near / near.sum(axis=1, keepdims=True)
    return weights


def _opening(plane: Plane, window: int) -> Plane:
    """Grey opening: takes out what is brighter than its surroundings and fits in the window."""
    return _dilate(-_dilate(-plane, window), window)


def _dilate(plane: Plane, window: int) -> Plane:
    """The maximum over a square of an odd number of pixels, edges repeated, by doubling shifts."""
    for _ in range(2):
        half = window // 2
        line = np.concatenate((plane[:1].repeat(half, 0), plane, plane[-1:].repeat(half, 0)))
        have = 1
        while have < window:
            step = min(have, window - have)
            line = np.maximum(line[:-step], line[step:])
            have += step
        plane = line.T
    return plane


def _ground(depth: Plane) -> tuple[float, float]:
    """The ground's level and the standard deviation of its noise, from the side without ink."""
    sample = np.sort(depth.ravel()[:: max(1, depth.size // 2048)])
    threshold, parted = _otsu(sample)
    share = int(np.searchsorted(sample, threshold))
    # A tight crop can hold more ink than ground, and then the two are well apart.
    if parted > 0.8 and share < 0.6 * sample.size:
        sample = sample[:share]
    ground = float(sample[sample.size // 2])
    return ground, ground - float(sample[int(0.16 * sample.size)])


def _otsu(values: Plane) -> tuple[float, float]:
    """The threshold that parts values best in two, and the part of the variance it explains.

    N. Otsu, "A threshold selection method from gray-level histograms", 1979.
    """
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return low, 0.0
    level = np.arange(64)
    counts = np.bincount(((values - low) * (63.99 / (high - low))).astype(np.intp), minlength=64)
    below = np.cumsum(counts)[:-1]
    moment = np.cumsum(counts * level)
    mean = moment[-1] / values.size
    # Neither side is empty: the first bin holds the least value and the last the greatest.
    between = (mean * below - moment[:-1]) ** 2 / (below * (values.size - below))
    best = int(between.argmax())
    variance = float((counts * (level - mean) ** 2).sum())
    return low + (best + 1) * (high - low) / 64, float(between[best]) / variance * values.size


def without_lines(mask: Mask, broken: float = 0.1) -> Mask:
    """Take out thin horizontal lines from the edge of the picture, but not the strokes across.

    A line may be broken for the part `broken` of the picture's width.

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
    starts, ends = starts[np.append(True, apart)], ends[np.append(apart, True)]
    long = ends - starts > 0.4 * width
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


def _choose(mask: Mask, depth: Plane) -> tuple[Mask, Box, bool] | None:
    """The component that is the digit, with the pieces that lie close to it, cut to its box.

    And whether that is an odd one: amid more ink than its own, or around ink apart from its own.
    """
    height, width = mask.shape
    found = find_components(mask, depth)
    if found is None:
        return None
    boxes, mass = found.boxes, found.mass
    border_count = (boxes[:, :2] == 0).sum(axis=1) + (boxes[:, 2:] == (width, height)).sum(axis=1)
    border = border_count > 0
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 / (width, height) - 0.5
    corner = (border_count >= 2) & (
        np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) < 0.25 * height * width
    )
    score = mass * np.exp(-4 * (centre**2).sum(axis=1)) * np.where(border, 0.2, 1)
    score[corner] *= 0.1
    main = int(score.argmax())
    if found.area[main] < LEAST_AREA or corner[main]:
        return None
    kept = np.zeros(mass.size, np.bool_)
    kept[main] = True
    near = (mass > 0.03 * mass[main]) & (~border | border[main])
    box = boxes[main]
    for _ in range(3):
        reach = 0.15 * max(box[2] - box[0], box[3] - box[1])
        gap = np.maximum(boxes[:, :2] - box[2:], box[:2] - boxes[:, 2:]).max(axis=1)
        kept |= near & (gap <= reach)
        box = np.concatenate((boxes[kept, :2].min(axis=0), boxes[kept, 2:].max(axis=0)))
    left, top, right, bottom = (int(edge) for edge in box)
    bounds = left, top, right, bottom
    others = float(mass[~kept & ~border & (mass > 0.05 * mass[main])].sum())
    odd = others > _MOST_CLUTTER * float(mass[kept].sum())
    pieces = np.flatnonzero(kept & (mass > 0.03 * mass[main]))
    if pieces.size > 1:
        alone = np.arange(mass.size) == main
        outline = found.paint(alone, bounds)
        odd |= any(_surrounds(outline, boxes[piece] - (left, top) * 2) for piece in pieces)
    return found.paint(kept, bounds), bounds, odd


def _surrounds(outline: Mask, box: npt.NDArray[np.intp]) -> bool:
    """Whether there is outline on all four sides of a box: no digit has ink apart in its hole."""
    left, top, right, bottom = (int(edge) for edge in box)
    x, y = (left + right) // 2, (top + bottom) // 2
    return bool(
        outline[y, :left].any()
        and outline[y, right:].any()
        and outline[:top, x].any()
        and outline[bottom:, x].any()
    )
