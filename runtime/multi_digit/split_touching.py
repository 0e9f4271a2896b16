"""Splits the ink of touching digits along vertical seams.

A seam is a place where one digit may end and the next begin. `split_at_seams` cuts a connected
component along its cheapest seams into more fragments than it has digits (oversegmentation).
`runtime.multi_digit.recognize` then joins the fragments again with `merge_components`, choosing the
combination that looks most like digits. `runtime.multi_digit.verify` chooses among the seams
between two digits itself, with `ink_seams`.
"""

import numpy as np

from runtime.multi_digit.layout import InkComponent, bounding_box
from runtime.preprocess.connected_components import IndexArray, Plane

_MAX_CUTS = 8  # per component; the cheapest ones are made
_MIN_DISTANCE_HEIGHTS = 0.15  # digit heights; mean horizontal distance between two cuts
_MAX_COST_HEIGHTS = 0.6  # digit heights; a cut of a higher cost is not made
_DIAGONAL_COST = np.float32(0.05)  # pixels of full ink; of seams through equal ink, a straight one
_MAX_STACKED_PIXELS = 200_000  # of the components whose seams are computed at once


def split_at_seams(
    components: list[InkComponent], height: float
) -> list[list[tuple[InkComponent, float]]]:
    """Cut each component into fragments, from left to right.

    A cut is a seam: the cheapest path from top to bottom that moves at most one column per row
    (S. Avidan and A. Shamir, "Seam carving for content-aware image resizing", 2007). Its cost is
    the ink on it plus `_DIAGONAL_COST` per diagonal step.

    Args:
        components: of one line.
        height: of a typical digit, in pixels.

    Returns:
        For each component its fragments, each with the cost of the cut to its left in digit
        heights; 0 for the first fragment.
    """
    fragments: list[list[tuple[InkComponent, float]]] = [[] for _ in components]
    # Stack components of similar width, so that there is little padding.
    order = sorted(range(len(components)), key=lambda index: components[index].ink.shape[1])
    while order:
        stacked = [order.pop()]
        rows, columns = components[stacked[0]].ink.shape
        while order:
            rows = max(rows, components[order[-1]].ink.shape[0])
            if (len(stacked) + 1) * columns * rows > _MAX_STACKED_PIXELS:
                break
            stacked.append(order.pop())
        all_seams = _seams([components[index].ink for index in stacked])
        for index, (seams, costs) in zip(stacked, all_seams, strict=True):
            fragments[index] = _cut(components[index], height, seams, costs)
    return fragments


def _cut(
    component: InkComponent, height: float, seams: IndexArray, costs: Plane
) -> list[tuple[InkComponent, float]]:
    """Cut a component along its cheapest seams that are far enough apart.

    Args:
        component: to be cut.
        height: of a typical digit, in pixels.
        seams: (width, height) as returned by `_seams`.
        costs: (width,), cost of each seam.

    Returns:
        See `split_at_seams`.
    """
    cuts: list[int] = []
    allowed = costs <= _MAX_COST_HEIGHTS * height
    for index in np.argsort(costs, kind="stable").tolist():
        if len(cuts) == _MAX_CUTS:
            break
        if allowed[index]:
            cuts.append(index)
            distance = np.abs(seams - seams[index]).mean(axis=1)
            allowed &= distance >= _MIN_DISTANCE_HEIGHTS * height
    cuts.sort(key=lambda index: float(seams[index].mean()))
    columns = np.arange(component.ink.shape[1])
    fragments: list[tuple[InkComponent, float]] = []
    left = np.zeros(len(component.ink), np.intp)  # of the current fragment, in each row
    cost = 0.0
    for index in [*cuts, None]:
        right = np.full(len(component.ink), len(columns)) if index is None else seams[index]
        inside = (columns >= left[:, None]) & (columns < right[:, None])
        fragment = _crop(np.where(inside, component.ink, np.float32(0)), component)
        if fragment is not None:
            fragments.append((fragment, cost if fragments else 0.0))
            cost = 0.0
        if index is not None:
            cost = max(cost, float(costs[index]) / height)
        left = np.maximum(left, right)
    return fragments


def merge_components(fragments: list[InkComponent]) -> InkComponent:
    """Return one component with the ink of all `fragments`."""
    if len(fragments) == 1:
        return fragments[0]
    boxes = np.array([fragment.box for fragment in fragments])
    left, top, right, bottom = bounding_box(boxes)
    ink = np.zeros((bottom - top, right - left), np.float32)
    for fragment in fragments:
        x0, y0, x1, y1 = fragment.box
        part = ink[y0 - top : y1 - top, x0 - left : x1 - left]
        np.maximum(part, fragment.ink, out=part)
    return InkComponent(ink, (left, top, right, bottom))


def _seams(inks: list[Plane]) -> list[tuple[IndexArray, Plane]]:
    """Compute the seam that starts at each column of each component's top row.

    Dynamic programming from the bottom row up, on a stack of all components, aligned at the bottom.

    Args:
        inks: (height, width) of each component.

    Returns:
        For each component: the column of each seam in each row, (width, height); and the cost of
        each seam, (width,).
    """
    rows, columns = (max(ink.shape[axis] for ink in inks) for axis in (0, 1))
    stack = np.full((rows, len(inks), columns), np.inf, np.float32)
    tops = [rows - len(ink) for ink in inks]
    for index, (ink, top) in enumerate(zip(inks, tops, strict=True)):
        stack[top:, index, : ink.shape[1]] = ink
    # Cost of the seams from the current row down, with an infinite column at both sides.
    cost = np.full((len(inks), columns + 2), np.inf, np.float32)
    cost[:, 1:-1] = stack[-1]
    steps = np.zeros(stack.shape, np.int8)
    for row in range(rows - 2, -1, -1):
        below, diagonal = cost[:, 1:-1], cost + _DIAGONAL_COST
        best = np.minimum(below, diagonal[:, 2:])
        steps[row] = diagonal[:, 2:] < below
        steps[row][diagonal[:, :-2] < best] = -1
        stack[row] += np.minimum(best, diagonal[:, :-2])
        cost[:, 1:-1] = stack[row]
    for index, top in enumerate(tops):
        steps[:top, index] = 0
    paths = np.empty((rows, len(inks), columns), np.intp)
    column = np.arange(columns)[np.newaxis].repeat(len(inks), 0)
    for row in range(rows):
        paths[row] = column
        column = column + np.take_along_axis(steps[row], column, axis=1)
    return [
        (
            np.ascontiguousarray(paths[top:, index, : ink.shape[1]].T),
            stack[top, index, : ink.shape[1]],
        )
        for index, (ink, top) in enumerate(zip(inks, tops, strict=True))
    ]


def ink_seams(ink: Plane) -> tuple[IndexArray, Plane]:
    """Compute the seam that starts at each column of a plane's top row, see `split_at_seams`.

    Args:
        ink: (height, width).

    Returns:
        The column of each seam in each row, (width, height); and the cost of each seam, (width,):
        the ink on it plus `_DIAGONAL_COST` per diagonal step.
    """
    return _seams([ink])[0]


def _crop(ink: Plane, component: InkComponent) -> InkComponent | None:
    """Crop part of a component's ink, of the same shape, to its bounding box; None if empty."""
    rows, columns = (np.flatnonzero((ink > 0).any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return None
    left, top = component.box[:2]
    x0, x1, y0, y1 = int(columns[0]), int(columns[-1]) + 1, int(rows[0]), int(rows[-1]) + 1
    return InkComponent(ink[y0:y1, x0:x1], (left + x0, top + y0, left + x1, top + y1))
