"""Draws the marks on lines of numbers, and continental 1s and 7s.

Letters and printed digits are rendered from a font, all others as strokes. Each function returns
ink: float32 (height, width) from 0 to 1, cropped.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Ink = npt.NDArray[np.float32]  # (height, width); 0 paper, 1 full ink

OPERATORS = "+-*x/÷=():"
SEPARATORS = ".,'"

_SCALE = 3  # marks are drawn this much larger and reduced, so that their edges are smooth
_FONT_HEIGHT_PX = 30  # of a capital letter or digit in a font of 40 pixels

# Probabilities.
_ONE_FOOT_ODDS = 3  # one of three 1s has a foot
_USUAL_FLAG_SHARE = 0.85  # of the 1s; the flags of the others may begin at the foot
_SEVEN_SERIF_SHARE = 0.3  # of the 7s; a short stroke down from the left end of the top
_SEVEN_BAR_SHARE = 0.8  # of the 7s; a bar through the stem

# Lit segments of each digit: a on top, then clockwise to f; g in the middle.
_SEGMENTS_OF = (
    "abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgedc", "abc", "abcdefg", "abcdfg",
)  # fmt: skip


def draw_one(height: float, pen: float, random: np.random.Generator) -> Ink:
    """Draw a continental 1: a flag (the upstroke), a stem, sometimes a foot.

    Args:
        height: in pixels.
        pen: width of the stroke in pixels.
        random: chooses the style.
    """
    lean = random.uniform(-0.05, 0.25) * height
    reach = random.uniform(0.15, 0.48) * height
    is_usual = random.random() < _USUAL_FLAG_SHARE
    drop = random.uniform(0.15, 0.58 if is_usual else 0.95) * height
    left = max(reach - lean, 0.0)
    top, foot = (left + lean, 0.0), (left, height)
    strokes = [[(left + lean - reach, drop), top, foot]]
    if random.integers(_ONE_FOOT_ODDS) == 0:
        half = random.uniform(0.1, 0.3) * height
        strokes.append([(left - half, height), (left + half, height)])
    return _strokes(strokes, pen)


def draw_seven(height: float, pen: float, random: np.random.Generator) -> Ink:
    """Draw a 7, usually with a bar through its stem.

    Args:
        height: in pixels.
        pen: width of the stroke in pixels.
        random: chooses the style.
    """
    width = random.uniform(0.4, 0.7) * height
    foot = (width * random.uniform(0.1, 0.6), height)
    bend = (width * random.uniform(0.5, 0.8), height * random.uniform(0.3, 0.5))
    rise = random.uniform(-0.06, 0.06) * height
    strokes = [[(0.0, rise), (width, -rise), bend, foot]]
    if random.random() < _SEVEN_SERIF_SHARE:
        strokes.append([(0.0, rise), (0.0, height * random.uniform(0.08, 0.2))])
    if random.random() < _SEVEN_BAR_SHARE:
        y = height * random.uniform(0.42, 0.6)
        middle = (width + foot[0]) / 2
        half = width * random.uniform(0.25, 0.5)
        strokes.append([(middle - half, y + rise), (middle + half, y - rise)])
    return _strokes(strokes, pen)


def draw_segments(digit: int, height: float, pen: float, slant: float) -> Ink:
    """Draw a digit of a seven-segment display, with small gaps between its segments.

    Args:
        digit: from 0 to 9.
        height: in pixels.
        pen: width of a segment in pixels.
        slant: tangent of its angle.
    """
    width, middle, gap = 0.5 * height, 0.5 * height, 0.04 * height + pen / 4
    segments = {
        "a": ((gap, 0), (width - gap, 0)),
        "b": ((width, gap), (width, middle - gap)),
        "c": ((width, middle + gap), (width, height - gap)),
        "d": ((gap, height), (width - gap, height)),
        "e": ((0, middle + gap), (0, height - gap)),
        "f": ((0, gap), (0, middle - gap)),
        "g": ((gap, middle), (width - gap, middle)),
    }
    lit = _SEGMENTS_OF[digit]
    lean = np.clip(slant, 0, 0.2)
    return _strokes(
        [[(x + lean * (height - y), y) for x, y in segments[name]] for name in lit], pen
    )


def draw_operator(
    symbol: str, height: float, pen: float, slant: float, random: np.random.Generator
) -> Ink:
    """Draw an operator.

    Args:
        symbol: one of `OPERATORS`.
        height: of a digit on the line, in pixels.
        pen: width of the stroke in pixels.
        slant: tangent of the digits' angle; a slash leans more than a 1.
        random: chooses its shape.
    """
    size = height * random.uniform(0.4, 0.8)
    tilt = size * random.uniform(-0.12, 0.12)
    if symbol == "+":
        return _strokes(
            [[(0, size / 2 + tilt), (size, size / 2 - tilt)], [(size / 2 - tilt, 0),
             (size / 2 + tilt, size)]], pen)  # fmt: skip
    if symbol == "-":
        return _strokes([[(0, tilt), (size * random.uniform(0.7, 2.0), -tilt)]], pen)
    if symbol == "=":
        gap = size * random.uniform(0.3, 0.6)
        return _strokes([[(0, tilt), (size, -tilt)], [(0, gap + tilt), (size, gap - tilt)]], pen)
    if symbol in "*x":
        size *= 0.6 if symbol == "*" else 0.9
        strokes: list[list[tuple[float, float]]] = [[(0, 0), (size, size)], [(size, 0), (0, size)]]
        if symbol == "*":
            strokes.append([(size / 2, -size * 0.2), (size / 2, size * 1.2)])
        return _strokes(strokes, pen)
    if symbol == "/":
        tall = height * random.uniform(1.0, 1.5)
        lean = max(slant, 0.0) + random.uniform(0.3, 0.7)
        return _strokes([[(tall * lean, 0), (0, tall)]], pen)
    if symbol in "()":
        tall = height * random.uniform(1.0, 1.5)
        deep = tall * random.uniform(0.14, 0.32)
        angles = np.linspace(-1.2, 1.2, 9)
        x = deep * (1 - np.cos(angles)) / (1 - np.cos(1.2))
        if symbol == ")":
            x = deep - x
        y = tall / 2 * (1 + np.sin(angles) / np.sin(1.2))
        points: list[tuple[float, float]] = list(zip(x.tolist(), y.tolist(), strict=True))
        return _strokes([points], pen)
    # A colon or ÷.
    dots: list[list[tuple[float, float]]] = [[(0, 0), (0.5, 0)], [(0, size), (0.5, size)]]
    if symbol == "÷":
        dots.append([(-size / 2, size / 2), (size / 2, size / 2)])
    return _strokes(dots, pen)


def draw_separator(symbol: str, height: float, pen: float, random: np.random.Generator) -> Ink:
    """Draw a point, a comma or an apostrophe.

    Args:
        symbol: one of `SEPARATORS`.
        height: of a digit on the line, in pixels.
        pen: width of the stroke in pixels.
        random: chooses its shape.
    """
    if symbol == ".":
        return _strokes([[(0, 0), (random.uniform(0, 1), 0)]], pen * random.uniform(1, 1.6))
    length = height * random.uniform(0.12, 0.32)
    lean = length * random.uniform(0, 0.8)
    return _strokes([[(lean, 0), (0, length)]], pen)


def draw_letter(character: str, font: ImageFont.FreeTypeFont, height: float) -> Ink:
    """Render a letter or digit of a font about as tall as a digit on the line.

    Args:
        character: to be rendered.
        font: of about 40 pixels.
        height: of a digit on the line, in pixels.
    """
    left, top, right, bottom = font.getbbox(character)
    page = Image.new("L", (max(int(right - left), 1) + 2, max(int(bottom - top), 1) + 2))
    ImageDraw.Draw(page).text((1 - left, 1 - top), character, font=font, fill=255)
    scale = height / _FONT_HEIGHT_PX
    size = (max(round(page.width * scale), 2), max(round(page.height * scale), 2))
    resized = np.asarray(page.resize(size, Image.Resampling.BILINEAR)).astype(np.float32)
    ink: Ink = resized / np.float32(255)
    return ink


def _strokes(strokes: list[list[tuple[float, float]]], pen: float) -> Ink:
    """Draw polylines with round ends, cropped to their ink.

    Args:
        strokes: of each polyline its points (x, y) in pixels.
        pen: width in pixels.
    """
    points = np.array([point for stroke in strokes for point in stroke], np.float32)
    corner = points.min(axis=0) - pen / 2 - 0.5
    size = np.ceil(points.max(axis=0) + pen / 2 + 0.5 - corner).astype(int)
    page = Image.new("L", (int(size[0]) * _SCALE, int(size[1]) * _SCALE))
    draw = ImageDraw.Draw(page)
    width = max(round(pen * _SCALE), 1)
    radius = width / 2
    for stroke in strokes:
        at = [((x - corner[0]) * _SCALE, (y - corner[1]) * _SCALE) for x, y in stroke]
        draw.line(at, fill=255, width=width, joint="curve")
        for x, y in (at[0], at[-1]):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    ink: Ink = np.asarray(page.reduce(_SCALE)).astype(np.float32) / np.float32(255)
    return ink
