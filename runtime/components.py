"""Connected components of a mask, from its runs: whole-array NumPy, no other library."""

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Index = npt.NDArray[np.intp]


def find_runs(mask: Mask) -> tuple[Index, Index]:
    """Start and end (exclusive) of each row's runs, counted along rows of width + 1 pixels."""
    height, width = mask.shape
    line = np.zeros(height * (width + 1) + 1, np.int8)
    line[1:].reshape(height, width + 1)[:, :width] = mask
    change = line[1:] - line[:-1]
    return np.flatnonzero(change == 1), np.flatnonzero(change == -1)


def paint_runs(starts: Index, ends: Index, shape: tuple[int, int]) -> Mask:
    """The mask of these runs: the reverse of `find_runs`."""
    height, width = shape
    change = np.zeros(height * (width + 1), np.int8)
    change[starts] = 1
    change[ends] = -1
    painted: Mask = np.cumsum(change, dtype=np.int8).view(np.bool_)
    return painted.reshape(height, width + 1)[:, :width]


def label_runs(starts: Index, ends: Index, stride: int) -> Index:
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
