"""Label the 8-connected components of a mask, with NumPy alone.

A mask is encoded as runs: the maximal stretches of True in each row. The runs are labeled by
union-find over whole arrays.

`runtime.preprocess.segment` and `runtime.multi_digit.layout` call `find_components` to find the
pieces of ink in a picture. `runtime.preprocess.ruled_lines` uses the runs.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.preprocess.grayscale import row_slices

Mask = npt.NDArray[np.bool_]  # (height, width); True for ink
IndexArray = npt.NDArray[np.intp]  # positions or counts
Plane = npt.NDArray[np.float32]  # (height, width); one number per pixel


def find_runs(mask: Mask) -> tuple[IndexArray, IndexArray]:
    """Return the positions of all runs of True, row by row and from left to right.

    Pixel (y, x) has the position y * (width + 1) + x. The additional pixel of each row separates
    the runs of two rows.

    Args:
        mask: (height, width) bool.

    Returns:
        starts: (runs,), position of the first pixel of each run.
        ends: (runs,), position after the last pixel of each run.
    """
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
    """Return the mask of some runs: the inverse of `find_runs`.

    Args:
        starts: (runs,), position of the first pixel of each run, see `find_runs`.
        ends: (runs,), position after the last pixel of each run.
        shape: (height, width) of the mask.

    Returns:
        (height, width) bool.
    """
    height, width = shape
    change = np.zeros(height * (width + 1), np.int8)
    change[starts] = 1
    change[ends] = -1
    painted: Mask = np.cumsum(change, dtype=np.int8).view(np.bool_)
    return painted.reshape(height, width + 1)[:, :width]


def label_runs(starts: IndexArray, ends: IndexArray, stride: int) -> IndexArray:
    """Return the number of the 8-connected component of each run.

    The algorithm is union-find over whole arrays. In each round, every root is attached to a
    smaller root whose tree it touches, and all paths are shortened to the root.

    Args:
        starts: (runs,), position of the first pixel of each run, see `find_runs`.
        ends: (runs,), position after the last pixel of each run.
        stride: positions per row, width + 1.

    Returns:
        (runs,), the component, counted from 0; empty if there are no runs.
    """
    first = np.searchsorted(ends, starts + stride, "left")
    counts = np.maximum(np.searchsorted(starts, ends + stride, "right") - first, 0)
    upper = np.repeat(np.arange(starts.size), counts)
    lower = np.arange(upper.size) + np.repeat(first - np.cumsum(counts) + counts, counts)
    root = np.arange(starts.size)
    while True:
        upper_root, lower_root = root[upper], root[lower]
        differ = upper_root != lower_root
        if not differ.any():
            break
        larger, smaller = np.maximum(upper_root, lower_root), np.minimum(upper_root, lower_root)
        root[larger[differ]] = smaller[differ]
        while (root[root] != root).any():
            root = root[root]
    labels: IndexArray = (np.cumsum(root == np.arange(root.size)) - 1)[root]
    return labels


@dataclass(frozen=True)
class Components:
    """The N 8-connected components of a mask.

    Attributes:
        shape: (height, width) of the mask.
        starts: (runs,), position of the first pixel of each run of the mask, see `find_runs`.
        ends: (runs,), position after the last pixel of each run.
        labels: (runs,), the component, 0 to N - 1, of each run.
        boxes: (N, 4), left, top, right, bottom of each component in pixels; right and bottom
            exclusive.
        area: (N,), number of pixels of each component.
        mass: (N,), sum of the contrast of the pixels of each component.
    """

    shape: tuple[int, int]
    starts: IndexArray
    ends: IndexArray
    labels: IndexArray
    boxes: IndexArray
    area: IndexArray
    mass: npt.NDArray[np.float64]

    def paint(self, chosen: Mask, box: tuple[int, int, int, int]) -> Mask:
        """Return the mask of some components, cropped to a box.

        Args:
            chosen: (N,) bool, True for the components to paint.
            box: left, top, right, bottom in pixels; must contain all chosen components.

        Returns:
            (bottom - top, right - left) bool.
        """
        left, top, right, bottom = box
        stride = self.shape[1] + 1
        # Runs are sorted by row.
        first, last = np.searchsorted(self.starts, (top * stride, bottom * stride))
        inside = first + np.flatnonzero(chosen[self.labels[first:last]])
        # Convert positions from rows of the picture's width to rows of the box's width.
        row = self.starts[inside] // stride
        moved = left + row * stride - (row - top) * (right - left + 1)
        shape = (bottom - top, right - left)
        return paint_runs(self.starts[inside] - moved, self.ends[inside] - moved, shape)


def find_components(mask: Mask, contrast: Plane) -> Components | None:
    """Label the components of a mask and measure each.

    Args:
        mask: (height, width) bool, True for ink.
        contrast: float32 (height, width); the `mass` of a component is the sum of its contrast.

    Returns:
        The components; None if the mask is empty.
    """
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
    """Return the sum of `values` ** `power` over each run.

    Args:
        starts: (runs,), position of the first pixel of each run, see `find_runs`.
        ends: (runs,), position after the last pixel of each run.
        values: float32 (height, width).
        power: a positive integer.

    Returns:
        float32 (runs,).
    """
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
        # reduceat sums between successive indices, so every second sum belongs to a run.
        bounds = np.stack((starts[first:last] - before, ends[first:last] - before), axis=1).ravel()
        sums.append(np.add.reduceat(np.append(part.ravel(), np.float32(0)), bounds)[::2])
    return np.concatenate(sums)
