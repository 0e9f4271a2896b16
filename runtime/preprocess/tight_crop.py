"""Recognize pictures that are cropped to the digit, with a small margin or none.

In a tight crop, ink touches opposite edges and may cover more area than the background. Then the
light cannot be estimated, and a hole looks like ink. But if ink connects opposite edges, the
background cannot connect the other two: the connections would cross. And few corners are ink.

`runtime.preprocess.segment` tries `possible_polarities` first. `is_tight` decides.
"""

from collections.abc import Iterator

import numpy as np

from runtime.preprocess.connected_components import Components, Mask
from runtime.preprocess.grayscale import Gray

_MAX_MARGIN_SHARE = 0.1  # of the picture's height or width; with wider margins, no tight crop
_MIN_RANGE_LEVELS = 40  # of 255; with a smaller range of levels, the picture may have no ink
_INK_SHARE = 0.3  # of the range of levels; a pixel that differs more from the background is ink
_MAX_INK_CORNERS = 2  # of the 4 corners of the picture; a 7 has up to two, a frame four

# The ink is that of a digit only if all of these hold.
_MIN_MASS_SHARE = 0.6  # of the mass of all ink; the share of the heaviest component
_MIN_ASPECT = 0.4  # height / picture's width of a digit that reaches the left and the right edge
_MAX_STROKES = 3.0  # mean number of strokes that a row or a column crosses; a grid has more
_EDGE_SHARE = 0.03  # of height or width; the zone along each edge of the digit's box
_WINDOW_EDGE_SHARE = 0.08  # the same, of a window, whose edges may be blurred
_FULL_SHARE = 0.9  # of a row or column; if two edges of the box are so full, it is a sheet or frame
_MAX_NOISE_SHARE = 1.3  # of the ink's level; a higher noise floor is uneven light, not soft edges
# Width / height of the picture. In a wider one, ink in two corners at one edge is a table or a
# shadow, and the box of the digit may have at most one full edge. Narrower ones may show a 1.
_MAX_NARROW_ASPECT = 0.5
_MIN_WINDOW_SHARE = 0.55  # of its box; the dark part of a window around a light digit
_MIN_CORNERS_SHARE = 0.95  # like `_MIN_MASS_SHARE`, if two corners are ink


def possible_polarities(gray: Gray) -> Iterator[bool]:
    """Yield the polarities with which a picture may be a tight crop, True for dark ink.

    Args:
        gray: uint8 (height, width).
    """
    # Scalars and slices: fancy indexing would take as long as half of the other steps.
    height, width = gray.shape
    low, high = int(gray.min()), int(gray.max())
    if high - low < _MIN_RANGE_LEVELS:
        return
    corners = (gray.item(0, 0), gray.item(0, -1), gray.item(-1, 0), gray.item(-1, -1))
    dark_corners = sum(2 * corner < low + high for corner in corners)
    down, across = int(_MAX_MARGIN_SHARE * height), int(_MAX_MARGIN_SHARE * width)
    above, below, left, right = gray[down], gray[-1 - down], gray[:, across], gray[:, -1 - across]
    if dark_corners <= _MAX_INK_CORNERS:
        limit = high - _INK_SHARE * (high - low)
        if (above.min() < limit and below.min() < limit) or (
            left.min() < limit and right.min() < limit
        ):
            yield True
    if 4 - dark_corners <= _MAX_INK_CORNERS:
        limit = low + _INK_SHARE * (high - low)
        if (above.max() > limit and below.max() > limit) or (
            left.max() > limit and right.max() > limit
        ):
            yield False


def is_tight(mask: Mask, components: Components, noise_share: float) -> bool:
    """Return whether the heaviest component is a digit that fills the picture.

    Args:
        mask: (height, width) bool, True for ink.
        components: the components of the mask.
        noise_share: the noise floor of the background, divided by the level of the ink.
    """
    height, width = mask.shape
    main = int(components.mass.argmax())
    left, top, right, bottom = components.boxes[main].tolist()
    down, across = _MAX_MARGIN_SHARE * height, _MAX_MARGIN_SHARE * width
    spans_height = top <= down and bottom >= height - down
    spans_width = left <= across and right >= width - across
    if not (spans_height or (spans_width and bottom - top >= _MIN_ASPECT * width)):
        return False
    corners = _corners(mask)
    count = np.count_nonzero(corners)
    min_share = _MIN_MASS_SHARE if count < _MAX_INK_CORNERS else _MIN_CORNERS_SHARE
    if count > _MAX_INK_CORNERS or components.mass[main] < min_share * components.mass.sum():
        return False
    strokes = max(components.starts.size / height, np.count_nonzero(mask[1:] > mask[:-1]) / width)
    if strokes > _MAX_STROKES:
        return False
    even = bool(noise_share <= _MAX_NOISE_SHARE)
    if width <= _MAX_NARROW_ASPECT * height:
        return even or bool(count < _MAX_INK_CORNERS)
    if count == _MAX_INK_CORNERS and corners[0] != corners[3]:  # two corners at one edge
        return False
    return even and _full_edges(mask[top:bottom, left:right]) < 2


def is_window(shape: Mask) -> bool:
    """Return whether a shape is a filled block with something in it, like the window of a counter.

    Args:
        shape: (height, width) bool, cropped to the shape.
    """
    ink = np.count_nonzero(shape)
    return (
        bool(ink >= _MIN_WINDOW_SHARE * shape.size) and _full_edges(shape, _WINDOW_EDGE_SHARE) == 4
    )


def _corners(mask: Mask) -> Mask:
    """Return the corner pixels: top left, top right, bottom left, bottom right."""
    return mask[[0, 0, -1, -1], [0, -1, 0, -1]]


def _full_edges(shape: Mask, edge_share: float = _EDGE_SHARE) -> int:
    """Return the number of edges of a shape's box that are covered with ink, 0 to 4.

    Args:
        shape: (height, width) bool, cropped to the shape.
        edge_share: of the height or width; the zone along each edge that is examined.
    """
    down, across = (int(edge_share * side) + 1 for side in shape.shape)
    edges = (shape[:down], shape[-down:], shape[:, :across].T, shape[:, -across:].T)
    return sum(bool(edge.mean(axis=1).max() >= _FULL_SHARE) for edge in edges)
