"""Light digits in dark windows of a light panel are read, as on the counter of a meter."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from runtime import Classifier

FONT = ImageFont.load_default(120)
WIDTH = 120  # pixels of a window
HEIGHT = 180


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load()


def panel(text: str, face: int, window: int, digit: int, gap: int) -> Image.Image:
    """A panel of gray level `face` with a window for each digit, separated by `gap` pixels."""
    image = Image.new("L", ((WIDTH + gap) * len(text) + gap, HEIGHT + 2 * gap), face)
    draw = ImageDraw.Draw(image)
    for number, character in enumerate(text):
        left = gap + number * (WIDTH + gap)
        draw.rectangle((left, gap, left + WIDTH - 1, gap + HEIGHT - 1), fill=window)
        center = (left + WIDTH / 2, gap + HEIGHT / 2)
        draw.text(center, character, fill=digit, font=FONT, anchor="mm")
    return image


@pytest.mark.parametrize("face", [225, 255])
@pytest.mark.parametrize("gap", [12, 30])
def test_digit_in_a_window_is_classified(classifier: Classifier, face: int, gap: int) -> None:
    labels = [classifier.classify(panel(text, face, 25, 235, gap)).label for text in "0123456789"]
    assert sum(np.array(labels) == list("0123456789")) >= 9


@pytest.mark.parametrize("face", [225, 255])
@pytest.mark.parametrize("text", ["86502", "583", "70264"])
def test_number_in_windows_is_read(classifier: Classifier, face: int, text: str) -> None:
    assert classifier.read(panel(text, face, 25, 235, 12)).lines == (text,)


def test_dark_digits_in_light_windows_are_read(classifier: Classifier) -> None:
    assert classifier.read(panel("4072", 40, 230, 20, 12)).lines == ("4072",)


@pytest.mark.parametrize("width", [13, 20])
@pytest.mark.parametrize("bars", [2, 3])
def test_hole_of_a_thick_0_or_8_is_not_a_digit(
    classifier: Classifier, width: int, bars: int
) -> None:
    """The hole of a display's 0 was read as a light 1 in a dark window."""
    image = Image.new("L", (130, 180), 230)
    draw = ImageDraw.Draw(image)
    for y in np.linspace(40, 140 - width, bars).astype(int).tolist():
        draw.rectangle((40, y, 90, y + width), fill=20)
    for x in (40, 90 - width):
        draw.rectangle((x, 40, x + width, 140), fill=20)
    preprocessed = classifier.preprocess(image)
    assert preprocessed.polarity == "dark on light"
    assert preprocessed.box == (40, 40, 91, 141)
