"""Finds the ink of one digit in a grey picture: uneven light, noise, lines and specks aside."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Box = tuple[int, int, int, int]

# Lighting is estimated on a copy of at most this many pixels a side, where whatever is narrower
# than this part of the side is taken for ink.
_COARSE = 48
_WIDEST_STROKE = 0.4
# Ink stands this many standard deviations of the ground's noise, and this many of 255 grey
# levels, above it; otherwise the page is blank.
_NOISE_FACTOR = 4.0
_LEAST_CONTRAST = 10.0
# Fewer pixels than this make no digit.
_LEAST_AREA = 6


@dataclass(frozen=True)
class Found:
    """A digit's ink, float32 (height, width) from 0 to 1; its (left, top, right, bottom), right
    and bottom exclusive; and whether it is darker than its ground."""

    ink: Plane
    box: Box
    dark: bool


def find_ink(grey: Grey) -> Found | None:
    """The digit's ink (height, width) from 0 to 1, its box and the polarity; None: a blank page."""
    plane = grey.astype(np.float32)
    coarse = _coarse(plane)
    dark = _ink_is_dark(coarse)
    if dark:
        plane, coarse = 255 - plane, 255 - coarse
    depth = plane - _enlarge(_opening(coarse), plane.shape)
    ground, noise = _noise(depth)
    depth -= ground
    np.maximum(depth, 0, out=depth)
    floor = max(_NOISE_FACTOR * noise, _LEAST_CONTRAST)
    candidates = depth[depth > floor]
    if candidates.size < _LEAST_AREA:
        return None
    level = float(candidates[candidates >= _otsu(candidates)].mean())
    mask = depth > max(0.3 * level, 0.75 * floor)
    chosen = _choose(mask, depth)
    if chosen is None:
        return None
    kept, box = chosen
    ink = np.where(kept, np.minimum(depth / level, 1), 0).astype(np.float32)
    return Found(ink, box, dark)


def _coarse(plane: Plane) -> Plane:
    """The plane reduced by whole-pixel block means to at most _COARSE pixels a side."""
    height, width = plane.shape
    step = -(-max(height, width) // _COARSE)
    if step == 1:
        return plane
    padded = np.pad(plane, ((0, -height % step), (0, -width % step)), mode="edge")
    rows, columns = padded.shape[0] // step, padded.shape[1] // step
    blocks: Plane = padded.reshape(rows, step, columns, step).mean(axis=(1, 3))
    return blocks


def _enlarge(coarse: Plane, shape: tuple[int, ...]) -> Plane:
    """Bilinear enlargement of block means back to `shape`."""
    if coarse.shape == shape:
        return coarse
    step = -(-max(shape) // _COARSE)
    for axis in (0, 1):
        at = np.clip((np.arange(shape[axis]) + 0.5) / step - 0.5, 0, coarse.shape[axis] - 1)
        low = np.minimum(at.astype(np.intp), max(coarse.shape[axis] - 2, 0))
        part = (at - low).astype(np.float32)
        part = part[:, None] if axis == 0 else part
        high = np.minimum(low + 1, coarse.shape[axis] - 1)
        coarse = coarse.take(low, axis) * (1 - part) + coarse.take(high, axis) * part
    return coarse


def _ink_is_dark(coarse: Plane) -> bool:
    """Ink is the minority, so grey levels are skewed towards it; and it seldom lies on the rim."""
    spread = float(coarse.std())
    if spread == 0:
        return True
    rim = np.concatenate((coarse[0], coarse[-1], coarse[:, 0], coarse[:, -1]))
    normal = (coarse - coarse.mean()) / spread
    skew = float((normal**3).mean())
    return skew + (float(coarse.mean()) - float(rim.mean())) / spread < 0


def _opening(plane: Plane) -> Plane:
    """Grey opening: removes what is lighter than its surroundings and narrower than the window."""
    window = int(_WIDEST_STROKE * max(plane.shape)) | 1
    return _dilate(-_dilate(-plane, window), window)


def _dilate(plane: Plane, window: int) -> Plane:
    """The maximum over a square window, edges repeated, by doubling shifts."""
    for axis in (0, 1):
        half = window // 2
        pad = [(0, 0), (0, 0)]
        pad[axis] = (half, half)
        line = np.pad(plane, pad, mode="edge")
        have = 1
        while have < window:
            step = min(have, window - have)
            end = line.shape[axis] - step
            first, second = [slice(None)] * 2, [slice(None)] * 2
            first[axis], second[axis] = slice(0, end), slice(step, None)
            line = np.maximum(line[tuple(first)], line[tuple(second)])
            have += step
        plane = line
    return plane


def _noise(depth: Plane) -> tuple[float, float]:
    """The ground's level and the standard deviation of its noise, from the side without ink."""
    sample = np.sort(depth.ravel()[:: max(1, depth.size // 4096)])
    ground = float(sample[sample.size // 2])
    return ground, ground - float(sample[int(0.16 * sample.size)])


def _otsu(values: Plane) -> float:
    """The threshold that parts values best in two (Otsu, 1979)."""
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return low
    counts, edges = np.histogram(values, bins=64, range=(low, high))
    centres = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)
    above = values.size - below
    moment = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (moment / below - (moment[-1] - moment) / above) ** 2
    return float(edges[1 + int(np.nanargmax(between[:-1]))])


def _choose(mask: Mask, depth: Plane) -> tuple[Mask, Box] | None:
    """The component that is the digit, with the pieces that lie close to it, and its box."""
    height, width = mask.shape
    starts, ends, labels = _components(mask)
    if not labels.size:
        return None
    count = int(labels.max()) + 1
    stride = width + 1
    row, left, right = starts // stride, starts % stride, ends - starts // stride * stride
    area = np.bincount(labels, ends - starts, count)
    total = np.concatenate(([0.0], np.cumsum(np.pad(depth, ((0, 0), (0, 1))), dtype=np.float64)))
    mass = np.bincount(labels, total[ends] - total[starts], count)
    boxes = np.empty((count, 4), np.intp)
    boxes[:, :2] = width, height
    boxes[:, 2:] = 0
    np.minimum.at(boxes[:, 0], labels, left)
    np.minimum.at(boxes[:, 1], labels, row)
    np.maximum.at(boxes[:, 2], labels, right)
    np.maximum.at(boxes[:, 3], labels, row + 1)
    border = (boxes[:, :2] == 0).any(axis=1) | (boxes[:, 2:] == (width, height)).any(axis=1)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 / (width, height) - 0.5
    score = mass * np.exp(-4 * (centre**2).sum(axis=1)) * np.where(border, 0.2, 1)
    main = int(score.argmax())
    if area[main] < _LEAST_AREA:
        return None
    kept = np.zeros(count, np.bool_)
    kept[main] = True
    near = (mass > 0.03 * mass[main]) & (~border | border[main])
    box = boxes[main]
    for _ in range(3):
        reach = 0.15 * max(box[2] - box[0], box[3] - box[1])
        gap = np.maximum(boxes[:, :2] - box[2:], box[:2] - boxes[:, 2:]).max(axis=1)
        kept |= near & (gap <= reach)
        box = np.concatenate((boxes[kept, :2].min(axis=0), boxes[kept, 2:].max(axis=0)))
    change = np.zeros(height * stride + 1, np.int8)
    change[starts[kept[labels]]] = 1
    change[ends[kept[labels]]] = -1
    chosen = np.cumsum(change[:-1], dtype=np.int8).reshape(height, stride)[:, :width] > 0
    return chosen, (int(box[0]), int(box[1]), int(box[2]), int(box[3]))


def _components(
    mask: Mask,
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """8-connected components as runs: each run's start and end, and the number of its component.

    Starts and ends (exclusive) count along rows of width + 1. Union-find over whole arrays:
    each root is hooked to a smaller neighbour until none is left.
    """
    stride = mask.shape[1] + 1
    line = np.zeros(mask.size + mask.shape[0] + 1, np.int8)
    line[1:].reshape(mask.shape[0], stride)[:, :-1] = mask
    change = np.diff(line)
    starts, ends = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
    first = np.searchsorted(ends, starts + stride, "left")
    counts = np.maximum(np.searchsorted(starts, ends + stride, "right") - first, 0)
    upper = np.repeat(np.arange(starts.size), counts)
    lower = np.arange(upper.size) + np.repeat(first - np.cumsum(counts) + counts, counts)
    root = np.arange(starts.size)
    while True:
        one, other = root[upper], root[lower]
        apart = one != other
        if not apart.any():
            break
        root[np.maximum(one, other)[apart]] = np.minimum(one, other)[apart]
        while (root[root] != root).any():
            root = root[root]
    return starts, ends, (np.cumsum(root == np.arange(root.size)) - 1)[root]
