"""A digit is read in a region with another ground than its surroundings.

Such regions are dark windows of a light panel, as on the counter of a meter, sheets on a desk,
screens, and drawn circles and boxes.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from runtime import Classifier

FONT = ImageFont.load_default(120)
WIDTH = 120  # pixels of a window
HEIGHT = 180
SIDE = 400  # pixels of a picture with one region

# Draws a region of some gray levels: (pen, fill, outline).
Shape: TypeAlias = Callable[[ImageDraw.ImageDraw, int | None, int | None], None]


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


SHAPES: dict[str, Shape] = {
    "square": lambda pen, fill, line: pen.rectangle((90, 90, 310, 310), fill, line, 6),
    "disc": lambda pen, fill, line: pen.ellipse((70, 70, 330, 330), fill, line, 6),
    "oval": lambda pen, fill, line: pen.ellipse((90, 50, 310, 350), fill, line, 6),
    "rounded": lambda pen, fill, line: pen.rounded_rectangle((90, 70, 310, 330), 50, fill, line, 6),
    "large": lambda pen, fill, line: pen.rounded_rectangle((40, 40, 360, 360), 60, fill, line, 6),
}


def picture(
    shape: Shape, text: str, ground: int, fill: int | None, ink: int, tilt: float = 0
) -> Image.Image:
    """A digit in a region; an outline of the ink's level if `fill` is None."""
    image = Image.new("L", (SIDE, SIDE), ground)
    shape(ImageDraw.Draw(image), fill, ink if fill is None else None)
    image = image.rotate(tilt, Image.Resampling.BICUBIC, fillcolor=ground)
    ImageDraw.Draw(image).text((SIDE / 2, SIDE / 2), text, ink, FONT, anchor="mm")
    return image


@pytest.mark.parametrize("tilt", [0, 12])
@pytest.mark.parametrize(
    ("ground", "fill", "ink"),
    [(225, 25, 235), (180, 60, 170), (30, 230, 40), (200, None, 60), (40, None, 220)],
    ids=["dark window", "gray window", "sheet on a desk", "drawn line", "light line"],
)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_digit_in_a_region_is_classified(
    classifier: Classifier, shape: Shape, ground: int, fill: int | None, ink: int, tilt: float
) -> None:
    images = [picture(shape, text, ground, fill, ink, tilt) for text in "14680"]
    predictions = classifier.classify_batch(images)
    right = [
        prediction.accepted and prediction.label == text
        for prediction, text in zip(predictions, "14680", strict=True)
    ]
    assert all(right)


def test_digit_in_a_window_in_a_sheet_is_classified(classifier: Classifier) -> None:
    image = Image.new("L", (SIDE, SIDE), 40)
    pen = ImageDraw.Draw(image)
    pen.rectangle((60, 20, 340, 380), 230)
    pen.rounded_rectangle((110, 100, 290, 300), 20, 30)
    pen.text((SIDE / 2, SIDE / 2), "5", 240, FONT, anchor="mm")
    view = classifier.classify(image, return_view=True).view
    assert view is not None
    assert view.polarity == "light on dark"
    assert 150 < view.box[0] < view.box[2] < 250


@pytest.mark.parametrize("name", ["square", "disc", "rounded", "large"])
@pytest.mark.parametrize("text", ["H", "W", "K", "", "x"])
def test_window_without_a_digit_is_rejected(classifier: Classifier, name: str, text: str) -> None:
    """An empty window with round corners was a 0."""
    assert not classifier.classify(picture(SHAPES[name], text, 225, 25, 235)).accepted


@pytest.mark.parametrize("light", [False, True])
def test_paper_in_a_digit_is_not_a_window(classifier: Classifier, light: bool) -> None:
    levels = (20, 230) if light else (230, 20)
    for text in "0689":
        for pen_px in (0, 4, 8):
            image = Image.new("L", (SIDE, SIDE), levels[0])
            ImageDraw.Draw(image).text(
                (SIDE / 2, SIDE / 2),
                text,
                levels[1],
                FONT.font_variant(size=320),
                anchor="mm",
                stroke_width=pen_px,
                stroke_fill=levels[1],
            )
            preprocessed = classifier.preprocess(image)
            assert preprocessed.polarity == ("light on dark" if light else "dark on light")


def test_other_windows_are_neighbors(classifier: Classifier) -> None:
    assert classifier.preprocess(panel("583", 225, 25, 235, 12)).has_neighbors
    assert not classifier.preprocess(panel("5", 225, 25, 235, 12)).has_neighbors


def test_nested_frames_are_segmented_in_little_time(classifier: Classifier) -> None:
    """Each frame is a region within another, so the search is repeated for each."""
    image = Image.new("L", (192, 192), 255)
    for number, inset in enumerate(range(2, 94, 4)):
        box = (inset, inset, 191 - inset, 191 - inset)
        ImageDraw.Draw(image).rectangle(box, fill=255 * (number % 2))
    assert not classifier.classify(image).accepted


@pytest.mark.parametrize("face", [120, 150])
@pytest.mark.parametrize("text", ["2272", "9340", "84520", "603683"])
def test_windows_in_a_gray_housing_are_read(classifier: Classifier, face: int, text: str) -> None:
    """Between two windows the housing is nearer to their ground than to the digits."""
    image = panel(text, face, 25, 225, 18).resize((90 * len(text), 120), Image.Resampling.BOX)
    framed = Image.new("L", (image.width + 200, 220), face)
    framed.paste(image, (100, 50))
    noise = np.random.default_rng(0).normal(0, 4, (framed.height, framed.width))
    gray = np.clip(np.asarray(framed.filter(ImageFilter.GaussianBlur(1))) + noise, 0, 255)
    assert classifier.read(gray.astype(np.uint8)).lines == (text,)
