"""Find the region around a digit: a sheet on a desk, a window in a panel, a drawn circle.

A region is a connected part of the picture that is lighter or darker than its surroundings, or
enclosed by a line. It is convex, and the digit is a gap in it. `runtime.preprocess.segment`
segments the digit in the region alone, so that the surroundings do not decide the polarity.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from runtime.preprocess.connected_components import Components, IndexArray, Mask, find_components
from runtime.preprocess.grayscale import Gray

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels; right and bottom exclusive

MIN_WINDOW_PX = 16  # shorter side of a region's box
_MIN_AREA_SHARE = 0.3  # of its box; the area of a region, which may be tilted
_MAX_EDGES = 1  # of the picture, 4 in all; what touches more is a shadow or the background
_MAX_CANDIDATES = 8  # the largest and most central parts of the picture; others are left out
_CENTER_DECAY = 4  # the score is the box's area times exp(-4 d²); d as for the digit

_FRINGE_PX = 1  # soft outermost pixels of a region, which do not count
_RIM_SHARE = 0.05  # of the box's shorter side; the width of the rim, without the fringe
_MIN_RIM_PX = 2
_MIN_RIM_COVER = 0.95  # of the rim; a part that covers less is not convex
_MIN_GAP_SHARE = 0.01  # of the region inside the rim; a smaller gap is not a digit
_MAX_GAP_SHARE = 0.4  # of the region inside the rim; a larger gap is not a digit

# A gap in a thick 0 or 8 is like a hole: compact. A hole has at least this share of the ellipse
# with the same covariance. A rectangle has 0.95, a triangle 0.83. The second number is subtracted,
# times the gap's share of the region: the large hole of a 0 may have a notch.
_MIN_HOLE_SHARE = 0.85
_HOLE_SHARE_SLOPE = 0.35
_MIN_PIECE_SHARE = 0.03  # of the largest piece of the gap; smaller pieces are specks
_MAX_HOLES = 3  # the largest pieces of the gap; only these are compared with holes
# A 1 without a flag is compact too. Its width / length and its share of the region are at most the
# first two of these numbers. The free widths across and along it differ by at least the third as a
# factor; around the hole of a 0 they are the widths of the strokes, which are alike.
_MAX_ONE_ASPECT = 0.3
_MAX_ONE_SHARE = 0.17
_MIN_FREE_RATIO = 1.4

Corners = npt.NDArray[np.float64]  # (N, 2), x and y of the corners of a polygon


@dataclass(frozen=True)
class Region:
    """A region around a digit.

    Attributes:
        box: of the region in the picture.
        gray: uint8, the region in its box. Its rim and the pixels around it have the median level
            of its ground.
        others: boxes of the other parts of the picture that may be regions, (N, 4).
    """

    box: Box
    gray: Gray
    others: IndexArray


def find_region(gray: Gray, split: Mask, around: Box | None) -> Region | None:
    """Find the region around a digit.

    Args:
        gray: uint8 (height, width).
        split: (height, width) bool, divides the picture in two; a region is on one side.
        around: box of ink; the region is around it, inside it or the same. None allows all.

    Returns:
        The largest and most central region, but not the whole picture; None if there is none.
    """
    found = []
    for mask in (split, ~split):
        components = find_components(mask, split.astype(np.float32))
        if components is None:
            continue
        for score, number, others in _candidates(components, around):
            left, top, right, bottom = box = tuple(components.boxes[number].tolist())
            part = np.s_[top:bottom, left:right]
            shape = components.paint(np.arange(components.area.size) == number, box)
            inside = _inside(shape, mask[part])
            if inside is not None:
                ground = np.uint8(np.median(gray[part][shape & inside]))
                found.append((score, Region(box, np.where(inside, gray[part], ground), others)))
                break
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _candidates(
    components: Components, around: Box | None
) -> Iterator[tuple[float, int, IndexArray]]:
    """Yield the parts of the picture that may be regions, the largest and most central first.

    Yields:
        The score, the number of the component, and the boxes of the other parts.
    """
    height, width = components.shape
    boxes = components.boxes
    size = boxes[:, 2:] - boxes[:, :2]
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    fits = (boxes == (0, 0, width, height)).sum(axis=1) <= _MAX_EDGES
    fits &= size.min(axis=1) >= MIN_WINDOW_PX
    fits &= components.area >= _MIN_AREA_SHARE * size.prod(axis=1)
    parts = np.flatnonzero(fits)
    distance = center / (width, height) - 0.5
    score = size.prod(axis=1) * np.exp(-_CENTER_DECAY * (distance**2).sum(axis=1))
    if around is not None:
        fits &= (boxes[:, :2] < around[2:]).all(axis=1) & (boxes[:, 2:] > around[:2]).all(axis=1)
    best = np.flatnonzero(fits)
    for number in best[np.argsort(-score[best])][:_MAX_CANDIDATES].tolist():
        yield float(score[number]), number, boxes[parts[parts != number]]


def _inside(shape: Mask, mask: Mask) -> Mask | None:
    """Return the pixels of a region inside its rim; None if the shape is not a region.

    Args:
        shape: (height, width) bool, a part of the picture, cropped to its box.
        mask: (height, width) bool, all parts on the same side of the split.
    """
    height, width = shape.shape
    side = min(height, width)
    corners = convex_hull(shape)
    center = np.mean(np.nonzero(shape), axis=1)[::-1]
    fringe = 2 * _FRINGE_PX / side
    rim_width = max(2 * _RIM_SHARE, fringe + 2 * _MIN_RIM_PX / side)
    whole = fill_polygon(center + (1 - fringe) * (corners - center), height, width)
    inside = fill_polygon(center + (1 - rim_width) * (corners - center), height, width)
    rim = whole & ~inside
    if np.count_nonzero(shape & rim) < _MIN_RIM_COVER * np.count_nonzero(rim):
        return None
    gap = inside & ~mask
    share = np.count_nonzero(gap) / max(int(np.count_nonzero(inside)), 1)
    if not _MIN_GAP_SHARE <= share <= _MAX_GAP_SHARE or _is_hole(gap, inside, share):
        return None
    return inside


def convex_hull(shape: Mask) -> Corners:
    """Return the corners of a shape's convex hull, by A. M. Andrew's monotone chain (1979).

    Args:
        shape: (height, width) bool, not empty.

    Returns:
        (N, 2), x and y of pixels of the shape.
    """
    rows = np.flatnonzero(shape.any(axis=1))
    first = shape[rows].argmax(axis=1)
    last = shape.shape[1] - 1 - shape[rows, ::-1].argmax(axis=1)
    left, right = (
        _chain(list(zip((sign * ends).tolist(), rows.tolist(), strict=True)))
        for sign, ends in ((1, first), (-1, last))
    )
    return np.array(left + [(-x, y) for x, y in reversed(right)], np.float64)


def _chain(points: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the points, sorted by y, that are corners of the left half of their convex hull."""
    kept: list[tuple[int, int]] = []
    for x, y in points:
        while len(kept) > 1:
            (x0, y0), (x1, y1) = kept[-2:]
            if (x1 - x0) * (y - y0) < (y1 - y0) * (x - x0):
                break
            kept.pop()
        kept.append((x, y))
    return kept


def fill_polygon(corners: Corners, height: int, width: int) -> Mask:
    """Return the mask (height, width) of a polygon.

    Args:
        corners: (N, 2), x and y in pixels.
        height: of the mask in pixels.
        width: of the mask in pixels.
    """
    image = Image.new("1", (width, height))
    ImageDraw.Draw(image).polygon([(x, y) for x, y in corners.tolist()], fill=1)
    return np.asarray(image)


def _is_hole(gap: Mask, inside: Mask, share: float) -> bool:
    """Return whether a gap is the hole of a thick 0, or the holes of a thick 8, but not a 1.

    Args:
        gap: (height, width) bool, not empty.
        inside: (height, width) bool, the region.
        share: of the region that the gap has.
    """
    pieces = find_components(gap, gap.astype(np.float32))
    assert pieces is not None
    largest = np.argsort(-pieces.area)[:_MAX_HOLES]
    largest = largest[pieces.area[largest] >= _MIN_PIECE_SHARE * pieces.area[largest[0]]]
    min_share = _MIN_HOLE_SHARE - _HOLE_SHARE_SLOPE * share
    for number in largest.tolist():
        piece = pieces.paint(np.arange(pieces.area.size) == number, tuple(pieces.boxes[number]))
        variances, axes = np.linalg.eigh(_covariance(piece))
        if pieces.area[number] < min_share * 4 * np.pi * np.sqrt(variances.prod()):
            return False
    is_narrow = variances[0] <= _MAX_ONE_ASPECT**2 * variances[1]
    if largest.size > 1 or not is_narrow or share > _MAX_ONE_SHARE:
        return True
    around = np.diag(axes.T @ _covariance(inside) @ axes)
    across, along = np.sqrt(around) - np.sqrt(variances)
    return bool(max(across, along) < _MIN_FREE_RATIO * min(across, along))


def _covariance(shape: Mask) -> npt.NDArray[np.float64]:
    """Return the covariance (2, 2) of the coordinates of a shape's pixels, which have an area."""
    y, x = np.nonzero(shape)
    return np.cov(y, x, bias=True) + np.eye(2) / 12
