"""Cuts ink in which digits touch into pieces, at every place where a digit may end."""

import numpy as np
import numpy.typing as npt

from runtime.components import Plane
from runtime.layout import Blob

# At most so many cuts through one blob, the cheapest ones.
_MOST_CUTS = 8
# In parts of a digit's height: how far cuts are apart, and how much ink one may go through.
_APART, _MOST_INK = 0.15, 0.6


def cut(blob: Blob, height: float) -> list[tuple[Blob, float]]:
    """Pieces of a blob from left to right, and what the cut before each goes through.

    A cut is the path from top to bottom, a column aside a row at most, through the least ink
    (a seam: S. Avidan and A. Shamir, "Seam carving for content-aware image resizing", 2007).

    Args:
        height: of a typical digit, in pixels.

    Returns:
        Each piece and the ink cut through to its left, in parts of the height; 0 for the first.
    """
    seams, costs = _seams(blob.ink)
    kept: list[int] = []
    for number in np.argsort(costs, kind="stable"):
        if costs[number] > _MOST_INK * height or len(kept) == _MOST_CUTS:
            break
        apart = [np.abs(seams[number] - seams[other]).mean() for other in kept]
        if all(gap >= _APART * height for gap in apart):
            kept.append(int(number))
    kept.sort(key=lambda number: float(seams[number].mean()))
    columns = np.arange(blob.ink.shape[1])
    pieces: list[tuple[Blob, float]] = []
    passed = np.zeros(len(blob.ink), np.intp)
    price = 0.0
    for number in [*kept, -1]:
        until = seams[number] if number >= 0 else np.full(len(blob.ink), len(columns))
        ours = (columns >= passed[:, None]) & (columns < until[:, None])
        piece = _tight(np.where(ours, blob.ink, np.float32(0)), blob)
        if piece is not None:
            pieces.append((piece, price if pieces else 0.0))
            price = 0.0
        if number >= 0:
            price = max(price, float(costs[number]) / height)
        passed = np.maximum(passed, until)
    return pieces


def join(pieces: list[Blob]) -> Blob:
    """The pieces as one."""
    boxes = np.array([piece.box for piece in pieces])
    left, top = (int(edge) for edge in boxes[:, :2].min(axis=0))
    right, bottom = (int(edge) for edge in boxes[:, 2:].max(axis=0))
    ink = np.zeros((bottom - top, right - left), np.float32)
    for piece in pieces:
        x0, y0, x1, y1 = piece.box
        part = ink[y0 - top : y1 - top, x0 - left : x1 - left]
        np.maximum(part, piece.ink, out=part)
    return Blob(ink, (left, top, right, bottom))


def _seams(ink: Plane) -> tuple[npt.NDArray[np.intp], Plane]:
    """For each column at the top: its path, (width, height) columns, and the ink on it."""
    rows, columns = ink.shape
    # The paths' costs from a row on, between two walls.
    cost = np.full(columns + 2, np.inf, np.float32)
    cost[1:-1] = ink[-1]
    steps = np.zeros((rows, columns), np.intp)
    for row in range(rows - 2, -1, -1):
        # A step aside costs a little: of two paths through as much ink the straighter one.
        below, aside = cost[1:-1], cost + np.float32(0.05)
        best = np.minimum(below, aside[2:])
        steps[row] = aside[2:] < below
        steps[row][aside[:-2] < best] = -1
        cost[1:-1] = ink[row] + np.minimum(best, aside[:-2])
    seams = np.empty((columns, rows), np.intp)
    at = np.arange(columns)
    for row in range(rows):
        seams[:, row] = at
        at = at + steps[row, at]
    return seams, cost[1:-1]


def _tight(ink: Plane, blob: Blob) -> Blob | None:
    rows, columns = (np.flatnonzero((ink > 0).any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return None
    left, top = blob.box[:2]
    x0, x1, y0, y1 = int(columns[0]), int(columns[-1]) + 1, int(rows[0]), int(rows[-1]) + 1
    return Blob(ink[y0:y1, x0:x1], (left + x0, top + y0, left + x1, top + y1))
