"""Splits the ink of touching digits at every place where a digit may end."""

import numpy as np
import numpy.typing as npt

from runtime.multi_digit.layout import InkComponent
from runtime.preprocess.connected_components import Plane

# At most so many cuts through one component, the cheapest ones.
_MAX_CUTS = 8
# In parts of a digit's height: how far cuts are apart, and how much ink one may go through.
_APART, _MAX_INK = 0.15, 0.6
_MAX_STACKED_PIXELS = 200_000  # of the components in which seams are sought at once


def split_at_seams(
    components: list[InkComponent], height: float
) -> list[list[tuple[InkComponent, float]]]:
    """Cut each component to pieces from left to right, with the cost of the cut before each.

    A cut is the path from top to bottom, a column aside a row at most, through the least ink
    (a seam: S. Avidan and A. Shamir, "Seam carving for content-aware image resizing", 2007).

    Args:
        components: of one line.
        height: of a typical digit, in pixels.

    Returns:
        Each piece and the ink cut through to its left, in parts of the height; 0 for the first.
    """
    fragments: list[list[tuple[InkComponent, float]]] = [[] for _ in components]
    # Blobs of about the same width together, so that little of the stack is padding.
    order = sorted(range(len(components)), key=lambda number: components[number].ink.shape[1])
    while order:
        together = [order.pop()]
        columns, rows = components[together[0]].ink.shape[1], components[together[0]].ink.shape[0]
        while order:
            rows = max(rows, components[order[-1]].ink.shape[0])
            if (len(together) + 1) * columns * rows > _MAX_STACKED_PIXELS:
                break
            together.append(order.pop())
        found = _seams([components[number].ink for number in together])
        for number, (seams, costs) in zip(together, found, strict=True):
            fragments[number] = _cut(components[number], height, seams, costs)
    return fragments


def _cut(
    component: InkComponent, height: float, seams: npt.NDArray[np.intp], costs: Plane
) -> list[tuple[InkComponent, float]]:
    """Cut a component along its cheapest seams that are far enough apart."""
    kept: list[int] = []
    open_to_cut = costs <= _MAX_INK * height
    for number in np.argsort(costs, kind="stable").tolist():
        if len(kept) == _MAX_CUTS:
            break
        if open_to_cut[number]:
            kept.append(number)
            apart = np.abs(seams - seams[number]).mean(axis=1)
            open_to_cut &= apart >= _APART * height
    kept.sort(key=lambda number: float(seams[number].mean()))
    columns = np.arange(component.ink.shape[1])
    fragments: list[tuple[InkComponent, float]] = []
    passed = np.zeros(len(component.ink), np.intp)
    price = 0.0
    for number in [*kept, -1]:
        until = seams[number] if number >= 0 else np.full(len(component.ink), len(columns))
        ours = (columns >= passed[:, None]) & (columns < until[:, None])
        fragment = _tight(np.where(ours, component.ink, np.float32(0)), component)
        if fragment is not None:
            fragments.append((fragment, price if fragments else 0.0))
            price = 0.0
        if number >= 0:
            price = max(price, float(costs[number]) / height)
        passed = np.maximum(passed, until)
    return fragments


def merge_components(fragments: list[InkComponent]) -> InkComponent:
    """The pieces as one."""
    if len(fragments) == 1:
        return fragments[0]
    boxes = np.array([fragment.box for fragment in fragments])
    left, top = (int(edge) for edge in boxes[:, :2].min(axis=0))
    right, bottom = (int(edge) for edge in boxes[:, 2:].max(axis=0))
    ink = np.zeros((bottom - top, right - left), np.float32)
    for fragment in fragments:
        x0, y0, x1, y1 = fragment.box
        part = ink[y0 - top : y1 - top, x0 - left : x1 - left]
        np.maximum(part, fragment.ink, out=part)
    return InkComponent(ink, (left, top, right, bottom))


def _seams(inks: list[Plane]) -> list[tuple[npt.NDArray[np.intp], Plane]]:
    """Return for each column at a component's top: its path, (width, height), and the ink on it.

    Dynamic programming from the bottom up, on all components at once: they stand on the last row.
    """
    rows, columns = (max(ink.shape[axis] for ink in inks) for axis in (0, 1))
    stack = np.full((rows, len(inks), columns), np.inf, np.float32)
    tops = [rows - len(ink) for ink in inks]
    for number, (ink, top) in enumerate(zip(inks, tops, strict=True)):
        stack[top:, number, : ink.shape[1]] = ink
    # The paths' costs from a row on, between two walls.
    cost = np.full((len(inks), columns + 2), np.inf, np.float32)
    cost[:, 1:-1] = stack[-1]
    steps = np.zeros(stack.shape, np.int8)
    for row in range(rows - 2, -1, -1):
        # A step aside costs a little: of two paths through as much ink the straighter one.
        below, aside = cost[:, 1:-1], cost + np.float32(0.05)
        best = np.minimum(below, aside[:, 2:])
        steps[row] = aside[:, 2:] < below
        steps[row][aside[:, :-2] < best] = -1
        stack[row] += np.minimum(best, aside[:, :-2])
        cost[:, 1:-1] = stack[row]
    for number, top in enumerate(tops):
        steps[:top, number] = 0
    paths = np.empty((rows, len(inks), columns), np.intp)
    at = np.arange(columns)[np.newaxis].repeat(len(inks), 0)
    for row in range(rows):
        paths[row] = at
        at = at + np.take_along_axis(steps[row], at, axis=1)
    return [
        (
            np.ascontiguousarray(paths[top:, number, : ink.shape[1]].T),
            stack[top, number, : ink.shape[1]],
        )
        for number, (ink, top) in enumerate(zip(inks, tops, strict=True))
    ]


def _tight(ink: Plane, component: InkComponent) -> InkComponent | None:
    rows, columns = (np.flatnonzero((ink > 0).any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return None
    left, top = component.box[:2]
    x0, x1, y0, y1 = int(columns[0]), int(columns[-1]) + 1, int(rows[0]), int(rows[-1]) + 1
    return InkComponent(ink[y0:y1, x0:x1], (left + x0, top + y0, left + x1, top + y1))
