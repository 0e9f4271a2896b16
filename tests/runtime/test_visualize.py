"""How an image was seen can be asked for and drawn; what has no digit's shape is not accepted."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits

from runtime import visualize
from runtime.backends import open_backend
from runtime.classifier import Classifier, find_model
from runtime.errors import EdgeError
from runtime.lookalikes import has_straight_left_edge
from runtime.model import artifact
from runtime.preprocess.pipeline import DARK_ON_LIGHT, preprocess
from runtime.tta import tta_variants

Array = np.ndarray[Any, np.dtype[Any]]
CLASSIFIER = Classifier.load()
PEN = 215, 40


def digit(number: int = 0) -> Array:
    small = Image.fromarray(load_digits().images[number].astype(np.float32))
    ink = np.asarray(small.resize((120, 120), Image.Resampling.BICUBIC))
    page = np.full((240, 300), PEN[0], np.uint8)
    page[60:180, 90:210][ink > 6] = PEN[1]
    return page


def drawn(draw: Any) -> Array:
    page = Image.new("L", (200, 200), PEN[0])
    draw(ImageDraw.Draw(page))
    return np.asarray(page)


def test_a_prediction_says_how_the_image_was_seen_where_asked() -> None:
    page = digit()
    seen = CLASSIFIER.classify(page, return_view=True).view
    assert seen is not None
    expected = preprocess(page)
    assert np.array_equal(seen.pixels, expected.pixels)
    assert (seen.box, seen.polarity, seen.method) == (expected.box, DARK_ON_LIGHT, "luminance")
    assert CLASSIFIER.classify(page).view is None


def test_the_picture_shows_the_box_and_the_pixels() -> None:
    page = digit()
    prediction = CLASSIFIER.classify(page, return_view=True)
    assert prediction.view is not None
    assert prediction.accepted
    picture = np.asarray(visualize.draw_preprocessed(page, prediction.view, prediction)).astype(int)
    left, top, _, bottom = prediction.view.box
    red, green, _ = picture[12 + (top + bottom) // 2, 12 + left]
    assert green > red + 60
    beside = picture[12 : 12 + 336, 12 + 300 + 12 : 12 + 300 + 12 + 336, 0]
    assert np.array_equal(beside[6::12, 6::12], prediction.view.pixels[:, :, 0])


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "I;16", "CMYK", "1"])
@pytest.mark.parametrize("size", [(1, 1), (28, 28), (3000, 40)])
def test_any_image_can_be_drawn(mode: str, size: tuple[int, int]) -> None:
    image = Image.new(mode, size)
    prediction = CLASSIFIER.classify(image, return_view=True)
    assert prediction.view is not None
    assert visualize.draw_preprocessed(image, prediction.view, prediction).mode == "RGB"


def test_a_picture_that_cannot_be_written_is_one_error(tmp_path) -> None:
    picture = Image.new("RGB", (4, 4))
    visualize.save(picture, tmp_path / "new" / "seen.png")
    with Image.open(tmp_path / "new" / "seen.png") as written:
        assert written.size == (4, 4)
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgeError, match="cannot write"):
        visualize.save(picture, tmp_path / "file" / "seen.png")


# What has no digit's shape


ODD = {
    "square": lambda pen: pen.rectangle((60, 60, 140, 140), fill=PEN[1]),
    "disc": lambda pen: pen.ellipse((60, 60, 140, 140), fill=PEN[1]),
    "ring around a dash": lambda pen: (
        pen.ellipse((50, 40, 150, 160), outline=PEN[1], width=8),
        pen.line((80, 100, 120, 100), fill=PEN[1], width=8),
    ),
    "one letter of many": lambda pen: [
        pen.line((20 + 40 * x, 20 + 40 * y, 40 + 40 * x, 35 + 40 * y), fill=PEN[1], width=6)
        for x in range(4)
        for y in range(4)
    ],
    "chequers": lambda pen: [
        pen.rectangle((50 * x, 50 * y, 50 * x + 49, 50 * y + 49), fill=PEN[1])
        for x in range(4)
        for y in range(1 - x % 2, 4, 2)
    ],
}


@pytest.mark.parametrize("kind", ODD)
def test_what_has_no_digits_shape_is_not_accepted(kind: str) -> None:
    page = drawn(ODD[kind])
    assert preprocess(page).implausible
    assert not CLASSIFIER.classify(page).accepted
    assert not any(prediction.accepted for prediction in CLASSIFIER.classify_batch([page] * 5))
    assert CLASSIFIER.read(page).text == ""


def test_digits_have_a_digits_shape() -> None:
    assert not any(preprocess(digit(number)).implausible for number in range(60))


def pi(pen: Any) -> None:
    for line in ((40, 50, 160, 44), (80, 50, 66, 150), (122, 48, 126, 130), (126, 130, 146, 152)):
        pen.line(line, fill=PEN[1], width=9)


def test_what_only_resembles_a_digit_is_refused_at_a_second_look() -> None:
    page = drawn(pi)
    assert not CLASSIFIER.classify(page).accepted
    assert not any(prediction.accepted for prediction in CLASSIFIER.classify_batch([page, page]))


def letter_b(slant: float, width: int) -> Array:
    """A B as one writes it: two bows on a straight back, which slants."""
    page = Image.new("L", (200, 200), PEN[0])
    pen = ImageDraw.Draw(page)
    pen.line((70, 30, 70, 170), fill=PEN[1], width=width)
    pen.arc((15, 30, 125, 100), -90, 90, fill=PEN[1], width=width)
    pen.arc((0, 95, 140, 170), -90, 90, fill=PEN[1], width=width)
    shear = (1, slant, -100 * slant, 0, 1, 0)
    page = page.transform(
        page.size, Image.Transform.AFFINE, shear, Image.Resampling.BILINEAR, fillcolor=PEN[0]
    )
    return np.asarray(page)


@pytest.mark.parametrize("slant", [-0.1, 0.0, 0.25])
@pytest.mark.parametrize("width", [6, 14])
def test_a_b_is_not_read_as_8(slant: float, width: int) -> None:
    page = letter_b(slant, width)
    assert CLASSIFIER.classify(preprocess(page).pixels).label == "8"
    assert has_straight_left_edge(preprocess(page).pixels)
    assert not CLASSIFIER.classify(page).accepted
    assert not any(prediction.accepted for prediction in CLASSIFIER.classify_batch([page, page]))
    assert CLASSIFIER.read(page).text == ""


def test_a_model_of_other_classes_may_read_a_b_as_it_likes() -> None:
    """Only of ten digits is it known what else there is: they alone have a rule of ink."""
    known = artifact.read(find_model())
    letters = replace(known.spec, rejection_model=None, confidence_threshold=0.1)
    classifier = Classifier(open_backend(replace(known, spec=letters)))
    page = letter_b(0, 10)
    assert classifier.classify(page).accepted


def test_an_8_has_a_waist() -> None:
    digits = load_digits()
    eights = [digit(int(number)) for number in np.flatnonzero(digits.target == 8)]
    # Of eight by eight pixels, so that some have lost it.
    assert np.mean([has_straight_left_edge(preprocess(page).pixels) for page in eights]) <= 0.03
    assert not has_straight_left_edge(np.zeros((28, 28, 1), np.uint8))
    apart = np.zeros((28, 28, 1), np.uint8)
    apart[4:10, 8:20] = apart[18:24, 8:20] = 255
    assert not has_straight_left_edge(apart)


def test_a_second_look_refuses_hardly_any_digit_read_rightly() -> None:
    pages = [digit(number) for number in range(80)]
    predictions = CLASSIFIER.classify_batch(pages)
    labels = load_digits().target[:80].astype(str)
    # Pixels are judged by the network and its rule alone.
    lost = [
        label == one.label
        and not one.accepted
        and CLASSIFIER.classify(preprocess(page).pixels).accepted
        for one, label, page in zip(predictions, labels, pages, strict=True)
    ]
    assert sum(lost) <= 8
    alone = [CLASSIFIER.classify(page).accepted for page in pages[:20]]
    assert alone == [one.accepted for one in predictions[:20]]


def test_variants_are_pixels_and_the_first_is_the_same_ink() -> None:
    pixels = preprocess(digit()).pixels
    written = tta_variants(pixels)
    assert written.shape == (15, 28, 28, 1)
    assert written.dtype == np.uint8
    assert np.corrcoef(written[0].ravel(), pixels.ravel())[0, 1] > 0.95
    assert written[2].sum() < written[0].sum() < written[1].sum()
