"""Temperature, confidence threshold, loss and calibration error on constructed predictions."""

import numpy as np
import pytest

from train.evaluation.evaluate import (
    MIN_CALIBRATION_IMAGES,
    calibration_error,
    fit_confidence_threshold,
    fit_temperature,
    loss_and_accuracy,
    softmax,
)


@pytest.fixture(scope="module")
def drawn():
    """Return logits (20000, 5) and labels drawn from their softmax: calibrated by construction."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (20000, 5)).astype(np.float32)
    cumulative = softmax(logits).cumsum(axis=1)
    labels = (random.uniform(size=(20000, 1)) > cumulative).sum(axis=1).clip(0, 4)
    return logits, labels


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_temperature_undoes_a_factor_on_the_logits(drawn, factor):
    logits, labels = drawn
    assert fit_temperature(logits * factor, labels) == pytest.approx(factor, rel=0.03)


def test_temperature_of_correct_predictions_does_not_make_them_certain():
    labels = np.arange(120) % 3
    logits = np.eye(3, dtype=np.float32)[labels] * 4
    temperature = fit_temperature(logits, labels)
    worst = softmax(logits, temperature).max(axis=1).min()
    assert 0.95 < worst < 0.995  # after 120 correct predictions, 1 in 122 may be wrong


@pytest.mark.parametrize("logit", [1, 4, 12, 40])
@pytest.mark.parametrize("n", [12, 99, 100, 400])
def test_temperature_does_not_raise_the_validation_loss(n, logit):
    labels = np.arange(n) % 3
    logits = np.eye(3, dtype=np.float32)[labels] * logit
    temperature = fit_temperature(logits, labels)
    before, after = (loss_and_accuracy(logits, labels, t)[0] for t in (1.0, temperature))
    assert after <= before


@pytest.mark.parametrize("logit", [1, 4, 12, 40])
@pytest.mark.parametrize("n", [12, MIN_CALIBRATION_IMAGES - 1])
def test_temperature_is_1_with_too_few_images(n, logit):
    labels = np.arange(n) % 3
    assert fit_temperature(np.eye(3, dtype=np.float32)[labels] * logit, labels) == 1.0


def threshold_of(confidences):
    """Fit the threshold to correct predictions of two classes with these confidences."""
    scores = np.stack([confidences, 1 - np.array(confidences)], axis=1)
    return fit_confidence_threshold(scores, np.zeros(len(scores), int))


@pytest.mark.parametrize("n", [100, 199, 5000])
def test_threshold_rejects_at_most_1_percent_of_correct_predictions(n):
    confidences = 1 / (1 + np.exp(-np.random.default_rng(0).normal(4, 1, n)))
    rejected = (confidences < threshold_of(confidences)).mean()
    assert rejected <= 0.01
    assert rejected > 0.003 or n < 5000


def test_threshold_has_a_margin_for_int8_scores():
    confidences = np.linspace(0.9, 0.99, 1000)
    threshold = threshold_of(confidences)
    lowered = 1 / (1 + (1 / confidences - 1) * np.exp(0.25))  # log-odds lower by 0.25
    assert threshold > 0.8
    assert (lowered < threshold).mean() <= 0.01


def test_threshold_is_0_with_fewer_than_100_correct_predictions():
    assert threshold_of(np.full(99, 0.9)) == 0.0
    scores = np.array([[0.9, 0.1]] * 150)
    assert fit_confidence_threshold(scores, np.arange(150) % 2) == 0.0


@pytest.mark.parametrize("confidence", [0.6, 0.9999, 1.0])
def test_threshold_is_below_equal_confidences(confidence):
    threshold = threshold_of(np.full(100, confidence, np.float32))
    assert 0 < threshold < min(confidence, 0.9999)


def test_calibration_error_is_low_for_calibrated_scores_and_high_for_overconfident_ones(drawn):
    logits, labels = drawn
    assert calibration_error(softmax(logits), labels) < 0.012
    assert calibration_error(softmax(logits, 0.25), labels) > 0.1


def test_calibration_error_is_the_gap_of_confidence_and_accuracy():
    scores = np.array([[0.9, 0.1]] * 10)
    assert calibration_error(scores, np.array([0] * 5 + [1] * 5)) == pytest.approx(0.4)


def test_loss_and_accuracy_equal_hand_computed_values():
    logits = np.array([[0, np.log(3)], [np.log(4), 0]], np.float32)
    loss, accuracy = loss_and_accuracy(logits, np.array([1, 1]))
    assert loss == pytest.approx(-(np.log(3 / 4) + np.log(1 / 5)) / 2)
    assert accuracy == 0.5


def test_loss_of_huge_logits_does_not_overflow():
    logits = np.array([[0, np.log(3)], [np.log(4), 0]], np.float32)
    assert loss_and_accuracy(logits * 3e4, np.array([1, 0]))[0] == 0.0
