"""Models of custom classes have no rejection model: only the confidence threshold rejects."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from runtime.backends import open_backend
from runtime.classifier import Classifier
from runtime.model import artifact
from runtime.model.default_model import find_model
from runtime.preprocess.pipeline import preprocess

pytestmark = pytest.mark.portable

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def own_classes(confidence_threshold: float) -> Classifier:
    """Return the published model with words as labels and without its rejection model."""
    published = artifact.read(find_model())
    spec = replace(
        published.spec,
        labels=WORDS,
        rejection_model=None,
        confidence_threshold=confidence_threshold,
    )
    return Classifier(open_backend(replace(published, spec=spec)))


@pytest.fixture(scope="module")
def lenient() -> Classifier:
    return own_classes(0.0)


def letter(text: str, size: int = 64) -> np.ndarray:
    page = Image.new("L", (96, 96), 230)
    font = ImageFont.load_default(size)
    ImageDraw.Draw(page).text((48, 48), text, 30, font, anchor="mm")
    return np.asarray(page)


def row_of_filled_shapes(height: int = 60) -> np.ndarray:
    """A square, a disc and a triangle side by side."""
    page = Image.new("L", (4 * height, 2 * height), 230)
    draw = ImageDraw.Draw(page)
    top, bottom = height // 2, height // 2 + height
    draw.rectangle((20, top, 20 + height, bottom), fill=30)
    draw.ellipse((90, top, 90 + height, bottom), fill=30)
    draw.polygon(((190, top), (160, bottom), (220, bottom)), fill=30)
    return np.asarray(page)


LETTERS = [letter(text) for text in "ABCDEFGHKLMNPQRSTUVWXYZ&%?"]


def test_filled_shape_is_accepted(lenient):
    disc = Image.new("L", (160, 160), 230)
    ImageDraw.Draw(disc).ellipse((60, 60, 100, 100), fill=30)
    assert preprocess(disc).implausible
    assert lenient.classify(disc).accepted
    assert all(prediction.accepted for prediction in lenient.classify_batch([disc, disc]))
    assert not Classifier.load().classify(disc).accepted


def test_uncertain_predictions_are_accepted_without_test_time_augmentation(lenient):
    predictions = lenient.classify_batch(LETTERS)
    assert min(prediction.confidence for prediction in predictions) < 0.6
    assert all(prediction.accepted for prediction in predictions)
    assert all(lenient.classify(page).accepted for page in LETTERS)


def test_prediction_is_accepted_if_its_confidence_reaches_the_threshold():
    threshold = 0.9
    predictions = own_classes(threshold).classify_batch(LETTERS)
    accepted = [prediction.accepted for prediction in predictions]
    assert accepted == [prediction.confidence >= threshold for prediction in predictions]
    assert 0 < sum(accepted) < len(accepted)


def test_blank_page_is_rejected(lenient):
    blank = np.full((96, 96), 230, np.uint8)
    assert not lenient.classify(blank).accepted
    assert not lenient.classify(np.zeros((28, 28, 1), np.uint8)).accepted


def test_row_of_filled_shapes_is_read(lenient):
    recognition = lenient.read(row_of_filled_shapes())
    assert len(recognition.digits) == 3
    assert all(digit.prediction.accepted for digit in recognition.digits)
    assert Classifier.load().read(row_of_filled_shapes()).text == ""
