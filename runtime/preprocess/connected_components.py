"""Connected components of a mask, from its runs: whole-array NumPy, no other library."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.preprocess.grayscale import row_slices

Mask = npt.NDArray[np.bool_]
IndexArray = npt.NDArray[np.intp]
Plane = npt.NDArray[np.float32]


def find_runs(mask: Mask) -> tuple[IndexArray, IndexArray]:
    """Start and end (exclusive) of each row's runs, counted along rows of width + 1 pixels."""
    height, width = mask.shape
    starts, ends = [], []
    for rows in row_slices(height, width + 1):
        part = mask[rows]
        line = np.zeros(len(part) * (width + 1) + 1, np.int8)
        line[1:].reshape(-1, width + 1)[:, :width] = part
        change = line[1:] - line[:-1]
        before = rows.start * (width + 1)
        starts.append(np.flatnonzero(change == 1) + before)
        ends.append(np.flatnonzero(change == -1) + before)
    return np.concatenate(starts), np.concatenate(ends)


def paint_runs(starts: IndexArray, ends: IndexArray, shape: tuple[int, int]) -> Mask:
    """The mask of these runs: the reverse of `find_runs`."""
    height, width = shape
    change = np.zeros(height * (width + 1), np.int8)
    change[starts] = 1
    change[ends] = -1
    painted: Mask = np.cumsum(change, dtype=np.int8).view(np.bool_)
    return painted.reshape(height, width + 1)[:, :width]


def label_runs(starts: IndexArray, ends: IndexArray, stride: int) -> IndexArray:
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
    labels: IndexArray = (np.cumsum(root == np.arange(root.size)) - 1)[root]
    return labels


@dataclass(frozen=True)
class Components:
    """The 8-connected components of a mask of `shape`, N of them, none empty.

    Attributes:
        starts, ends, labels: its runs, see `find_runs`, and the component of each.
        boxes: (N, 4) left, top, right, bottom; right and bottom exclusive.
        area: (N,) pixels.
        mass: (N,) sums of the contrast under them.
    """

    shape: tuple[int, int]
    starts: IndexArray
    ends: IndexArray
    labels: IndexArray
    boxes: IndexArray
    area: IndexArray
    mass: npt.NDArray[np.float64]

    def paint(self, chosen: Mask, box: tuple[int, int, int, int]) -> Mask:
        """The mask of the components chosen, (N,) bool, cut to a box that holds them all."""
        left, top, right, bottom = box
        stride = self.shape[1] + 1
        # Runs are in the order of their rows.
        first, last = np.searchsorted(self.starts, (top * stride, bottom * stride))
        inside = first + np.flatnonzero(chosen[self.labels[first:last]])
        # From rows as long as the picture's to rows as long as the box.
        row = self.starts[inside] // stride
        moved = left + row * stride - (row - top) * (right - left + 1)
        shape = (bottom - top, right - left)
        return paint_runs(self.starts[inside] - moved, self.ends[inside] - moved, shape)


def find_components(mask: Mask, contrast: Plane) -> Components | None:
    """Label a mask and measure each component; None where the mask is empty."""
    height, width = mask.shape
    starts, ends = find_runs(mask)
    if not starts.size:
        return None
    stride = width + 1
    labels = label_runs(starts, ends, stride)
    count = int(labels.max()) + 1
    row, left = np.divmod(starts, stride)
    right = ends - row * stride
    boxes = np.empty((count, 4), np.intp)
    boxes[:] = width, height, 0, 0
    np.minimum.at(boxes[:, 0], labels, left)
    np.minimum.at(boxes[:, 1], labels, row)
    np.maximum.at(boxes[:, 2], labels, right)
    np.maximum.at(boxes[:, 3], labels, row + 1)
    return Components(
        shape=(height, width),
        starts=starts,
        ends=ends,
        labels=labels,
        boxes=boxes,
        area=np.bincount(labels, ends - starts, count).astype(np.intp),
        mass=np.bincount(labels, sum_runs(starts, ends, contrast), count).astype(np.float64),
    )


def sum_runs(starts: IndexArray, ends: IndexArray, values: Plane, power: int = 1) -> Plane:
    """The sum of `values`, (height, width), or of a power of them, over each run."""
    height, width = values.shape
    sums = [np.empty(0, np.float32)]
    for rows in row_slices(height, width):
        first, last = np.searchsorted(starts, (rows.start * (width + 1), rows.stop * (width + 1)))
        if first == last:
            continue
        part = base = values[rows]
        for _ in range(power - 1):
            part = part * base
        row = starts[first:last] // (width + 1)
        before = row + rows.start * width
        # reduceat sums from one index to the next, so every second sum is a run.
        bounds = np.stack((starts[first:last] - before, ends[first:last] - before), axis=1).ravel()
        sums.append(np.add.reduceat(np.append(part.ravel(), np.float32(0)), bounds)[::2])
    return np.concatenate(sums)
