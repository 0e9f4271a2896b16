"""Digits that touch preprinted lines are read: those of tables, boxes, combs and squared paper."""

import time
from itertools import pairwise

import numpy as np
import pytest

from runtime.multi_digit.ellipse import distance_from_ellipse
from runtime.multi_digit.frames import find_frames, lines_of_frames
from runtime.preprocess.connected_components import find_components
from tests.runtime.multi_digit.test_read_lines import HEIGHT, Array, drawn, number, read

pytestmark = pytest.mark.portable

MARGIN = 40  # pixels around the numbers


def ends(ink: Array) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of the ink."""
    columns, rows = np.flatnonzero(ink.any(axis=0)), np.flatnonzero(ink.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def framed(ink: Array, box: tuple[float, float, float, float], *dividers: float) -> Array:
    """Draw a box around ink, and vertical lines in it at some columns."""
    left, top, right, bottom = box
    sides = [(left, top, left, bottom), (right, top, right, bottom)]
    levels = [(left, top, right, top), (left, bottom, right, bottom)]
    return drawn(ink, *sides, *levels, *((x, top, x, bottom) for x in dividers), width=2)


def table(texts: tuple[str, ...], into_px: int) -> Array:
    """Return the ink of a table of one column; its right side is `into_px` pixels in the ink."""
    rows = [number(text, margin=14) for text in texts]
    width = max(row.shape[1] for row in rows)
    ink = np.concatenate([np.pad(row, ((0, 0), (width - row.shape[1], 0))) for row in rows])
    ink = np.pad(ink, MARGIN)
    left, top, right, bottom = ends(ink)
    box = left - 12, top - 12, right - into_px, bottom + 12
    framed_ink = framed(ink, box)
    height = len(rows[0])
    levels = [(box[0], MARGIN + n * height, box[2], MARGIN + n * height) for n in (1, 2)]
    return drawn(framed_ink, *levels[: len(texts) - 1], width=2)


@pytest.mark.parametrize("into_px", [1, 5, 12])
@pytest.mark.parametrize("texts", [("228", "803", "60"), ("4820", "93")])
def test_digits_on_the_side_of_a_table_are_read(texts: tuple[str, ...], into_px: int) -> None:
    assert read(table(texts, into_px)) == texts


@pytest.mark.parametrize("text", ["5607", "9038", "2460"])
def test_digit_on_a_line_between_two_boxes_is_read(text: str) -> None:
    """The line crosses the second digit."""
    ink = number(text, gap=0.6, margin=MARGIN)
    left, top, right, bottom = ends(ink)
    step = (right - left) / len(text)
    box = left - 15, top - 12, right + 15, bottom + 12
    assert read(framed(ink, box, left + 1.3 * step)) == (text,)


@pytest.mark.parametrize("text", ["63", "84", "845", "2078"])
def test_digit_on_a_box_that_is_drawn_by_hand_is_read(text: str) -> None:
    ink = number(text, margin=MARGIN)
    left, top, right, bottom = ends(ink)
    wave = [(x, 4 * np.sin(x / 40)) for x in range(left - 15, right + 6, 6)]
    levels = [
        (x, y + dy, following, y + following_dy)
        for y in (top - 14, bottom + 14)
        for (x, dy), (following, following_dy) in pairwise(wave)
    ]
    sides = [(x, top - 18, x, bottom + 18) for x in (left - 15, right - 3)]
    assert read(drawn(ink, *levels, *sides, width=3)) == (text,)


def circled(ink: Array, into_px: int, wobble: float = 0.0) -> Array:
    """Draw an ellipse around ink that cuts `into_px` pixels of its right end."""
    left, top, right, bottom = ends(ink)
    across = (right - into_px - left + 24) / 2
    down = 0.75 * (bottom - top)
    x, y = left - 24 + across, (top + bottom) / 2
    angles = np.linspace(0, 2 * np.pi, 90)
    radii = 1 + wobble * np.sin(2 * angles + 1)
    points = np.stack((x + across * radii * np.cos(angles), y + down * radii * np.sin(angles)))
    strokes = [(*start, *end) for start, end in pairwise(points.T.tolist())]
    return drawn(ink, *strokes, width=3)


@pytest.mark.parametrize("wobble", [0.0, 0.03])
@pytest.mark.parametrize("into_px", [2, 4])
@pytest.mark.parametrize("text", ["70", "502", "806"])
def test_digit_on_a_circle_is_read(text: str, into_px: int, wobble: float) -> None:
    assert read(circled(number(text, margin=MARGIN), into_px, wobble)) == (text,)


def test_only_a_closed_curve_is_an_ellipse() -> None:
    blank = np.zeros((90, 160), np.float32)
    rectangle = framed(blank, (0, 0, 159, 89)) > 0.5
    ellipse = circled(np.pad(np.ones((40, 60), np.float32), 50), 0) > 0.5
    left, top, right, bottom = ends(ellipse)
    ellipse[50:90, 50:110] = False
    assert distance_from_ellipse(rectangle, 4) is None
    distance = distance_from_ellipse(ellipse[top:bottom, left:right], 4)
    assert distance is not None
    assert distance[ellipse[top:bottom, left:right]].max() < 6


@pytest.mark.parametrize("text", ["673", "88685", "427"])
def test_comb_that_is_open_above_has_no_digit(text: str) -> None:
    """Its sides are as tall as the digits, and its teeth are low."""
    ink = number(text, gap=0.6, margin=MARGIN)
    left, top, right, bottom = ends(ink)
    has_ink = ink.max(axis=0) > 0
    gaps = [x for x in range(left, right) if has_ink[x] and not has_ink[x + 1]][:-1]
    teeth = [(x + 15, bottom - 8, x + 15, bottom + 8) for x in gaps]
    base = (left - 12, bottom + 8, right + 12, bottom + 8)
    sides = [(x, top - 8, x, bottom + 8) for x in (left - 12, right + 12)]
    assert read(drawn(ink, base, *sides, *teeth, width=2)) == (text,)


@pytest.mark.parametrize("square", [0.5, 0.9])
@pytest.mark.parametrize("text", ["2035", "13", "54275"])
def test_wide_picture_of_squared_paper_is_read(text: str, square: float) -> None:
    """Its vertical lines are shorter than 0.4 of its width, as the stems of a tight crop are."""
    ink = np.pad(number(text, margin=60), ((0, 0), (0, 500)))
    step = square * HEIGHT
    height, width = ink.shape
    lines = np.zeros_like(ink)
    for start in np.arange(0.3 * step, width, step).astype(int).tolist():
        lines[:, start : start + 1] = 0.35
    for start in np.arange(0.3 * step, height, step).astype(int).tolist():
        lines[start : start + 1] = 0.35
    assert read(np.maximum(ink, lines)) == (text,)


def test_1s_as_tall_as_a_picture_with_a_rule_are_not_squared_paper() -> None:
    ink = number("111171", margin=0)
    ink = np.pad(ink, ((0, 8), (20, 20)))
    ink[-5:-3] = 0.9
    assert len(read(ink)[0]) == 6


def test_many_large_frames_take_little_time() -> None:
    mask = np.zeros((1024, 1024), np.bool_)
    for n in range(0, 480, 6):
        mask[n : 1024 - n, [n, n + 1, 1022 - n, 1023 - n]] = True
        mask[[n, n + 1, 1022 - n, 1023 - n], n : 1024 - n] = True
    components = find_components(mask, mask.astype(np.float32))
    assert components is not None
    frames = find_frames(components)
    assert frames.sum() > 30
    started = time.process_time()
    lines_of_frames(components, frames, 40.0)
    assert time.process_time() - started < 1


@pytest.mark.parametrize("drop", [1, 4])
@pytest.mark.parametrize("texts", [("2791", "318"), ("5862", "9137"), ("110", "9537")])
def test_numbers_on_the_lines_of_a_form_are_read(texts: tuple[str, ...], drop: int) -> None:
    """All digits stand on lines that end before the image border: one component for each line."""
    rows = []
    for text in texts:
        ink = number(text, margin=30)
        _, _, _, bottom = ends(ink)
        row = np.zeros((len(ink), 720), np.float32)
        row[:, 60 : 60 + ink.shape[1]] = ink
        row[bottom - drop : bottom - drop + 2, 40:680] = 0.9
        rows.append(row)
    assert read(np.concatenate(rows)) == texts
