"""Digits of seven-segment displays are read right or rejected, never another digit for certain."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from runtime import Classifier
from runtime.lookalikes import is_display_of_other

SEGMENTS = {
    "0": "abcdef", "2": "abdeg", "3": "abcdg", "4": "bcfg", "5": "acdfg", "6": "acdefg",
    "7": "abc", "8": "abcdefg", "9": "abcdfg",
}  # fmt: skip


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load()


def display(segments: str, stroke: int, gap: int, slant: float, light: bool) -> Image.Image:
    """A digit of 120 × 200 pixels, with segments of a width and gaps between them."""
    left, top, right, bottom, middle = 60, 40, 180, 240, 140
    near = {
        "a": (left + gap, top, right - gap, top + stroke),
        "b": (right - stroke, top + gap, right, middle - gap),
        "c": (right - stroke, middle + gap, right, bottom - gap),
        "d": (left + gap, bottom - stroke, right - gap, bottom),
        "e": (left, middle + gap, left + stroke, bottom - gap),
        "f": (left, top + gap, left + stroke, middle - gap),
        "g": (left + gap, middle - stroke // 2, right - gap, middle + stroke // 2),
    }
    background, ink = (30, 225) if light else (172, 20)
    image = Image.new("L", (260, 280), background)
    for segment in segments:
        ImageDraw.Draw(image).rectangle(near[segment], fill=ink)
    matrix = (1.0, slant, -slant * 140, 0.0, 1.0, 0.0)
    bilinear = Image.Resampling.BILINEAR
    affine = Image.Transform.AFFINE
    return image.transform(image.size, affine, matrix, bilinear, fillcolor=background)


@pytest.mark.parametrize("light", [False, True])
@pytest.mark.parametrize("slant", [0.0, 0.12])
@pytest.mark.parametrize(("stroke", "gap"), [(12, 0), (20, 4), (30, 0), (24, 8)])
def test_display_digit_is_right_or_rejected(
    classifier: Classifier, stroke: int, gap: int, slant: float, light: bool
) -> None:
    """A 3 was read as 7, and a 6 as 5."""
    for digit, segments in SEGMENTS.items():
        prediction = classifier.classify(display(segments, stroke, gap, slant, light))
        assert prediction.label == digit or not prediction.accepted, (digit, prediction.label)


def test_display_is_compared_with_the_predicted_digit(classifier: Classifier) -> None:
    three = classifier.preprocess(display(SEGMENTS["3"], 20, 4, 0.0, False)).pixels
    seven = classifier.preprocess(display(SEGMENTS["7"], 20, 4, 0.0, False)).pixels
    assert is_display_of_other(three, 7)
    assert not is_display_of_other(seven, 7)
    assert not is_display_of_other(three, 3)


def test_blank_image_and_bar_are_not_compared() -> None:
    bar = np.zeros((28, 28, 1), np.uint8)
    assert not is_display_of_other(bar, 7)
    bar[4:24, 12:15] = 255
    assert not is_display_of_other(bar, 7)
