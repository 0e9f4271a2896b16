"""Draws the surroundings of digits: ruled lines, boxes, circles, specks and page edges."""

import numpy as np
from PIL import Image, ImageDraw

from runtime.multi_digit.line_reader import HEIGHT_PX
from train.lines.marks import Ink

# Probabilities.
_WRITING_LINE_SHARE = 0.5  # that a ruled line is the one that is written on
_BROKEN_LINE_SHARE = 0.2  # that a ruled line is dotted or broken
_FRAME_SHARE = 0.35  # that boxes are one frame around all digits
_COMB_SHARE = 0.3  # that boxes, if not one frame, are a comb, open at the top
_APART_SHARE = 0.4  # that boxes, if not one frame, are apart, not the cells of a table
_EDGE_DRAWN_SHARE = 0.8  # of the upper and of the lower edge of boxes
_CIRCLE_EACH_SHARE = 0.5  # that each digit has a circle of its own, not the whole line

_MAX_GAP_INK = 0.1  # of full ink; columns with less are gaps, which boxes are drawn into
_MIN_DIGIT_INK = 0.2  # of full ink; columns with more belong to a digit, which is circled


def draw_ruled_lines(ink: Ink, bottom: int, random: np.random.Generator) -> None:
    """Draw one or two ruled lines.

    Args:
        ink: of the line.
        bottom: row after the digits.
        random: chooses their rows, thicknesses and strengths.
    """
    for _ in range(random.integers(1, 3)):
        y = random.uniform(0, HEIGHT_PX)
        if random.random() < _WRITING_LINE_SHARE:
            y = bottom + random.normal(0, 1.5)
        _draw_ruled_line(ink, y, random.uniform(0.6, 2.2), random.uniform(0.25, 1), random)


def draw_specks(ink: Ink, random: np.random.Generator) -> None:
    """Draw up to seven specks of up to 3×3 pixels."""
    for _ in range(random.integers(1, 8)):
        top, left = random.integers(0, HEIGHT_PX), random.integers(0, ink.shape[1])
        height, width = random.integers(1, 4, 2)
        part = ink[top : top + height, left : left + width]
        np.maximum(part, random.uniform(0.3, 1), out=part)


def draw_boxes(
    ink: Ink, rows: tuple[int, int], random: np.random.Generator, kinds: list[str]
) -> None:
    """Draw a frame, the cells of a table, boxes or a comb into the gaps between the digits.

    Args:
        ink: of the line.
        rows: of the digits.
        random: chooses the form.
        kinds: of the line; the form is appended.
    """
    level, thick = random.uniform(0.3, 1), random.uniform(0.6, 2.4)
    is_gap = np.append(ink.max(axis=0) <= _MAX_GAP_INK, False)
    steps = np.flatnonzero(np.diff(np.append(False, is_gap).astype(np.int8)))
    gaps = list(zip(steps[::2].tolist(), steps[1::2].tolist(), strict=True))
    frame = random.random() < _FRAME_SHARE or len(gaps) < 3
    comb = not frame and random.random() < _COMB_SHARE
    kinds.append("comb" if comb else "boxes")
    apart = not frame and random.random() < _APART_SHARE
    top = int(rows[1] - random.uniform(0.1, 0.6) * (rows[1] - rows[0])) if comb else 0
    for index, (start, end) in enumerate(gaps):
        at_end = index in (0, len(gaps) - 1)
        if (frame and not at_end) or end - start < thick + 1:
            continue
        margin = min((end - start) / 2 - 0.1, thick / 2 + 0.5)
        if at_end:
            places = [random.uniform(start + margin, end - margin)]
        elif apart and end - start > 3 * thick + 4:
            places = [start + margin + random.uniform(0, 1), end - margin - random.uniform(0, 1)]
        else:
            middle, reach = (start + end) / 2, (end - start) / 2 - margin
            places = [middle + random.uniform(-1, 1) * reach]
        for x in places:
            _draw_ruled_line(ink[top:].T, x, thick, level, random, straight=True)
    above = random.uniform(-2, max(rows[0] - thick, 0) + 0.5)
    below = HEIGHT_PX - random.uniform(-2, max(HEIGHT_PX - rows[1] - thick, 0) + 0.5)
    for y in (below,) if comb else (above, below):
        if random.random() < _EDGE_DRAWN_SHARE:
            _draw_ruled_line(ink, y, thick, level, random)


def draw_circles(ink: Ink, height: float, random: np.random.Generator) -> None:
    """Draw an ellipse around the whole line, or a circle around each digit apart."""
    columns = np.append(ink.max(axis=0) > _MIN_DIGIT_INK, False)
    steps = np.flatnonzero(np.diff(np.append(False, columns).astype(np.int8)))
    spans = list(zip(steps[::2].tolist(), steps[1::2].tolist(), strict=True))
    each = len(spans) > 1 and random.random() < _CIRCLE_EACH_SHARE
    if not each:
        spans = [(spans[0][0], spans[-1][1])]
    page = Image.new("L", (ink.shape[1] * 2, HEIGHT_PX * 2))
    draw = ImageDraw.Draw(page)
    pen = int(random.integers(2, 5))
    for start, end in spans:
        reach = random.uniform(0.1, 0.25) * (height if each else end - start)
        top = random.uniform(-4, 4)
        draw.ellipse(
            (2 * (start - reach), top, 2 * (end + reach), 2 * HEIGHT_PX - top),
            outline=255,
            width=pen,
        )
    ring = np.asarray(page.reduce(2)).astype(np.float32) / 255
    np.maximum(ink, ring * np.float32(random.uniform(0.3, 1)), out=ink)


def with_page_edge(ink: Ink, free: tuple[int, int], random: np.random.Generator) -> tuple[Ink, int]:
    """Return a line beside, above or below which the page ends, and the edge's width to its left.

    Args:
        ink: of the line.
        free: rows above and below its digits.
        random: chooses the side and the darkness.
    """
    level = np.float32(random.uniform(0.3, 1))
    side = random.integers(4)
    if side < 2:
        band = np.full((HEIGHT_PX, int(random.integers(1, 9))), level, np.float32)
        if side == 0:
            return np.concatenate((band, ink), axis=1), band.shape[1]
        return np.concatenate((ink, band), axis=1), 0
    rows = min(int(random.integers(1, 5)), free[side - 2])
    if rows > 0:
        part = ink[:rows] if side == 2 else ink[-rows:]
        np.maximum(part, level, out=part)
    return ink, 0


def _draw_ruled_line(
    ink: Ink,
    y: float,
    thickness: float,
    level: float,
    random: np.random.Generator,
    straight: bool = False,
) -> None:
    """Draw a nearly horizontal line across all of `ink`; exactly horizontal if `straight`."""
    rows, columns = ink.shape
    drop = 0.0 if straight else random.normal(0, 0.012) * columns
    center = y + np.linspace(-drop / 2, drop / 2, columns)
    cover = np.clip(thickness / 2 + 0.5 - np.abs(np.arange(rows)[:, None] + 0.5 - center), 0, 1)
    cover = cover.astype(np.float32) * np.float32(level)
    if random.random() < _BROKEN_LINE_SHARE:
        period = int(random.integers(3, 14))
        cover[:, np.arange(columns) % period < period * random.uniform(0.2, 0.5)] = 0
    np.maximum(ink, cover, out=ink)
