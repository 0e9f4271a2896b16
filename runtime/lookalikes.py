"""Recognize the letter B, which the network predicts as 8.

A B has a straight left edge; an 8 has a waist. `runtime.Classifier` calls `has_straight_left_edge`
for each image that is predicted as 8, and rejects the image if the result is True.
"""

from runtime.backends import Pixels

_SIDE_PX = 28  # width and height of MNIST's images
_INK_LEVEL = 100  # of 255; a pixel of at least this level is ink, other pixels are background
_MIN_HEIGHT_PX = 10  # ink that is less high counts as not straight
_CURVE_SHARE = 0.12  # of the ink's height; ignored at the top and at the bottom, where a B curves

# Pixels, if the ink is 20 px high. The left edge is straight if all points of it are nearer to the
# fitted line. In MNIST's training set, 3 in 10,000 of the 8s have such an edge.
_MAX_DEVIATION_PX = 0.4
_DEVIATION_HEIGHT_PX = 20  # ink height for which `_MAX_DEVIATION_PX` holds

_IS_INK = bytes(level >= _INK_LEVEL for level in range(256))  # table for bytes.translate: 1 is ink


def has_straight_left_edge(pixels: Pixels) -> bool:
    """Return whether the left edge of the ink is one straight line, upright or slanted.

    A line is fitted by least squares to the first ink pixel of each row, with subpixel accuracy.

    Args:
        pixels: (28, 28, 1) uint8 in MNIST's format; 0 is background.

    Returns:
        False also if there is no ink, if the ink is less than 10 px high, or if a row within the
        ink is empty.
    """
    # Bytes are three times as fast as NumPy on an array this small.
    data = pixels.tobytes()
    is_ink = data.translate(_IS_INK)
    first_ink = [is_ink.find(1, row, row + _SIDE_PX) for row in range(0, len(data), _SIDE_PX)]
    inked_rows = [y for y, index in enumerate(first_ink) if index >= 0]
    height = inked_rows[-1] - inked_rows[0] + 1 if inked_rows else 0
    if height < _MIN_HEIGHT_PX or len(inked_rows) < height:
        return False
    skipped_rows = round(_CURVE_SHARE * height)
    rows = inked_rows[skipped_rows : height - skipped_rows]
    edge = []
    for y in rows:
        index = first_ink[y]
        x, level = index - _SIDE_PX * y, data[index]
        level_left = data[index - 1] if index % _SIDE_PX else 0
        # Interpolate the position at which the level crosses _INK_LEVEL.
        edge.append(x - (level - _INK_LEVEL) / (level - level_left))
    mean_y, mean_x = sum(rows) / len(rows), sum(edge) / len(edge)
    slope = sum((y - mean_y) * x for y, x in zip(rows, edge, strict=True))
    slope /= sum((y - mean_y) ** 2 for y in rows)
    deviations = [abs(x - mean_x - slope * (y - mean_y)) for y, x in zip(rows, edge, strict=True)]
    return max(deviations) < _MAX_DEVIATION_PX * height / _DEVIATION_HEIGHT_PX
