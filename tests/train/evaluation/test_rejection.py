"""The fit of the rejection model and of its threshold."""

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
from train.evaluation.rejection import fit_rejection_model, lower_threshold

PRETRAINED = Path(runtime.__file__).parent / "pretrained"


def predict(pixels):
    """Return scores of class 0 from 0.5 to 0.9, as a network that is never certain."""
    scores = np.full((len(pixels), 10), 0.01, np.float32)
    scores[:, 0] = np.linspace(0.5, 0.9, len(pixels))
    return scores


def fit(validation):
    """Fit a rejection model to 300 training digits and to these validation images."""
    digits = sklearn_digits()
    return fit_rejection_model(digits.labels, digits.train.pixels[:300], validation, predict, 0)


def test_blank_validation_images_do_not_change_the_rejection_model():
    digits = sklearn_digits().test.pixels[:120]
    blank = np.concatenate([np.zeros_like(digits[:5]), np.full_like(digits[:5], 90)])
    with_blank, without = fit(np.concatenate([digits, blank])), fit(digits)
    assert math.isfinite(with_blank.threshold)
    assert with_blank.to_record() == without.to_record()


def test_rejection_model_accepts_the_validation_digits():
    digits = sklearn_digits().test.pixels[:120]
    scorer = RejectionScorer(0.0, fit(digits))
    assert scorer.accept_all(digits, predict(digits).max(axis=1)).mean() > 0.99


def test_blank_validation_images_alone_give_no_rejection_model():
    assert fit(np.zeros_like(sklearn_digits().test.pixels[:20])) is None


@pytest.mark.parametrize(("count", "has_model"), [(99, False), (100, True)])
def test_rejection_model_needs_100_validation_digits(count, has_model):
    assert (fit(sklearn_digits().test.pixels[:count]) is not None) == has_model


@pytest.fixture(scope="module")
def published():
    """Return the backend of the published float model, and its rejection model."""
    backend = Classifier.load(PRETRAINED / "digits.tflite").backend
    return backend, backend.spec.rejection_model


def test_threshold_is_lowered_until_99_percent_of_digits_in_pictures_are_accepted(published):
    backend, rejection_model = published
    test = sklearn_digits().test
    strict = dataclasses.replace(rejection_model, threshold=6.0)
    lowered = lower_threshold(strict, test, backend.scores)
    spec = dataclasses.replace(backend.spec, rejection_model=lowered)
    opened = dataclasses.replace(artifact.read(PRETRAINED / "digits.tflite"), spec=spec)
    classifier = Classifier(open_backend(opened))
    pictures = [
        PreprocessedImage(pixels, (0, 0, 28, 28), "dark on light", "luminance")
        for pixels in test.pixels
    ]
    predictions = list(map(classifier.classify_preprocessed, pictures))
    accepted = [
        prediction.accepted
        for prediction, label in zip(predictions, test.labels, strict=True)
        if prediction.label == str(label) and label != 8  # an 8 can look like a B
    ]
    assert lowered.threshold < strict.threshold
    # Test-time augmentation rejects twelve of these coarse digits at any threshold.
    assert 0.95 <= np.mean(accepted) < 1


def test_low_threshold_is_not_changed(published):
    backend, rejection_model = published
    lenient = dataclasses.replace(rejection_model, threshold=-50.0)
    assert lower_threshold(lenient, sklearn_digits().test, backend.scores).threshold == -50.0
