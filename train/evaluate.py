"""Evaluates scores on labeled images, and fits the temperature and the confidence threshold.

The metrics are loss, accuracy and expected calibration error. The temperature and the threshold
are fitted to the validation images after training.
"""

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from runtime.model.rejection import log_odds
from runtime.system import interrupt

if TYPE_CHECKING:
    import keras

Logits = npt.NDArray[np.float32]

# With fewer validation images the temperature stays 1 and nothing is rejected.
MIN_CALIBRATION_IMAGES = 100
# Share of the correctly predicted validation images that the confidence threshold may reject.
MAX_FINAL_FALSE_REJECTION_RATE = 0.01
# Subtracted from the log-odds of the threshold: those of int8 artifacts differ by up to 0.29.
THRESHOLD_MARGIN_NATS = 0.3
BINS = 15  # of equal width, from confidence 0 to 1, for the calibration error


def logits_of(network: "keras.Model", pixels: npt.NDArray[np.uint8]) -> Logits:
    """Return the output of a network, float32 (N, classes), for pixels (N, 28, 28, 1) uint8."""
    # All batches have one size, the last padded with zeros: TensorFlow builds a single graph, and
    # rounding does not depend on the number of images.
    size = min(1000, len(pixels))
    outputs = []
    for start in range(0, len(pixels), size):
        interrupt.check()
        batch = pixels[start : start + size]
        images = np.zeros((size, *pixels.shape[1:]), np.float32)
        images[: len(batch)] = batch / np.float32(255)
        outputs.append(network.predict_on_batch(images)[: len(batch)])
    return np.concatenate(outputs)


def softmax(logits: Logits, temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """Return the probabilities (N, classes) of logits (N, classes) divided by a temperature."""
    scaled = logits.astype(np.float64) / temperature
    powers: npt.NDArray[np.float64] = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    probabilities: npt.NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def loss_and_accuracy(
    logits: Logits, labels: npt.NDArray[np.int64], temperature: float = 1.0
) -> tuple[float, float]:
    """Return the mean negative log-likelihood in nats, and the accuracy from 0 to 1.

    Args:
        logits: of the images, (N, classes).
        labels: classes of the images, (N,).
        temperature: divides the logits.
    """
    scaled = logits.astype(np.float64) / temperature
    peak = scaled.max(axis=1)
    log_sum_exp = np.log(np.exp(scaled - peak[:, None]).sum(axis=1)) + peak
    correct = np.take_along_axis(scaled, labels[:, None], axis=1)[:, 0]
    return float((log_sum_exp - correct).mean()), float((scaled.argmax(axis=1) == labels).mean())


def fit_temperature(logits: Logits, labels: npt.NDArray[np.int64]) -> float:
    """Return the temperature, from 1/20 to 20, that minimizes the loss on validation images.

    Temperature scaling: Guo et al., "On Calibration of Modern Neural Networks" (2017). The targets
    are smoothed by 1 / (N + 2), as in Platt (1999): otherwise the temperature would approach 0 if
    all predictions are correct. The loss has a single minimum in the logarithm of the temperature,
    which golden-section search finds.

    The temperature stays 1 if the fitted one does not lower the unsmoothed loss, which happens
    without errors, or if there are fewer than MIN_CALIBRATION_IMAGES.

    Args:
        logits: of the validation images, (N, classes).
        labels: their classes, (N,).
    """
    n, classes = logits.shape
    if n < MIN_CALIBRATION_IMAGES:
        return 1.0
    smoothing = 1 / (n + 2)

    def loss(log_temperature: float) -> float:
        scaled = logits.astype(np.float64) / np.exp(log_temperature)
        peak = scaled.max(axis=1)
        log_sum_exp = np.log(np.exp(scaled - peak[:, None]).sum(axis=1)) + peak
        correct = np.take_along_axis(scaled, labels[:, None], axis=1)[:, 0]
        wrong = (scaled.sum(axis=1) - correct) / (classes - 1)
        return float((log_sum_exp - (1 - smoothing) * correct - smoothing * wrong).mean())

    golden_ratio = (np.sqrt(5) - 1) / 2
    low, high = -np.log(20.0), np.log(20.0)
    for _ in range(40):
        step = golden_ratio * (high - low)
        left, right = high - step, low + step
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
    """Return the lowest confidence that is accepted if the model has no rejection model.

    At most MAX_FINAL_FALSE_REJECTION_RATE of the correct predictions score less. As the threshold
    is the quantile of split conformal prediction (Vovk et al., "Algorithmic Learning in a Random
    World", 2005), this also holds on average for new images. With fewer than
    MIN_CALIBRATION_IMAGES correct predictions the threshold is 0: everything is accepted.

    Args:
        scores: of the validation images, (N, classes).
        labels: their classes, (N,).

    Returns:
        A multiple of 0.0001, from 0 to 1.
    """
    correct = scores.argmax(axis=1) == labels
    confidences = np.sort(scores.max(axis=1)[correct])
    if len(confidences) < MIN_CALIBRATION_IMAGES:
        return 0.0
    lowest_accepted = confidences[allowed_rejections(len(confidences))]
    # `log_odds` is finite even if the confidence is 1.
    log_odds_threshold = float(log_odds(np.array([lowest_accepted]))[0]) - THRESHOLD_MARGIN_NATS
    return math.floor(1e4 / (1 + math.exp(-log_odds_threshold))) / 1e4


def allowed_rejections(correct: int) -> int:
    """Return the number of correct validation predictions that may be rejected.

    Split conformal prediction: a new image is equally likely to have any rank among the `correct`
    + 1, so one fewer than MAX_FINAL_FALSE_REJECTION_RATE of these may be rejected.

    Args:
        correct: number of correctly predicted validation images, at least 100.
    """
    return int(MAX_FINAL_FALSE_REJECTION_RATE * (correct + 1)) - 1


def calibration_bins(
    scores: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Sum predictions, confidences and correct predictions in bins of equal confidence width.

    Args:
        scores: of the images, (N, classes).
        labels: their classes, (N,).

    Returns:
        Number of predictions, sum of their confidences and number of the correct ones per bin,
        each (BINS,).
    """
    confidences, correct = scores.max(axis=1), scores.argmax(axis=1) == labels
    bins = np.minimum((confidences * BINS).astype(int), BINS - 1)
    counts = np.bincount(bins, minlength=BINS).astype(np.int64)
    confidence_sums, correct_sums = (
        np.bincount(bins, weights, minlength=BINS).astype(np.float64)
        for weights in (confidences, correct)
    )
    return counts, confidence_sums, correct_sums


def calibration_error(scores: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> float:
    """Return the expected calibration error from 0 to 1 (Guo et al., 2017), over BINS bins."""
    _, confidences, correct = calibration_bins(scores, labels)
    return float(np.abs(confidences - correct).sum() / len(labels))
