"""The rule that tells digits from what is none, fitted to sets that hold blank pages."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

import runtime
from runtime.backends import open_backend
from runtime.classifier import Classifier
from runtime.model import artifact
from runtime.model.rejection import RejectionScorer
from runtime.preprocess.pipeline import PreprocessedImage

pytest.importorskip("sklearn")

from train.data.load import sklearn_digits
from train.rejection import fit_rejection_model, lower_threshold

PRETRAINED = Path(runtime.__file__).parent / "pretrained"


def answer(pixels):
    """Scores of a model that is never quite sure."""
    scores = np.full((len(pixels), 10), 0.01, np.float32)
    scores[:, 0] = np.linspace(0.5, 0.9, len(pixels))
    return scores


def test_blank_pages_held_back_have_no_say_in_the_threshold():
    digits = sklearn_digits()
    held_back, seen = digits.test.pixels[:120], digits.train.pixels[:300]
    blank = np.concatenate([held_back, np.zeros_like(held_back[:5]), held_back[:5] * 0 + 90])
    rule = fit_rejection_model(digits.labels, seen, blank, answer, 0)
    plain = fit_rejection_model(digits.labels, seen, held_back, answer, 0)
    assert math.isfinite(rule.threshold)
    assert rule.to_record() == plain.to_record()
    assert (
        RejectionScorer(0.0, rule).accept_all(held_back, answer(held_back).max(axis=1)).mean()
        > 0.99
    )


def test_of_blank_pages_alone_there_is_no_rule():
    digits = sklearn_digits()
    blank = np.zeros_like(digits.test.pixels[:20])
    assert fit_rejection_model(digits.labels, digits.train.pixels[:300], blank, answer, 0) is None


def test_few_digits_give_no_rejection_model():
    digits = sklearn_digits()
    pixels = digits.test.pixels
    few = fit_rejection_model(digits.labels, digits.train.pixels[:300], pixels[:99], answer, 0)
    enough = fit_rejection_model(digits.labels, digits.train.pixels[:300], pixels[:100], answer, 0)
    assert few is None
    assert enough is not None


@pytest.fixture(scope="module")
def published():
    """The published float model, open, and its rule."""
    backend = Classifier.load(PRETRAINED / "digits.tflite").backend
    return backend, backend.spec.rejection_model


def test_the_threshold_is_lowered_until_digits_in_pictures_are_accepted(published):
    backend, rule = published
    test = sklearn_digits().test
    strict = dataclasses.replace(rule, threshold=6.0)
    lowered = lower_threshold(strict, test, backend.scores)
    spec = dataclasses.replace(backend.spec, rejection_model=lowered)
    opened = dataclasses.replace(artifact.read(PRETRAINED / "digits.tflite"), spec=spec)
    classifier = Classifier(open_backend(opened))
    found = [
        PreprocessedImage(pixels, (0, 0, 28, 28), "dark on light", "luminance")
        for pixels in test.pixels
    ]
    predictions = list(map(classifier.classify_preprocessed, found))
    right = [
        prediction.accepted
        for prediction, label in zip(predictions, test.labels, strict=True)
        if prediction.label == str(label) and label != 8  # an 8 can look like a B
    ]
    assert lowered.threshold < strict.threshold
    assert 0.99 <= np.mean(right) < 1


def test_a_threshold_that_suffices_is_kept(published):
    backend, rule = published
    easy = dataclasses.replace(rule, threshold=-50.0)
    assert lower_threshold(easy, sklearn_digits().test, backend.scores).threshold == -50.0
