"""Finds the ink of one digit in a picture of a few hundred pixels, evenly lit, in microseconds.

What `runtime.preprocess.segment` does for every picture, where an array call costs more than its
pixels do: masks are Python's long integers, a bit a pixel, and a component grows by shifts.
"""

import math

import numpy as np
import numpy.typing as npt

from runtime.preprocess.background import MIN_AREA, MIN_CONTRAST, NOISE_FACTOR
from runtime.preprocess.connected_components import Plane
from runtime.preprocess.grayscale import Gray
from runtime.preprocess.segment import STROKE_LEVEL, THIN_STROKE, Box, Segment, dilate_thin_strokes

# A picture is small where no side is longer; ruled lines are not looked for in such a one.
LONGEST = 31
# The ground is even where the middle 80 % of the rim lie within this many gray levels, and ink
# goes one way only where the other way goes less than this part as far.
_EVEN, _OTHER_WAY = 20, 0.35
_MAX_COMPONENTS = 24
_LEVELS = bytes(range(256))


def segment_digit(gray: Gray) -> Segment | None:
    """Find the digit in a gray picture, uint8 (height, width), of at most `LONGEST` a side.

    Returns:
        None where the light is uneven, ink goes both ways, or little or nothing is found:
        `runtime.preprocess.segment.segment_digit` is to look at it.
    """
    height, width = gray.shape
    data = gray.tobytes()
    rim = sorted(data[:width] + data[-width:] + data[::width] + data[width - 1 :: width])
    count = len(rim)
    if rim[count * 9 // 10] - rim[count // 10] > _EVEN:
        return None
    ground = rim[count // 2]
    noise = (rim[count * 84 // 100] - rim[count * 16 // 100]) / 2
    floor = max(NOISE_FACTOR * noise, MIN_CONTRAST)
    # Whatever is not the ground, most of it ink.
    marks = data.translate(None, _LEVELS[max(ground - int(floor), 0) : ground + int(floor) + 1])
    if not marks:
        return None
    lighter, darker = max(marks) - ground, ground - min(marks)
    peak, other = max(lighter, darker), min(lighter, darker)
    if peak <= 2 * floor or other > _OTHER_WAY * peak:
        return None
    dark = darker > lighter
    _, strong = _split(ground, int(0.5 * peak), dark)
    strokes = data.translate(None, _LEVELS[: strong.start] + _LEVELS[strong.stop :])
    level = abs(ground - sum(strokes) / len(strokes))
    digits, _ = _split(ground, int(max(STROKE_LEVEL * level, 0.75 * floor)), dark)
    # The first pixel becomes the highest bit.
    bits = int(data.translate(digits), 2)
    if bits & _edge(width, height) and bits >> (width - 1) & _edge(width, height):
        return None  # ink on both sides: shifts would carry it from one row to the next
    chosen = _choose(bits, width, height)
    if chosen is None:
        return None
    kept, box = chosen
    left, top, right, bottom = box
    part = np.frombuffer(data, np.uint8).reshape(height, width)[top:bottom, left:right]
    ink: Plane = np.subtract(part, ground, dtype=np.float32)
    ink *= np.float32((-1 if dark else 1) / level)
    np.minimum(ink, 1, out=ink)
    ink *= _mask(kept, width, height)[top:bottom, left:right]
    found = Segment(ink, box, dark)
    steps = (kept ^ kept >> 1).bit_count() + (kept ^ kept >> width).bit_count()
    wide_enough = THIN_STROKE * max(ink.shape) / 20
    if 2 * kept.bit_count() > (wide_enough + 0.5) * math.pi / 4 * steps:
        return found
    return Segment(dilate_thin_strokes(ink), box, dark)


def _split(ground: int, least: int, dark: bool) -> tuple[bytes, slice]:
    """The levels more than `least` from the ground: as a table of the digits 0 and 1, as a slice.

    Levels are whole numbers, so that what is more than `least` is `least` + 1 or more.
    """
    if dark:
        end = max(ground - least, 0)
        return b"1" * end + b"0" * (256 - end), slice(0, end)
    start = min(ground + least + 1, 256)
    return b"0" * start + b"1" * (256 - start), slice(start, 256)


def _edge(width: int, height: int) -> int:
    """The bits of the last column."""
    return ((1 << width * height) - 1) // ((1 << width) - 1)


def _mask(bits: int, width: int, height: int) -> npt.NDArray[np.bool_]:
    size = width * height
    packed = (bits << -size % 8).to_bytes((size + 7) // 8, "big")
    mask = np.unpackbits(np.frombuffer(packed, np.uint8), count=size)
    return mask.reshape(height, width).view(np.bool_)


def _choose(bits: int, width: int, height: int) -> tuple[int, Box] | None:
    """The component that is the digit, with the pieces that lie close to it, and their box.

    The same rules as `runtime.preprocess.segment`'s, areas in place of the ink's mass.
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
        main = max(components, key=lambda one: _score(one[1], one[2], one[3], width, height))
    kept, area, box, rims = main
    if area < MIN_AREA or _is_corner(box, rims, width, height):
        return None
    least = 0.03 * area
    near = [one for one in components if one[1] > least and (not one[3] or rims)]
    for _ in range(3 if len(near) > 1 else 0):
        reach = 0.15 * max(box[2] - box[0], box[3] - box[1])
        for component, _, other, _ in near:
            gap = max(other[0] - box[2], other[1] - box[3], box[0] - other[2], box[1] - other[3])
            if gap <= reach:
                kept |= component
        box = _box(kept, width, height)
    return kept, box


def _grow(seed: int, mask: int, width: int) -> int:
    """All of the mask that touches the seed, through its 8 neighbors."""
    grown = seed
    while True:
        aside = grown | grown << 1 | grown >> 1
        larger = (aside | aside << width | aside >> width) & mask
        if larger == grown:
            return grown
        grown = larger


def _box(component: int, width: int, height: int) -> Box:
    above = height - 1 - (component.bit_length() - 1) // width
    below = ((component & -component).bit_length() - 1) // width
    rest = component >> (below * width)
    # Rows laid over each other, twice as many each time, end in the lowest one.
    step = 1
    while step < height - above - below:
        rest |= rest >> (step * width)
        step *= 2
    columns = rest & ((1 << width) - 1)
    after = (columns & -columns).bit_length() - 1
    return width - columns.bit_length(), above, width - after, height - below


def _is_corner(box: Box, rims: int, width: int, height: int) -> bool:
    return rims >= 2 and (box[2] - box[0]) * (box[3] - box[1]) < 0.25 * height * width


def _score(area: int, box: Box, rims: int, width: int, height: int) -> float:
    x = (box[0] + box[2]) / 2 / width - 0.5
    y = (box[1] + box[3]) / 2 / height - 0.5
    score = area * math.exp(-4 * (x * x + y * y)) * (0.2 if rims else 1)
    return 0.1 * score if _is_corner(box, rims, width, height) else score
