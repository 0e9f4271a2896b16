"""Drawings of the preprocessing; implausible shapes, the letter B and lookalikes are rejected."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits

from runtime import visualize
from runtime.backends import open_backend
from runtime.classifier import Classifier
from runtime.errors import EdgeError
from runtime.lookalikes import has_straight_left_edge
from runtime.model import artifact
from runtime.model.default_model import find_model
from runtime.model.rejection import CERTAIN_CONFIDENCE
from runtime.preprocess.pipeline import DARK_ON_LIGHT, preprocess
from runtime.tta import tta_variants

pytestmark = pytest.mark.portable

Array = np.ndarray[Any, np.dtype[Any]]
CLASSIFIER = Classifier.load()
PAPER_LEVEL = 215
INK_LEVEL = 40


def digit(number: int = 0) -> Array:
    """Return a page with the digit of this number in scikit-learn's data set."""
    small = Image.fromarray(load_digits().images[number].astype(np.float32))
    ink = np.asarray(small.resize((120, 120), Image.Resampling.BICUBIC))
    page = np.full((240, 300), PAPER_LEVEL, np.uint8)
    page[60:180, 90:210][ink > 6] = INK_LEVEL
    return page


def drawn(draw: Any) -> Array:
    page = Image.new("L", (200, 200), PAPER_LEVEL)
    draw(ImageDraw.Draw(page))
    return np.asarray(page)


def test_return_view_adds_the_preprocessed_image_to_the_prediction() -> None:
    page = digit()
    view = CLASSIFIER.classify(page, return_view=True).view
    assert view is not None
    expected = preprocess(page)
    assert np.array_equal(view.pixels, expected.pixels)
    assert (view.box, view.polarity, view.method) == (expected.box, DARK_ON_LIGHT, "luminance")


def test_prediction_has_no_view_by_default() -> None:
    assert CLASSIFIER.classify(digit()).view is None


def test_drawing_shows_the_box_and_the_pixels() -> None:
    page = digit()
    prediction = CLASSIFIER.classify(page, return_view=True)
    assert prediction.view is not None
    assert prediction.accepted
    picture = np.asarray(visualize.draw_preprocessed(page, prediction.view, prediction)).astype(int)
    left, top, _, bottom = prediction.view.box
    red, green, _ = picture[12 + (top + bottom) // 2, 12 + left]
    assert green > red + 60
    enlarged = picture[12 : 12 + 336, 12 + 300 + 12 : 12 + 300 + 12 + 336, 0]
    assert np.array_equal(enlarged[6::12, 6::12], prediction.view.pixels[:, :, 0])


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "I;16", "CMYK", "1"])
@pytest.mark.parametrize("size", [(1, 1), (28, 28), (3000, 40)])
def test_every_mode_and_size_can_be_drawn(mode: str, size: tuple[int, int]) -> None:
    image = Image.new(mode, size)
    prediction = CLASSIFIER.classify(image, return_view=True)
    assert prediction.view is not None
    assert visualize.draw_preprocessed(image, prediction.view, prediction).mode == "RGB"


def test_saved_drawing_is_a_png_in_a_new_folder(tmp_path) -> None:
    visualize.save(Image.new("RGB", (4, 4)), tmp_path / "new" / "drawing.png")
    with Image.open(tmp_path / "new" / "drawing.png") as written:
        assert written.size == (4, 4)


def test_drawing_that_cannot_be_written_is_an_edge_error(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgeError, match="cannot write"):
        visualize.save(Image.new("RGB", (4, 4)), tmp_path / "file" / "drawing.png")


IMPLAUSIBLE_SHAPES = {
    "square": lambda pen: pen.rectangle((60, 60, 140, 140), fill=INK_LEVEL),
    "disc": lambda pen: pen.ellipse((60, 60, 140, 140), fill=INK_LEVEL),
    "dash": lambda pen: pen.line((40, 100, 160, 100), fill=INK_LEVEL, width=8),
    "ring around a dash": lambda pen: (
        pen.ellipse((50, 40, 150, 160), outline=INK_LEVEL, width=8),
        pen.line((80, 100, 120, 100), fill=INK_LEVEL, width=8),
    ),
    "16 strokes": lambda pen: [
        pen.line((20 + 40 * x, 20 + 40 * y, 40 + 40 * x, 35 + 40 * y), fill=INK_LEVEL, width=6)
        for x in range(4)
        for y in range(4)
    ],
    "checkerboard": lambda pen: [
        pen.rectangle((50 * x, 50 * y, 50 * x + 49, 50 * y + 49), fill=INK_LEVEL)
        for x in range(4)
        for y in range(1 - x % 2, 4, 2)
    ],
}


@pytest.mark.parametrize("kind", IMPLAUSIBLE_SHAPES)
def test_implausible_shape_is_rejected(kind: str) -> None:
    page = drawn(IMPLAUSIBLE_SHAPES[kind])
    # A checkerboard fills the picture, so its outline is a digit's; its confidence rejects it.
    assert preprocess(page).implausible or kind == "checkerboard"
    assert not CLASSIFIER.classify(page).accepted
    assert not any(prediction.accepted for prediction in CLASSIFIER.classify_batch([page] * 5))
    assert CLASSIFIER.read(page).text in ("", "?")


def test_no_digit_has_an_implausible_shape() -> None:
    assert not any(preprocess(digit(number)).implausible for number in range(60))


def pi(pen: Any) -> None:
    """Draw the letter π."""
    for line in ((40, 50, 160, 44), (80, 50, 66, 150), (122, 48, 126, 130), (126, 130, 146, 152)):
        pen.line(line, fill=INK_LEVEL, width=9)


def test_symbol_that_resembles_a_digit_is_rejected_by_test_time_augmentation() -> None:
    page = drawn(pi)
    assert not CLASSIFIER.classify(page).accepted
    assert not any(prediction.accepted for prediction in CLASSIFIER.classify_batch([page, page]))


def letter_b(slant: float, width: int) -> Array:
    """Return a handwritten B: two bows on a straight, slanted stroke."""
    page = Image.new("L", (200, 200), PAPER_LEVEL)
    pen = ImageDraw.Draw(page)
    pen.line((70, 30, 70, 170), fill=INK_LEVEL, width=width)
    pen.arc((15, 30, 125, 100), -90, 90, fill=INK_LEVEL, width=width)
    pen.arc((0, 95, 140, 170), -90, 90, fill=INK_LEVEL, width=width)
    shear = (1, slant, -100 * slant, 0, 1, 0)
    page = page.transform(
        page.size, Image.Transform.AFFINE, shear, Image.Resampling.BILINEAR, fillcolor=PAPER_LEVEL
    )
    return np.asarray(page)


@pytest.mark.parametrize("slant", [-0.1, 0.0, 0.25])
@pytest.mark.parametrize("width", [6, 14])
def test_letter_b_is_not_accepted_as_8(slant: float, width: int) -> None:
    page = letter_b(slant, width)
    assert CLASSIFIER.classify(preprocess(page).pixels).label == "8"
    assert has_straight_left_edge(preprocess(page).pixels)
    assert not CLASSIFIER.classify(page).accepted
    assert not any(prediction.accepted for prediction in CLASSIFIER.classify_batch([page, page]))
    assert set(CLASSIFIER.read(page).text) <= {"?"}


def test_letter_b_is_accepted_by_a_model_of_other_classes() -> None:
    """Such a model has no rejection model, because B may be one of its classes."""
    published = artifact.read(find_model())
    letters = replace(published.spec, rejection_model=None, confidence_threshold=0.1)
    classifier = Classifier(open_backend(replace(published, spec=letters)))
    page = letter_b(0, 10)
    assert classifier.classify(page).accepted


@pytest.mark.parametrize("width", [14, 30])
def test_bold_letter_is_one_piece_for_a_model_of_other_classes(width: int) -> None:
    published = artifact.read(find_model())
    letters = replace(published.spec, rejection_model=None, confidence_threshold=0.1)
    classifier = Classifier(open_backend(replace(published, spec=letters)))
    assert len(classifier.read(letter_b(-0.1, width)).text) == 1


def test_hardly_any_8_has_a_straight_left_edge() -> None:
    """At most 3 %: some of these 8s, of 8×8 pixels, have lost their waist."""
    digits = load_digits()
    eights = [digit(int(number)) for number in np.flatnonzero(digits.target == 8)]
    assert np.mean([has_straight_left_edge(preprocess(page).pixels) for page in eights]) <= 0.03


def test_blank_image_has_no_straight_left_edge() -> None:
    assert not has_straight_left_edge(np.zeros((28, 28, 1), np.uint8))


def test_ink_with_a_gap_has_no_straight_left_edge() -> None:
    pixels = np.zeros((28, 28, 1), np.uint8)
    pixels[4:10, 8:20] = pixels[18:24, 8:20] = 255
    assert not has_straight_left_edge(pixels)


def test_confirmation_rejects_few_correct_digits() -> None:
    """At most 8 of 80 digits that the rejection model alone would accept."""
    pages = [digit(number) for number in range(80)]
    predictions = CLASSIFIER.classify_batch(pages)
    labels = load_digits().target[:80].astype(str)
    # Pixels skip the confirmation: the shape checks and test-time augmentation.
    lost = [
        label == prediction.label
        and not prediction.accepted
        and CLASSIFIER.classify(preprocess(page).pixels).accepted
        for prediction, label, page in zip(predictions, labels, pages, strict=True)
    ]
    assert sum(lost) <= 8


def test_uncertain_prediction_is_the_mean_over_varied_copies() -> None:
    """Those of confident pictures, and of pixels, are the scores of the image itself."""
    pages = [digit(number) for number in range(40)]
    confidences = [CLASSIFIER.scores(preprocess(page).pixels[None]).max() for page in pages]
    for place in (int(np.argmin(confidences)), int(np.argmax(confidences))):
        pixels = preprocess(pages[place]).pixels
        own = CLASSIFIER.scores(pixels[None])[0]
        expected = CLASSIFIER.scores(tta_variants(pixels)).mean(axis=0)
        prediction = CLASSIFIER.classify(pages[place])
        uncertain = own.max() < CERTAIN_CONFIDENCE
        assert np.allclose(prediction.scores, expected if uncertain else own)
        assert prediction.confidence == prediction.scores.max()
        assert prediction.label == str(prediction.scores.argmax())
        assert np.array_equal(CLASSIFIER.classify(pixels).scores, own)
    assert min(confidences) < CERTAIN_CONFIDENCE < max(confidences)


def test_image_alone_and_in_a_batch_gets_the_same_decision() -> None:
    pages = [digit(number) for number in range(80)]
    together = [prediction.accepted for prediction in CLASSIFIER.classify_batch(pages)[:20]]
    alone = [CLASSIFIER.classify(page).accepted for page in pages[:20]]
    assert alone == together


def test_first_variant_is_the_image_and_the_next_are_thicker_and_thinner() -> None:
    pixels = preprocess(digit()).pixels
    variants = tta_variants(pixels)
    assert variants.shape == (15, 28, 28, 1)
    assert variants.dtype == np.uint8
    assert np.corrcoef(variants[0].ravel(), pixels.ravel())[0, 1] > 0.95
    assert variants[2].sum() < variants[0].sum() < variants[1].sum()


@pytest.mark.parametrize("flag", [0.2, 0.35, 0.5])
@pytest.mark.parametrize("degrees", [45, 55, 65])
def test_one_with_a_long_flag_is_read_as_1(degrees: int, flag: float) -> None:
    """A continental 1; the flag is a share of its height, the angle from the horizontal."""
    image = Image.new("L", (200, 260), PAPER_LEVEL)
    angle = math.radians(degrees)
    end = (120 - 200 * flag * math.cos(angle), 30 + 200 * flag * math.sin(angle))
    ImageDraw.Draw(image).line((*end, 120, 30, 112, 230), fill=INK_LEVEL, width=10)
    prediction = CLASSIFIER.classify(image)
    assert (prediction.label, prediction.accepted) == ("1", True)
