"""Draws handwritten digits as strokes, in forms that MNIST's American writers hardly used.

A continental 1 has a long flag, a 7 has a bar or a wavy top, a 4 is open or drawn in one stroke.
`train.run` mixes these digits into the training batches; `Recipe.drawn_share` is their share.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from runtime.preprocess.mnist_format import to_mnist_format
from train.data.splits import Split

# Points (x, y) of a stroke. Digits are one unit high; y points down. A curve passes through the
# points (Catmull-Rom spline). It has a corner if a point is repeated.
Stroke = list[tuple[float, float]]
Random = np.random.Generator

# Relative numbers of drawn digits. The forms of 1, 4 and 7 differ most between countries.
_CLASS_WEIGHTS = np.array([1.0, 2.4, 1.2, 1.2, 2.0, 1.4, 1.0, 3.2, 1.0, 1.2])
_HEIGHT_PX = 72.0  # height of a digit before it is reduced to MNIST's form
_MARGIN_PX = 26  # around the digit's points, for the pen's width and the blur
_TICK_SHARE = 0.12  # of the strokes, which end with a short movement of the pen in any direction
_STEPS = 7  # points that a spline is drawn with, between two of its points
_MIN_INK_LEVEL = 17  # of 255; fainter gray, of a blur, is set to 0
# Of the digit's height. Preprocessing widens thinner strokes (MIN_STROKE_PX of
# `runtime.preprocess.segment`); a part of the digits is thinner, for arrays that skip it.
_PEN_SHARE = (0.055, 0.18)


def draw_digits(n: int, seed: int) -> Split:
    """Draw digits in MNIST's form.

    Args:
        n: number of digits, at least 1.
        seed: random seed, a whole number from 0.

    Returns:
        The digits, in random order; the class index of a digit is its value.
    """
    random = np.random.default_rng([seed, n])
    labels = random.choice(10, n, p=_CLASS_WEIGHTS / _CLASS_WEIGHTS.sum())
    pixels = np.stack([draw_digit(int(label), random) for label in labels])
    return Split(pixels, labels.astype(np.int64))


def draw_digit(digit: int, random: Random) -> npt.NDArray[np.uint8]:
    """Draw a digit in a random form, with a random pen, slant and aspect.

    Args:
        digit: from 0 to 9.
        random: source of randomness.

    Returns:
        uint8 (28, 28, 1) in MNIST's form.
    """
    strokes = _FORMS[digit](random)
    for stroke in strokes:
        if random.random() < _TICK_SHARE:
            x, y = stroke[-1]
            dx, dy = random.normal(0.0, 0.06, 2).tolist()
            stroke.append((x + dx, y + dy))
    return _render(strokes, random)


def _render(strokes: list[Stroke], random: Random) -> npt.NDArray[np.uint8]:
    """Distort strokes, draw them, and convert them to MNIST's form."""
    jitter = random.uniform(0.0, 0.03)
    stretch = np.exp(random.normal(0.0, 0.18))
    slant = random.normal(0.2, 0.22)
    angle = random.normal(0.0, 0.08)
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.array([[cos, -sin], [sin, cos]]) @ np.array([[stretch, -slant], [0.0, 1.0]])
    # A fine pen on a large digit, or a felt pen on a small one.
    pen = np.exp(random.uniform(*np.log(_PEN_SHARE))) * _HEIGHT_PX
    curves = []
    for stroke in strokes:
        points = np.array(stroke)
        offsets = random.normal(0.0, jitter, points.shape)
        repeated = np.flatnonzero((points[1:] == points[:-1]).all(axis=1)) + 1
        offsets[repeated] = offsets[repeated - 1]
        curves.append(_spline(points + offsets) @ matrix.T * _HEIGHT_PX)
    low = np.concatenate(curves).min(axis=0) - _MARGIN_PX
    size = np.ceil(np.concatenate(curves).max(axis=0) + _MARGIN_PX - low).astype(int)
    page = Image.new("L", (int(size[0]), int(size[1])))
    draw = ImageDraw.Draw(page)
    for curve in curves:
        width = pen * random.uniform(0.85, 1.15)
        path = [(float(x), float(y)) for x, y in curve - low]
        draw.line(path, fill=255, width=max(round(width), 1), joint="curve")
        for x, y in (path[0], path[-1]):  # round ends
            draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=255)
    if random.random() < 0.4:
        page = page.filter(ImageFilter.GaussianBlur(random.uniform(1.0, 4.0)))
    ink = np.asarray(page)
    return to_mnist_format(np.where(ink >= _MIN_INK_LEVEL, ink, 0))


def _spline(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return points on Catmull-Rom splines, divided at repeated points."""
    corners = np.flatnonzero((points[1:] == points[:-1]).all(axis=1)) + 1
    parts = []
    for part in np.split(points, corners):
        if len(part) < 3:
            parts.append(part)
            continue
        padded = np.concatenate([2 * part[:1] - part[1:2], part, 2 * part[-1:] - part[-2:-1]])
        t = np.linspace(0, 1, _STEPS, endpoint=False)[:, None, None]
        a, b, c, d = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
        curve = 0.5 * (
            2 * b
            + (c - a) * t
            + (2 * a - 5 * b + 4 * c - d) * t**2
            + (3 * b - a - 3 * c + d) * t**3
        )
        parts.append(np.concatenate([curve.swapaxes(0, 1).reshape(-1, 2), part[-1:]]))
    return np.concatenate(parts)


def _arc(
    x: float, y: float, width: float, height: float, start: float, end: float, points: int = 9
) -> Stroke:
    """Return points of an ellipse; angles in degrees, clockwise from the right."""
    angles = np.radians(np.linspace(start, end, points))
    xs, ys = x + width / 2 * np.cos(angles), y + height / 2 * np.sin(angles)
    return list(zip(xs.tolist(), ys.tolist(), strict=True))


def _zero(random: Random) -> list[Stroke]:
    """Draw a 0: closed, open or overlapping at the top, sometimes crossed or with a tail."""
    width, start = random.uniform(0.45, 0.95), random.uniform(-130, -50)
    turn = random.choice([-1, 1]) * random.uniform(335, 400)
    strokes = [_arc(0.5, 0.5, width, 1.0, start, start + turn, 13)]
    if random.random() < 0.15:  # the pen comes in from above, or goes on into the ring
        x, y = strokes[0][-1]
        inner = random.uniform(0.05, 0.35)
        strokes[0].append((x + random.uniform(-0.2, 0.2), y + inner))
        strokes[0].append((x + random.uniform(-0.3, 0.3), y + inner + random.uniform(0.0, 0.15)))
    elif random.random() < 0.1:
        x, y = strokes[0][0]
        rise = random.uniform(0.0, 0.15)
        strokes[0].insert(0, (x + random.choice([-1, 1]) * random.uniform(0.1, 0.3), y - rise))
    if random.random() < 0.12:
        x, y = width * random.uniform(0.3, 0.6), random.uniform(0.3, 0.6)
        strokes.append([(0.5 - x, 0.5 + y), (0.5 + x, 0.5 - y)])
    return strokes


def _one(random: Random) -> list[Stroke]:
    """Draw a 1: a plain stroke, or one with a flag of any length, with or without a base."""
    bend = random.normal(0.0, 0.03)
    stem: Stroke = [(0.0, 0.0), (bend, 0.5), (random.normal(0.0, 0.03), 1.0)]
    plain = random.random()
    if plain < 0.2:
        return [stem]
    strokes = [stem]
    if plain < 0.95:
        length = random.uniform(0.12, 0.68)
        # From the horizontal. A long flag that is nearly horizontal makes a 7.
        angle = np.radians(random.uniform(22 + 18 * min(length / 0.5, 1.0), 76))
        x, y = -length * np.cos(angle), length * np.sin(angle)
        sag = random.normal(0.03, 0.08) * length
        middle = (x / 2 + sag, y / 2 + sag)
        joint = random.random()
        if joint < 0.6:  # up and down without lifting the pen
            strokes = [[(x, y), middle, (0.0, 0.0), *stem]]
        elif joint < 0.8:  # a rounded turn
            turn = random.uniform(0.01, 0.06)
            strokes = [[(x, y), middle, (-turn, turn), (0.02, 2 * turn), *stem[1:]]]
        elif joint < 0.87:  # the flag begins at the stem and leaves a narrow loop
            low = random.uniform(0.25, 0.55)
            out = -random.uniform(0.08, 0.25)
            strokes = [[(random.uniform(-0.04, 0.02), low), (out, 0.6 * low), (0.0, 0.0), *stem]]
            strokes[0].insert(3, (0.0, 0.0))
        else:  # two strokes that do not quite meet
            gap = random.normal(0.0, 0.04, 2)
            strokes.append([(x, y), middle, (float(gap[0]), float(gap[1]))])
    if random.random() < 0.45 or plain >= 0.95:
        left, right = random.uniform(0.08, 0.55, 2)
        tilt = random.normal(0.02, 0.06)
        foot = stem[-1][0]
        y = 1.0 - max(random.normal(0.02, 0.07), -0.02)  # the base may cross the stem
        base: Stroke = [(foot - left, y + tilt), (foot, y), (foot + right, y - tilt)]
        if random.random() < 0.12:  # in one stroke: down, to the left, and back to the right
            strokes[0] += [(foot - left, y + tilt), (foot - left, y + tilt), base[2]]
        else:
            strokes.append(base)
    return strokes


def _two(random: Random) -> list[Stroke]:
    """Draw a 2: with a straight, wavy or looped base, and a round or flat top."""
    width, neck = random.uniform(0.5, 0.8), random.uniform(0.2, 0.45)
    hook = random.uniform(0.1, 0.35)
    top: Stroke = [(0.0, hook), (0.12 * width, 0.06), (0.5 * width, 0.0), (0.95 * width, 0.1)]
    start = random.random()
    if start < 0.2:  # a flat top, like a Z
        top = [(0.0, random.uniform(0.0, 0.08)), (0.6 * width, 0.0), (width, 0.04)]
    elif start < 0.4:  # begins with a loop or a curl
        size = random.uniform(0.1, 0.3)
        top = [
            (random.uniform(0.15, 0.5) * width, random.uniform(0.5, 1.1) * size),
            (0.15 * width, size + random.uniform(0.0, 0.1)),
            (0.0, 0.6 * size),
            (0.2 * width, 0.06),
            (0.55 * width, 0.0),
            (0.95 * width, 0.1),
        ]
    down: Stroke = [(width, neck), (0.6 * width, 0.62), (0.05 * width, 0.98)]
    rise = random.uniform(-0.08, 0.08)
    base = random.random()
    if base < 0.4:
        tail = random.uniform(0.9, 1.7) * width
        end: Stroke = [(0.05 * width, 0.98), (0.5 * tail, 0.97), (tail, 0.98 - rise)]
        return [[*top, *down, *end]]
    if base < 0.65:  # a loop
        size = random.uniform(0.12, 0.36)
        tail = random.uniform(1.0, 1.6) * width
        loop: Stroke = [
            (-0.02, 1.0 - size / 2),
            (0.15 * width, 1.0 - size),
            (0.4 * width, 0.95),
            (0.7 * tail, 1.0),
            (tail, 0.9 - rise),
        ]
        return [[*top, (width, neck), (0.6 * width, 0.68), (0.12 * width, 1.0), *loop]]
    wave: Stroke = [
        (0.05 * width, 0.98),
        (0.3 * width, 0.88),
        (0.7 * width, 1.0),
        (1.1 * width, 0.92),
    ]
    return [[*top, *down, *wave]]


def _three(random: Random) -> list[Stroke]:
    """Draw a 3: round, with a flat top, or with an upper bow that is almost closed."""
    width, waist = random.uniform(0.45, 0.7), random.uniform(0.4, 0.52)
    inner = random.uniform(0.2, 0.6) * width
    lower: Stroke = [
        (width * random.uniform(0.9, 1.1), (1 + waist) / 2 - 0.05),
        (0.75 * width, 0.95),
        (0.35 * width, 1.0),
        (0.0, 1.0 - random.uniform(0.02, 0.25)),
    ]
    if random.random() < 0.25:  # the lower bow is a short stroke
        lower[1:] = [(0.8 * width, 0.85), (random.uniform(0.2, 0.5) * width, 1.0)]
    form = random.random()
    if form < 0.3:  # a flat top
        tilt = random.uniform(-0.05, 0.05)
        top: Stroke = [(0.05, tilt), (width, 0.0), (width, 0.0), (inner, waist)]
        return [[*top, (inner, waist), *lower]]
    if form < 0.62:  # the upper bow returns to its beginning
        size = random.uniform(0.1, 0.46)
        upper: Stroke = [
            *([(0.45 * width, 0.8 * size)] if random.random() < 0.4 else []),
            (0.25 * width, size + random.uniform(0.0, 0.12)),
            (0.05 * width, 0.6 * size),
            (0.3 * width, 0.02),
            (0.7 * width, 0.02),
            (0.92 * width, 0.5 * waist),
            (0.65 * width, 0.92 * waist),
            (inner * 0.8, waist),
        ]
        return [[*upper, upper[-1], *lower]]
    start = random.uniform(0.05, 0.25)
    upper = [
        (0.0, start),
        (0.3 * width, 0.02),
        (0.7 * width, 0.02),
        (0.9 * width, 0.45 * waist),
        (0.7 * width, 0.9 * waist),
        (inner, waist),
    ]
    corner = [upper[-1]] if random.random() < 0.7 else []
    return [[*upper, *corner, *lower]]


def _four(random: Random) -> list[Stroke]:
    """Draw a 4: closed, open, or in one stroke."""
    width, bar = random.uniform(0.4, 0.8), random.uniform(0.45, 0.75)
    beyond = random.uniform(-0.02, 0.35)
    stem = width * random.uniform(0.55, 0.95)
    lean = random.normal(0.0, 0.05)
    top = random.uniform(-0.05, 0.4)  # of the right stroke, which may begin below the left one
    form = random.random()
    if form < 0.2:  # closed: the diagonal begins at the top of the stem
        return [
            [(stem, 0.0), (0.0, bar), (0.0, bar), (stem + beyond, bar + random.normal(0.0, 0.03))],
            [(stem, random.uniform(0.0, 0.1)), (stem + lean, 1.0)],
        ]
    left = random.uniform(-0.05, 0.3)  # x of the left stroke's top
    if random.random() < 0.2:  # leans towards the stem and leaves a narrow opening
        left = stem * random.uniform(0.35, 0.8)
        top = random.uniform(-0.05, 0.15)
    if form < 0.6:  # open: an angle and a stem
        corner: Stroke = [(0.0, bar), (0.0, bar)]
        if random.random() < 0.35:  # a round corner
            corner = [(-0.01, 0.75 * bar), (0.06, bar)]
        return [
            [(left, 0.0), *corner, (stem + beyond, bar + random.normal(0.0, 0.06))],
            [(stem, top), (stem + lean, 1.0)],
        ]
    if form < 0.76:  # one stroke: a cup, up to the stem's top, and down
        return [
            [
                (left, 0.02),
                (0.0, 0.6 * bar),
                (0.25 * width, bar),
                (0.7 * stem, 0.85 * bar),
                (stem, top),
                (stem, top),
                (stem + lean, 1.0),
            ]
        ]
    if form < 0.86:  # a narrow cup, crossed or touched by the stem
        x = width * random.uniform(0.3, 0.6)
        edge = random.uniform(0.0, 0.15)
        return [
            [
                (0.05, edge),
                (0.0, 0.5 * bar),
                (0.4 * width, bar),
                (width, 0.6 * bar),
                (0.9 * width, edge),
            ],
            [(x + 0.2 * random.random(), top), (x + lean, 1.0)],
        ]
    # One stroke with corners: down, up to the right, and down.
    turn = stem * random.uniform(0.85, 1.05)
    return [
        [
            (left, 0.0),
            (0.0, bar),
            (0.0, bar),
            (turn, bar - random.uniform(0.0, 0.35)),
            (turn, bar - random.uniform(0.0, 0.35)),
            (turn + lean - 0.05, 1.0),
        ],
        [(turn + 0.04, top), (turn + lean - 0.03, 1.0)],
    ]


def _five(random: Random) -> list[Stroke]:
    """Draw a 5: with a joined, a loose or an angled bar."""
    width, neck = random.uniform(0.4, 0.75), random.uniform(0.2, 0.5)
    bow: Stroke = [
        (0.35 * width, neck - 0.07),
        (0.8 * width, neck + 0.04),
        (width * random.uniform(0.9, 1.1), 0.68),
        (0.75 * width, 0.95),
        (0.35 * width, 1.0),
        (-0.05, 1.0 - random.uniform(0.02, 0.2)),
    ]
    if random.random() < 0.25:  # the bow nearly closes
        bow[-1] = (random.uniform(-0.1, 0.1), 1.0 - random.uniform(0.05, 0.38))
    down: Stroke = [(random.uniform(0.0, 0.15), 0.0), (0.0, neck), (0.0, neck)]
    if random.random() < 0.2:  # without a corner, like an S
        down = [down[0], (0.0, neck - 0.1)]
    x = random.uniform(0.6, 1.6) * width
    rise = random.normal(0.05, 0.07)
    bar: Stroke = [(x, -rise), (down[0][0], 0.0)]
    form = random.random()
    if form < 0.45:
        return [[*bar, bar[-1], *down[1:], *bow]]
    if form < 0.6:  # a bow that droops at its right end
        droop = random.uniform(0.0, 0.18)
        top = (random.uniform(0.3, 0.6) * x, -random.uniform(0.0, 0.08))
        start = (random.uniform(0.02, 0.2), random.uniform(0.02, 0.1))
        return [[(x, droop), top, start, *down[1:], *bow]]
    if form < 0.88:  # a bar that touches the stroke, or not
        gap = random.uniform(-0.1, 0.2)
        lift = random.uniform(-0.12, 0.06)
        return [[*down, *bow], [(down[0][0] + gap, lift), (x + gap, lift - rise)]]
    return [[(x, -rise), (0.5 * x, 0.02 - rise / 2), (0.08, 0.06), (0.0, neck), (0.0, neck), *bow]]


def _six(random: Random) -> list[Stroke]:
    """Draw a 6: with a straight, bent or hooked top, and a loop of any size."""
    width, loop = random.uniform(0.4, 0.7), random.uniform(0.32, 0.6)
    middle = 1.0 - loop / 2
    reach = random.uniform(0.35, 1.1) * width
    start: Stroke = [
        (reach, random.uniform(0.0, 0.08)),
        (0.5 * reach, 0.12 + 0.1 * random.random()),
    ]
    if random.random() < 0.4:  # a hook
        depth = random.uniform(0.05, 0.42)
        start = [
            (reach * random.uniform(0.75, 1.1), depth),
            (0.8 * reach, 0.02),
            (0.45 * reach, 0.03),
            (0.1 * reach, 0.25),
        ]
    end = random.uniform(-250, -150)
    round_loop = _arc(width / 2, middle, width, loop, 150, end, 9)
    return [[*start, (0.02, middle - 0.15 * loop), *round_loop]]


def _seven(random: Random) -> list[Stroke]:
    """Draw a 7: with or without a bar, with a straight, wavy or hooked top."""
    width = random.uniform(0.4, 0.85)
    tilt = random.normal(0.0, 0.05)
    form = random.random()
    if form < 0.28:
        top: Stroke = [(0.0, tilt), (width, -tilt)]
    elif form < 0.58:  # a wave; its right end may be the highest point of the digit
        depth = random.uniform(0.03, 0.32)
        rise = random.uniform(0.0, 0.25)
        start = random.uniform(0.3, 1.5) * depth
        top = [
            (random.uniform(-0.05, 0.05), start + random.uniform(0.0, 0.15)),
            (random.uniform(0.1, 0.3) * width, -random.uniform(0.0, 0.6) * depth),
            (random.uniform(0.45, 0.7) * width, depth),
            (width, -rise - tilt),
        ]
        if random.random() < 0.3:  # begins with a sharp turn
            top.insert(1, top[1])
    elif form < 0.84:  # a deep wave with sharp or round turns, like an n or a y
        valley = random.uniform(0.18, 0.45)
        top = [
            (random.uniform(-0.15, 0.06), valley + random.uniform(-0.12, 0.12)),
            (random.uniform(0.05, 0.3) * width, random.uniform(-0.02, 0.1)),
            (random.uniform(0.3, 0.65) * width, valley),
            (width, -random.uniform(0.0, 0.15)),
        ]
        if random.random() < 0.6:
            top.insert(1, top[1])
        if random.random() < 0.2:  # without the stroke up to the wave
            del top[0]
    elif form < 0.92:  # begins with a short stroke down
        drop = random.uniform(0.06, 0.25)
        top = [(random.uniform(-0.05, 0.05), drop), (0.0, 0.02), (0.0, 0.02), (width, -tilt)]
        if random.random() < 0.4:  # upwards, and down into the wave
            top = [
                (0.0, drop),
                (0.08, -0.03),
                (0.08, -0.03),
                (0.35 * width, random.uniform(0.03, 0.12)),
                (width, -tilt - 0.02),
            ]
    else:  # a bow
        top = [(0.0, 0.1 + tilt), (0.4 * width, -0.03), (0.85 * width, 0.0), (width, 0.06)]
    foot = width * random.uniform(-0.1, 0.75)
    bend = random.normal(0.0, 0.06)
    middle = ((width + foot) / 2 + bend, 0.5)
    corner = [top[-1]] if form < 0.92 else []
    strokes = [[*top, *corner, middle, (foot, 1.0)]]
    tail = random.random()
    wavy = 0.28 <= form < 0.84
    if tail < (0.24 if wavy else 0.15):  # a foot that turns to the right
        strokes[0][-1] = (foot, random.uniform(0.9, 1.0))
        strokes[0].append((foot + random.uniform(0.05, 0.4), random.uniform(0.93, 1.0)))
    elif tail < 0.35:  # or to the left
        strokes[0][-1:] = [(foot + 0.03, 0.9), (foot - random.uniform(0.1, 0.4), 0.98)]
    barred = random.random() < (0.9 if wavy else 0.75)
    if barred:
        is_low = wavy and random.random() >= 0.6
        y = random.uniform(0.58, 0.82) if is_low else random.uniform(0.38, 0.75)
        x = width + (foot - width) * y + bend * (1 - abs(2 * y - 1))
        left, right = random.uniform(0.1, 0.42, 2)
        slope = random.normal(0.02, 0.07)
        strokes.append([(x - left, y + slope), (x, y), (x + right, y - slope)])
    return strokes


def _eight(random: Random) -> list[Stroke]:
    """Draw an 8: in one stroke, open at the top, or of two rings."""
    width, waist = random.uniform(0.4, 0.65), random.uniform(0.4, 0.52)
    small = width * random.uniform(0.7, 1.0)
    if random.random() < 0.2:
        return [
            _arc(width / 2, waist / 2, small, waist, -90, 270, 11),
            _arc(width / 2, (1 + waist) / 2, width, 1 - waist, -90, 270, 11),
        ]
    mirror = random.random() < 0.25
    left, right = (width - small) / 2, (width + small) / 2
    end = random.uniform(-0.05, 0.2)
    path: Stroke = [
        (right, random.uniform(0.05, 0.15)),
        (width / 2, 0.0),
        (left, waist * 0.45),
        (width / 2, waist),
        (width, 0.72),
        (width / 2, 1.0),
        (0.0, 0.74),
        (width / 2, waist + random.uniform(-0.05, 0.05)),
        (right, waist * 0.5),
        (right - end, random.uniform(-0.03, 0.1)),
    ]
    return [[(width - x, y) for x, y in path] if mirror else path]


def _nine(random: Random) -> list[Stroke]:
    """Draw a 9: with a straight, curved or hooked stem, and an open or closed loop."""
    width, loop = random.uniform(0.4, 0.7), random.uniform(0.35, 0.58)
    start = random.uniform(-60, 0)
    ring = _arc(width / 2, loop / 2, width, loop, start, start - random.uniform(300, 365), 9)
    joint = (width, random.uniform(0.0, 0.3) * loop)
    form = random.random()
    if form < 0.5:  # straight
        foot = width * random.uniform(0.5, 1.05)
        return [[*ring, joint, joint, (foot, 1.0)]]
    if form < 0.75:  # curved
        return [[*ring, joint, (0.98 * width, 0.6), (random.uniform(0.2, 0.7) * width, 1.0)]]
    hook = random.uniform(0.0, 0.5) * width  # hooked
    return [
        [*ring, joint, (width, 0.65), (0.75 * width, 0.96), (0.4 * width, 1.0), (hook - 0.15, 0.9)]
    ]


_FORMS: tuple[Callable[[Random], list[Stroke]], ...] = (
    _zero, _one, _two, _three, _four, _five, _six, _seven, _eight, _nine,
)  # fmt: skip
