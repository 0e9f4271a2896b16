"""Digits are found in pictures that are cropped to their ink, and other pictures are left alone."""

from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits

from runtime.preprocess.background import subtract_even_background
from runtime.preprocess.connected_components import find_components
from runtime.preprocess.pipeline import DARK_ON_LIGHT, LIGHT_ON_DARK, preprocess
from runtime.preprocess.tight_crop import is_tight

Array = np.ndarray[Any, np.dtype[Any]]
DIGITS = load_digits().images[:30]
SIDE = 120  # pixels


def tight(digit: Array, margin: float, pen: float = 6) -> Array:
    """A digit cropped to its ink, from 0 to 1, with a margin as a share of its height.

    Args:
        digit: (8, 8), 0 to 16.
        margin: of all sides.
        pen: level, 0 to 16, above which a pixel is ink; a lower one makes a thicker pen.
    """
    image = Image.fromarray(digit.astype(np.float32)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    ink = np.clip((np.asarray(image) - pen) / 2 + 0.5, 0, 1)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    cropped = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.pad(cropped, round(margin * len(cropped)))


def gray(ink: Array, paper: int, level: int, noise: float = 0) -> Array:
    values = paper + (level - paper) * ink + np.random.default_rng(0).normal(0, noise, ink.shape)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("paper", "level", "noise"),
    [(255, 0, 0), (0, 255, 0), (190, 70, 0), (80, 180, 0), (200, 60, 4)],
    ids=["white", "black", "gray paper", "light on gray", "noisy"],
)
@pytest.mark.parametrize("margin", [0, 0.02, 0.05])
def test_digit_without_margin_gives_the_pixels_of_one_with_a_margin(
    margin: float, paper: int, level: int, noise: float
) -> None:
    polarity = DARK_ON_LIGHT if level < paper else LIGHT_ON_DARK
    for pen in (3.0, 6.0):
        for digit in DIGITS:
            result, expected = (
                preprocess(Image.fromarray(gray(tight(digit, share, pen), paper, level, noise)))
                for share in (margin, 0.5)
            )
            assert (result.method, result.polarity) == ("luminance", polarity)
            correlation = np.corrcoef(result.pixels.ravel(), expected.pixels.ravel())[0, 1]
            assert correlation > 0.8


@pytest.mark.parametrize("width", [14, 24, 40])
@pytest.mark.parametrize("slant", [0, 6, -10])
def test_stroke_from_top_to_bottom_is_a_digit(width: int, slant: int) -> None:
    image = Image.new("L", (width, 100), 255)
    ends = (width / 2 - slant / 2, -5, width / 2 + slant / 2, 105)
    ImageDraw.Draw(image).line(ends, fill=0, width=width // 3)
    result = preprocess(image)
    assert (result.method, result.polarity) == ("luminance", DARK_ON_LIGHT)
    assert result.pixels.any()


def test_sheet_on_a_table_is_not_a_tight_crop() -> None:
    for digit in DIGITS:
        sheet = gray(tight(digit, 0.2), 230, 40)
        foreground = subtract_even_background(np.pad(sheet, 8, constant_values=60), dark=False)
        assert foreground is not None
        mask = foreground.contrast > 0.5 * foreground.ink_level
        components = find_components(mask, foreground.contrast)
        assert components is not None
        assert not is_tight(mask, components, 0)


def test_grid_without_digit_is_not_a_tight_crop() -> None:
    grid = np.full((160, 200), 240, np.uint8)
    grid[10::25] = grid[:, 10::25] = 90
    assert preprocess(Image.fromarray(grid)).method == "blank"


def test_bright_pixel_on_two_similar_grays_is_not_a_digit() -> None:
    picture = np.full((192, 192), 100, np.uint8)
    picture[60:130, 1:190] = 106
    picture[3, 5] = 250  # not among the sampled pixels
    assert preprocess(Image.fromarray(picture)).method == "blank"


@pytest.mark.parametrize("margin", [0, 5])
def test_soft_edges_of_a_small_digit_are_kept(margin: int) -> None:
    four = np.full((20, 12), 255, np.uint8)
    four[:12, 1:4] = four[3:, 8:11] = four[9:12] = 0
    hard = preprocess(Image.fromarray(np.pad(four, margin, constant_values=255)))
    four[:9, 4] = four[3:9, 7] = four[12:, 7] = 200  # a pixel that is covered to a fifth
    soft = preprocess(Image.fromarray(np.pad(four, margin, constant_values=255)))
    assert soft.pixels.sum(dtype=int) > 1.02 * hard.pixels.sum(dtype=int)
