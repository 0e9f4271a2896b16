"""Shapes that look like a digit but are not: the letter B."""

from runtime.backends import Pixels

# From here on a pixel is ink; this part of its height is left out above and below, where both
# characters turn; and a back is straight that strays no further from a line, of 20 pixels' height.
# So are 3 in 10,000 of MNIST's 8s to train on.
_INK, _TURN, _STRAIGHT = 100, 0.12, 0.4
_IS_INK = bytes(level >= _INK for level in range(256))


def has_straight_left_edge(pixels: Pixels) -> bool:
    """Whether the left side of the ink is one straight line: a B's, where an 8 has a waist.

    Of pixels (28, 28, 1) uint8 in MNIST's form; slanting lines are straight too.
    """
    # As bytes: of so few pixels that is a third of what arrays cost.
    data = pixels.tobytes()
    marks = data.translate(_IS_INK)
    first = [marks.find(1, start, start + 28) for start in range(0, len(data), 28)]
    inked = [y for y, at in enumerate(first) if at >= 0]
    height = inked[-1] - inked[0] + 1 if inked else 0
    if height < 10 or len(inked) < height:
        return False
    turn = round(_TURN * height)
    back = inked[turn : height - turn]
    edge = []
    for y in back:
        at = first[y]
        x, level, before = at - 28 * y, data[at], data[at - 1] if at % 28 else 0
        # Where between this pixel and the one before, which is no ink, its level is crossed.
        edge.append(x - (level - _INK) / (level - before))
    middle, center = sum(back) / len(back), sum(edge) / len(edge)
    slope = sum((y - middle) * x for y, x in zip(back, edge, strict=True))
    slope /= sum((y - middle) ** 2 for y in back)
    astray = [abs(x - center - slope * (y - middle)) for y, x in zip(back, edge, strict=True)]
    return max(astray) < _STRAIGHT * height / 20
