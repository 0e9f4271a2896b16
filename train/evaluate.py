"""Evaluates: loss, accuracy, the temperature, and the threshold of the confidence."""

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from runtime.model.rejection import log_odds
from runtime.system import interrupt

if TYPE_CHECKING:
    import keras

Logits = npt.NDArray[np.float32]

MIN_CALIBRATION_IMAGES = 100  # with fewer held back the temperature is 1 and nothing is rejected
MAX_FINAL_FALSE_REJECTION_RATE = (
    0.01  # share of the right predictions that may be below the threshold
)
THRESHOLD_MARGIN = 0.3  # of log-odds, in nats: int8 artifacts differ by up to 0.29
# Of the confidence, from 0 to 1, where it is compared with how often it is right.
BINS = 15


def logits_of(network: "keras.Model", pixels: npt.NDArray[np.uint8]) -> Logits:
    """What a network answers to pixels (N, 28, 28, 1) uint8: float32 (N, classes)."""
    # Pieces of one size, the last one filled up: one graph serves, and sums stay the same.
    size = min(1000, len(pixels))
    pieces = []
    for start in range(0, len(pixels), size):
        interrupt.check()
        piece = pixels[start : start + size]
        images = np.zeros((size, *pixels.shape[1:]), np.float32)
        images[: len(piece)] = piece / np.float32(255)
        pieces.append(network.predict_on_batch(images)[: len(piece)])
    return np.concatenate(pieces)


def softmax(logits: Logits, temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """Probabilities (N, classes) of logits (N, classes) divided by a temperature."""
    scaled = logits.astype(np.float64) / temperature
    scaled = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return scaled / scaled.sum(axis=1, keepdims=True)


def loss_and_accuracy(
    logits: Logits, labels: npt.NDArray[np.int64], temperature: float = 1.0
) -> tuple[float, float]:
    """Mean negative log-likelihood in nats, and the share of right answers."""
    scaled = logits.astype(np.float64) / temperature
    peak = scaled.max(axis=1)
    total = np.log(np.exp(scaled - peak[:, None]).sum(axis=1)) + peak
    right = np.take_along_axis(scaled, labels[:, None], axis=1)[:, 0]
    return float((total - right).mean()), float((scaled.argmax(axis=1) == labels).mean())


def fit_temperature(logits: Logits, labels: npt.NDArray[np.int64]) -> float:
    """Return the temperature, from 1/20 to 20, that makes these labels likeliest.

    Guo et al., "On Calibration of Modern Neural Networks" (2017), with the targets of Platt (1999):
    one answer more, and wrong, than were seen. A few images without a mistake would else make
    every answer infinitely sure. Golden-section search: the loss has one minimum in the logarithm
    of the temperature.

    Platt's targets can raise the loss of images without a mistake. The temperature stays at 1 if
    the fitted one does not lower the loss, or if there are fewer than MIN_CALIBRATION_IMAGES.
    """
    n, classes = logits.shape
    if n < MIN_CALIBRATION_IMAGES:
        return 1.0
    doubt = 1 / (n + 2)

    def loss(log_temperature: float) -> float:
        scaled = logits.astype(np.float64) / np.exp(log_temperature)
        peak = scaled.max(axis=1)
        total = np.log(np.exp(scaled - peak[:, None]).sum(axis=1)) + peak
        right = np.take_along_axis(scaled, labels[:, None], axis=1)[:, 0]
        wrong = (scaled.sum(axis=1) - right) / (classes - 1)
        return float((total - (1 - doubt) * right - doubt * wrong).mean())

    golden = (np.sqrt(5) - 1) / 2
    low, high = -np.log(20.0), np.log(20.0)
    for _ in range(40):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    fitted = float(np.exp((low + high) / 2))
    before, after = (loss_and_accuracy(logits, labels, t)[0] for t in (1.0, fitted))
    return fitted if after < before else 1.0


def fit_confidence_threshold(
    scores: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]
) -> float:
    """Return the confidence from which a prediction is accepted, without a rejection model.

    At most MAX_FALSE_REJECTIONS of the right predictions have less, here and, as this is the
    quantile of split conformal prediction, on average of new images too. It is 0 with fewer than
    MIN_CALIBRATION_IMAGES right predictions: too few to estimate so small a share.

    Args:
        scores: of held-back images, (N, classes).
        labels: their classes, (N,).
    """
    right = scores.argmax(axis=1) == labels
    confidences = np.sort(scores.max(axis=1)[right])
    if len(confidences) < MIN_CALIBRATION_IMAGES:
        return 0.0
    # The first one that has to be accepted. `log_odds` is finite for a confidence of 1 too.
    lowest = confidences[allowed_rejections(len(confidences))]
    odds = float(log_odds(np.array([lowest]))[0]) - THRESHOLD_MARGIN
    return math.floor(1e4 / (1 + math.exp(-odds))) / 1e4


def allowed_rejections(right: int) -> int:
    """Return how many of the right held-back predictions may be rejected, from 100 of them on.

    One fewer than MAX_FALSE_REJECTIONS of them: a new image is equally likely to have any rank.
    """
    return int(MAX_FINAL_FALSE_REJECTION_RATE * (right + 1)) - 1


def calibration_bins(
    scores: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Answers, the sum of their confidences, and right answers, in BINS bins of equal width."""
    confidences, right = scores.max(axis=1), scores.argmax(axis=1) == labels
    at = np.minimum((confidences * BINS).astype(int), BINS - 1)
    sums = (np.bincount(at, weights, minlength=BINS) for weights in (confidences, right))
    return np.bincount(at, minlength=BINS), *sums


def calibration_error(scores: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> float:
    """Expected calibration error, from 0 to 1, over bins of equal width of the confidence."""
    _, confidences, right = calibration_bins(scores, labels)
    return float(np.abs(confidences - right).sum() / len(labels))
