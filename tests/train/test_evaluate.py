"""Evaluation: temperature, threshold and calibration on answers whose truth is known."""

import numpy as np
import pytest

from train.evaluate import (
    calibration_error,
    fit_accept_confidence,
    fit_temperature,
    loss_and_accuracy,
    softmax,
)


@pytest.fixture(scope="module")
def drawn():
    """Logits (20000, 5) and labels drawn from their own softmax: calibrated by construction."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (20000, 5)).astype(np.float32)
    cumulated = softmax(logits).cumsum(axis=1)
    labels = (random.uniform(size=(20000, 1)) > cumulated).sum(axis=1).clip(0, 4)
    return logits, labels


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_a_factor_on_the_logits(drawn, factor):
    logits, labels = drawn
    assert fit_temperature(logits * factor, labels) == pytest.approx(factor, rel=0.03)


def test_a_few_images_without_a_mistake_do_not_make_every_answer_certain():
    labels = np.arange(60) % 3
    logits = np.eye(3, dtype=np.float32)[labels] * 4
    temperature = fit_temperature(logits, labels)
    worst = softmax(logits, temperature).max(axis=1).min()
    assert 0.95 < worst < 0.99  # one wrong answer in 62 is what 60 right ones leave possible


def test_at_most_six_known_digits_in_a_thousand_fall_below_the_threshold(drawn):
    scores = softmax(drawn[0])
    threshold = fit_accept_confidence(scores)
    below = (scores.max(axis=1) < threshold).mean()
    assert 0.005 < below <= 0.006


def test_calibration_error_of_known_answers(drawn):
    logits, labels = drawn
    assert calibration_error(softmax(logits), labels) < 0.012
    assert calibration_error(softmax(logits, 0.25), labels) > 0.1
    scores = np.array([[0.9, 0.1]] * 10)
    assert calibration_error(scores, np.array([0] * 5 + [1] * 5)) == pytest.approx(0.4)


def test_loss_and_accuracy_by_hand():
    logits = np.array([[0, np.log(3)], [np.log(4), 0]], np.float32)
    loss, accuracy = loss_and_accuracy(logits, np.array([1, 1]))
    assert loss == pytest.approx(-(np.log(3 / 4) + np.log(1 / 5)) / 2) and accuracy == 0.5
    assert loss_and_accuracy(logits * 3e4, np.array([1, 0]))[0] == 0.0  # no overflow
