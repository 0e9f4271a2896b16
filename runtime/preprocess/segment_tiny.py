"""Segment the ink of one digit in small, evenly lit pictures, in microseconds.

This is a faster version of `runtime.preprocess.segment` for pictures of at most `MAX_SIDE_PX` a
side. `runtime.preprocess.pipeline` calls `segment_digit` of this module first. If the result is
None, it calls `segment_digit` of `runtime.preprocess.segment`.

For so few pixels, a NumPy call costs more than the work in it. So a mask is a Python integer with
one bit per pixel; the first pixel is the highest bit. Components are flood-filled by shifts.
"""

import math

import numpy as np
import numpy.typing as npt

from runtime.preprocess.background import MIN_AREA_PX, MIN_CONTRAST_LEVELS, NOISE_FACTOR
from runtime.preprocess.connected_components import Plane
from runtime.preprocess.grayscale import Gray
from runtime.preprocess.segment import (
    BORDER_FACTOR,
    CENTER_DECAY,
    CORNER_FACTOR,
    FORMAT_DIGIT_PX,
    MAX_CORNER_SHARE,
    MAX_JOIN_ROUNDS,
    MAX_PIECE_GAP_SHARE,
    MAX_SOFT_SIDE_PX,
    MIN_PIECE_SHARE,
    MIN_STROKE_PX,
    NOISE_LEVEL_SHARE,
    STROKE_LEVEL_SHARE,
    Box,
    Segment,
    dilate_thin_strokes,
)

# Width and height. Larger pictures are left to `runtime.preprocess.segment`, which removes ruled
# lines too. In the small ones, the soft edge of a stroke is a whole pixel wide; it is kept.
MAX_SIDE_PX = MAX_SOFT_SIDE_PX

# Beyond one of these limits, the picture is left to `runtime.preprocess.segment`.
# The rim is the outermost rows and columns. Its gray levels (of 255) spread more in uneven light.
_MAX_RIM_SPREAD_LEVELS = 20  # difference of the rim's 10th and 90th percentile
_MAX_OPPOSITE_SHARE = 0.35  # of the ink's highest contrast: marks of the opposite polarity
_MAX_COMPONENTS = 24  # number of pieces of ink
# Times the noise floor. With a lower highest contrast, there may be no ink, and the picture is left
# to `runtime.preprocess.segment` too.
_MIN_PEAK_FACTOR = 2

# Of the highest contrast. The ink's mean contrast is the mean of the pixels above this.
_STRONG_SHARE = 0.5
_LEVELS = bytes(range(256))  # all gray levels; bytes.translate deletes the levels of a slice


def segment_digit(gray: Gray) -> Segment | None:
    """Segment the digit in a small gray picture.

    Args:
        gray: uint8 (height, width), each at most `MAX_SIDE_PX`.

    Returns:
        The segment; never marked as implausible. None if the light is uneven, if there are both
        lighter and darker marks, or if there is little or no ink. Then call
        `runtime.preprocess.segment.segment_digit`.
    """
    height, width = gray.shape
    data = gray.tobytes()
    rim = sorted(data[:width] + data[-width:] + data[::width] + data[width - 1 :: width])
    count = len(rim)
    if rim[count * 9 // 10] - rim[count // 10] > _MAX_RIM_SPREAD_LEVELS:
        return None
    ground = rim[count // 2]
    # Half the distance of these percentiles is the standard deviation of a normal distribution.
    noise = (rim[count * 84 // 100] - rim[count * 16 // 100]) / 2
    floor = max(NOISE_FACTOR * noise, MIN_CONTRAST_LEVELS)
    # All pixels that differ from the background by more than noise.
    marks = data.translate(None, _LEVELS[max(ground - int(floor), 0) : ground + int(floor) + 1])
    if not marks:
        return None
    lighter, darker = max(marks) - ground, ground - min(marks)
    peak, opposite = max(lighter, darker), min(lighter, darker)
    if peak <= _MIN_PEAK_FACTOR * floor or opposite > _MAX_OPPOSITE_SHARE * peak:
        return None
    dark = darker > lighter
    _, strong = _split(ground, int(_STRONG_SHARE * peak), dark)
    strokes = data.translate(None, _LEVELS[: strong.start] + _LEVELS[strong.stop :])
    level = abs(ground - sum(strokes) / len(strokes))
    threshold = int(max(STROKE_LEVEL_SHARE * level, NOISE_LEVEL_SHARE * floor))
    digits, _ = _split(ground, threshold, dark)
    bits = int(data.translate(digits), 2)
    last_column = _last_column(width, height)
    if bits & last_column and bits >> (width - 1) & last_column:
        return None  # ink at both sides: shifts would connect the end of a row with the next row
    chosen = _choose(bits, width, height)
    if chosen is None:
        return None
    kept, box = chosen
    left, top, right, bottom = box
    part = np.frombuffer(data, np.uint8).reshape(height, width)[top:bottom, left:right]
    ink: Plane = np.subtract(part, ground, dtype=np.float32)
    ink *= np.float32((-1 if dark else 1) / level)
    np.minimum(ink, 1, out=ink)
    faint, _ = _split(ground, int(NOISE_LEVEL_SHARE * floor), dark)
    soft = kept | kept << 1 | kept >> 1
    soft = (soft | soft << width | soft >> width) & int(data.translate(faint), 2)
    ink *= _mask(soft, width, height)[top:bottom, left:right]
    # Estimate the stroke width as `dilate_thin_strokes` does, but more quickly and roughly. Strokes
    # are wide enough if the estimate is at least 0.5 px more than necessary.
    steps = (kept ^ kept >> 1).bit_count() + (kept ^ kept >> width).bit_count()
    wide_enough = MIN_STROKE_PX * max(ink.shape) / FORMAT_DIGIT_PX
    if 2 * kept.bit_count() > (wide_enough + 0.5) * math.pi / 4 * steps:
        return Segment(ink, box, dark)
    return Segment(dilate_thin_strokes(ink), box, dark)


def _split(ground: int, threshold: int, dark: bool) -> tuple[bytes, slice]:
    """Return the gray levels that differ from the background by more than a threshold.

    Args:
        ground: gray level of the background.
        threshold: in gray levels.
        dark: whether to return the darker levels; otherwise the lighter ones.

    Returns:
        A table for bytes.translate that maps these levels to "1" and all other levels to "0"; and
        the range of these levels.
    """
    if dark:
        end = max(ground - threshold, 0)
        return b"1" * end + b"0" * (256 - end), slice(0, end)
    start = min(ground + threshold + 1, 256)
    return b"0" * start + b"1" * (256 - start), slice(start, 256)


def _last_column(width: int, height: int) -> int:
    """Return the mask of the last column."""
    return ((1 << width * height) - 1) // ((1 << width) - 1)


def _mask(bits: int, width: int, height: int) -> npt.NDArray[np.bool_]:
    """Convert a mask from an integer to an array (height, width)."""
    size = width * height
    packed = (bits << -size % 8).to_bytes((size + 7) // 8, "big")
    mask = np.unpackbits(np.frombuffer(packed, np.uint8), count=size)
    return mask.reshape(height, width).view(np.bool_)


def _choose(bits: int, width: int, height: int) -> tuple[int, Box] | None:
    """Choose the component that is most likely the digit, and the pieces close to this component.

    The rules are the ones of `runtime.preprocess.segment`, with the area instead of the ink's mass.

    Returns:
        The mask of the digit, and its box; None if there is no digit or too many components.
    """
    components: list[tuple[int, int, Box, int]] = []
    remaining = bits
    while remaining:
        if len(components) == _MAX_COMPONENTS:
            return None
        component = _grow(remaining & -remaining, remaining, width)
        remaining ^= component
        area = component.bit_count()
        box = _box(component, width, height)
        rims = (box[0] == 0) + (box[1] == 0) + (box[2] == width) + (box[3] == height)
        components.append((component, area, box, rims))
    if not components:
        return None
    main = components[0]
    if len(components) > 1:
        main = max(components, key=lambda item: _score(item[1], item[2], item[3], width, height))
    kept, area, box, rims = main
    if area < MIN_AREA_PX or _is_corner(box, rims, width, height):
        return None
    min_area = MIN_PIECE_SHARE * area
    near = [item for item in components if item[1] > min_area and (not item[3] or rims)]
    for _ in range(MAX_JOIN_ROUNDS if len(near) > 1 else 0):
        reach = MAX_PIECE_GAP_SHARE * max(box[2] - box[0], box[3] - box[1])
        for component, _, other, _ in near:
            gap = max(other[0] - box[2], other[1] - box[3], box[0] - other[2], box[1] - other[3])
            if gap <= reach:
                kept |= component
        box = _box(kept, width, height)
    return kept, box


def _grow(seed: int, mask: int, width: int) -> int:
    """Return the 8-connected component of the mask that contains the seed."""
    grown = seed
    while True:
        widened = grown | grown << 1 | grown >> 1
        larger = (widened | widened << width | widened >> width) & mask
        if larger == grown:
            return grown
        grown = larger


def _box(component: int, width: int, height: int) -> Box:
    """Return the bounding box of a component."""
    above = height - 1 - (component.bit_length() - 1) // width
    below = ((component & -component).bit_length() - 1) // width
    rows = component >> (below * width)
    # OR all rows into the last one, in log2(rows) steps.
    step = 1
    while step < height - above - below:
        rows |= rows >> (step * width)
        step *= 2
    columns = rows & ((1 << width) - 1)
    after = (columns & -columns).bit_length() - 1
    return width - columns.bit_length(), above, width - after, height - below


def _is_corner(box: Box, rims: int, width: int, height: int) -> bool:
    """Return whether a component that touches `rims` edges is a small one in a corner."""
    area = (box[2] - box[0]) * (box[3] - box[1])
    return rims >= 2 and area < MAX_CORNER_SHARE * height * width


def _score(area: int, box: Box, rims: int, width: int, height: int) -> float:
    """Return a score that is highest for the digit, see `runtime.preprocess.segment`."""
    x = (box[0] + box[2]) / 2 / width - 0.5
    y = (box[1] + box[3]) / 2 / height - 0.5
    score = area * math.exp(-CENTER_DECAY * (x * x + y * y)) * (BORDER_FACTOR if rims else 1)
    return CORNER_FACTOR * score if _is_corner(box, rims, width, height) else score
