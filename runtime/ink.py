"""Finds the ink of one digit in a grey picture: uneven light, noise, lines and specks aside."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

Grey = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Index = npt.NDArray[np.intp]
Box = tuple[int, int, int, int]

# Lighting is estimated on a copy of at most this many pixels a side, where whatever is narrower
# than this part of the side is taken for ink.
_COARSE = 64
_WIDEST_STROKE = 0.4
# Ink stands this many standard deviations of the ground's noise, and this many of 255 grey
# levels, above it; otherwise the page is blank.
_NOISE_FACTOR = 4.0
_LEAST_CONTRAST = 10.0
# Whatever is darker than this part of the ink's own level belongs to a stroke.
_STROKE_LEVEL = 0.3
# Fewer pixels than this make no digit.
_LEAST_AREA = 6


@dataclass(frozen=True)
class Found:
    """A digit's ink, float32 from 0 to 1, cut to its box (left, top, right, bottom), right and
    bottom exclusive; and whether it is darker than its ground."""

    ink: Plane
    box: Box
    dark: bool


def find_ink(grey: Grey) -> Found | None:
    """Find the digit in a grey picture, uint8 (height, width); None where there is no ink.

    Lighting is what a grey closing of a coarse copy leaves; ink is what stands out from it.
    """
    plane = grey.astype(np.float32)
    height, width = plane.shape
    coarse = area_resample(plane, (min(height, _COARSE), min(width, _COARSE)), (height, width))
    dark = _ink_is_dark(coarse)
    if dark:
        plane, coarse = 255 - plane, 255 - coarse
    window = int(_WIDEST_STROKE * max(coarse.shape)) | 1
    light = _dilate(-_dilate(-coarse, window), window)
    enlarged = Image.fromarray(light).resize((width, height), Image.Resampling.BILINEAR)
    depth: Plane = plane - np.asarray(enlarged)
    ground, noise = _ground(depth)
    depth -= np.float32(ground)
    np.maximum(depth, 0, out=depth)
    floor = max(_NOISE_FACTOR * noise, _LEAST_CONTRAST)
    candidates = depth[depth > floor]
    if candidates.size < _LEAST_AREA:
        return None
    level = float(candidates[candidates >= _otsu(candidates)[0]].mean())
    mask = depth > max(_STROKE_LEVEL * level, 0.75 * floor)
    mask = _without_lines(_without_lines(mask).T).T
    chosen = _choose(mask, depth)
    if chosen is None:
        return None
    kept, box = chosen
    ink = depth[box[1] : box[3], box[0] : box[2]] / np.float32(level)
    return Found(np.where(kept, np.minimum(ink, 1), np.float32(0)), box, dark)


def area_resample(plane: Plane, bins: tuple[int, int], side: tuple[int, int]) -> Plane:
    """Means over `bins` (rows, columns) equal cells of a frame of `side`, `plane` in its middle.

    Exact area weights, by differences of running sums: each pixel counts by the part of it that
    a cell covers. (Matrix products would do, but wake every thread of the BLAS.)
    """
    for count, extent in zip(bins, side, strict=True):
        length = len(plane)
        sums = np.zeros((length + 1, plane.shape[1]), np.float32)
        np.cumsum(plane, axis=0, out=sums[1:])
        edges = np.arange(count + 1) * (extent / count) - (extent - length) // 2
        edges = np.clip(edges, 0, length)
        low = np.minimum(edges.astype(np.intp), length - 1)
        part = (edges - low).astype(np.float32)[:, None]
        sums = sums[low] * (1 - part) + sums[low + 1] * part
        plane = (sums[1:] - sums[:-1]).T * np.float32(count / extent)
    return plane


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
    """The mean over a square of 2 half + 1 pixels, edges repeated."""
    sums = np.pad(plane, ((half + 1, half), (half + 1, half)), mode="edge")
    sums = sums.cumsum(axis=0, dtype=np.float64).cumsum(axis=1)
    side = 2 * half + 1
    total = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    mean: Plane = (total / side**2).astype(np.float32)
    return mean


def _dilate(plane: Plane, window: int) -> Plane:
    """The maximum over a square of an odd number of pixels, edges repeated, by doubling shifts."""
    for _ in range(2):
        half = window // 2
        line = np.pad(plane, ((half, half), (0, 0)), mode="edge")
        have = 1
        while have < window:
            step = min(have, window - have)
            line = np.maximum(line[:-step], line[step:])
            have += step
        plane = line.T
    return plane


def _ground(depth: Plane) -> tuple[float, float]:
    """The ground's level and the standard deviation of its noise, from the side without ink."""
    sample = np.sort(depth.ravel()[:: max(1, depth.size // 4096)])
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


def _without_lines(mask: Mask) -> Mask:
    """Take out thin horizontal lines that cross the whole picture, but not the strokes across.

    A line is where the mask, thickened a little so that slanting or broken lines hold together,
    runs on for long; of it go the pixels whose vertical run is no thicker than the line.
    """
    height, width = mask.shape
    if min(height, width) < 32:
        return mask
    thick = mask.copy()
    thick[1:] |= mask[:-1]
    thick[:-1] |= mask[1:]
    if np.count_nonzero(thick, axis=1).max() < 0.4 * width:
        return mask
    starts, ends = _runs(thick)
    long = ends - starts > 0.4 * width
    line = _paint(starts[long], ends[long], mask.shape)
    reach = np.flatnonzero(line.any(axis=0))
    if not reach.size or reach[0] > 0.04 * width or reach[-1] < 0.96 * (width - 1):
        return mask
    starts, ends = _runs(mask.T)
    stride = height + 1
    middle = (starts + ends) // 2
    on_line = line[middle % stride, middle // stride]
    if not on_line.any():
        return mask
    length = ends - starts
    thickness = float(np.median(length[on_line]))
    if thickness > 0.03 * max(height, width):
        return mask
    gone = on_line & (length <= 1.5 * thickness + 1)
    cleared: Mask = mask & ~_paint(starts[gone], ends[gone], (width, height)).T
    return cleared


def _choose(mask: Mask, depth: Plane) -> tuple[Mask, Box] | None:
    """The component that is the digit, with the pieces that lie close to it, cut to its box."""
    height, width = mask.shape
    starts, ends = _runs(mask)
    if not starts.size:
        return None
    stride = width + 1
    labels = _components(starts, ends, stride)
    count = int(labels.max()) + 1
    row, left = np.divmod(starts, stride)
    right = ends - row * stride
    area = np.bincount(labels, ends - starts, count)
    # The ink in each run: reduceat sums from one index to the next, so every second sum is a run.
    bounds = np.stack((starts - row, ends - row), axis=1).ravel()
    sums = np.add.reduceat(np.append(depth.ravel(), np.float32(0)), bounds)[::2]
    mass = np.bincount(labels, sums, count)
    boxes = np.empty((count, 4), np.intp)
    boxes[:] = width, height, 0, 0
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
    x0, y0, x1, y1 = (int(edge) for edge in box)
    ours = kept[labels]
    offset = y0 * stride
    chosen = _paint(starts[ours] - offset, ends[ours] - offset, (y1 - y0, width))
    return chosen[:, x0:x1], (x0, y0, x1, y1)


def _runs(mask: Mask) -> tuple[Index, Index]:
    """Start and end (exclusive) of each row's runs, counted along rows of width + 1 pixels."""
    height, width = mask.shape
    line = np.zeros(height * (width + 1) + 1, np.int8)
    line[1:].reshape(height, width + 1)[:, :width] = mask
    change = line[1:] - line[:-1]
    return np.flatnonzero(change == 1), np.flatnonzero(change == -1)


def _paint(starts: Index, ends: Index, shape: tuple[int, int]) -> Mask:
    """The mask of these runs: the reverse of `_runs`."""
    height, width = shape
    change = np.zeros(height * (width + 1), np.int8)
    change[starts] = 1
    change[ends] = -1
    painted: Mask = np.cumsum(change, dtype=np.int8).view(np.bool_)
    return painted.reshape(height, width + 1)[:, :width]


def _components(starts: Index, ends: Index, stride: int) -> Index:
    """The number of the 8-connected component that each run belongs to.

    Union-find over whole arrays: each root is hooked to a smaller one that it touches, and paths
    are halved, until nothing changes.
    """
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
    labels: Index = (np.cumsum(root == np.arange(root.size)) - 1)[root]
    return labels
