"""Evaluates scores on labeled images, and fits the temperature and the confidence threshold.

The metrics are loss, accuracy and expected calibration error. `train.fitting.fit` computes these
after each epoch. `train.run` fits the temperature and the threshold to the validation images after
training. Logits are divided by the temperature, which makes the confidence match the accuracy.
"""

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from runtime.model.rejection import log_odds
from runtime.system import interrupt

if TYPE_CHECKING:
    import keras

Logits = npt.NDArray[np.float32]  # (N, classes): inputs of the softmax

# Fewest validation images to calibrate with. With fewer, the temperature stays 1. If fewer are
# predicted correctly, the confidence threshold is 0, so every prediction is accepted.
MIN_CALIBRATION_IMAGES = 100
# Share of the correctly predicted validation images that a threshold may reject.
MAX_FINAL_FALSE_REJECTION_RATE = 0.01
# Subtracted from the log-odds of the confidence threshold. The log-odds of an int8 artifact differ
# from those of the float32 model by up to 0.29.
THRESHOLD_MARGIN_NATS = 0.3
BINS = 15  # number of bins of the calibration error, of equal width from confidence 0 to 1
# Half the width of the normal distribution's 95 % interval in standard deviations: 1.96.
_Z95 = NormalDist().inv_cdf(0.975)
_MAX_TEMPERATURE = 20.0  # the fitted temperature is at most this, and at least the reciprocal
_SEARCH_STEPS = 40  # of golden-section search: the temperature is then exact to 7 digits
_BATCH_SIZE = 1000  # images that Keras predicts at once


def logits_of(network: "keras.Model", pixels: npt.NDArray[np.uint8]) -> Logits:
    """Return the output of a network, float32 (N, classes).

    Args:
        network: returns logits or, if its last layer is a softmax, scores.
        pixels: uint8 (N, 28, 28, 1), with N at least 1.
    """
    # All batches have the same size; the last is padded with zeros. TensorFlow then builds a single
    # graph.
    size = min(_BATCH_SIZE, len(pixels))
    outputs = []
    for start in range(0, len(pixels), size):
        interrupt.check()
        batch = pixels[start : start + size]
        images = np.zeros((size, *pixels.shape[1:]), np.float32)
        images[: len(batch)] = batch / np.float32(255)
        outputs.append(network.predict_on_batch(images)[: len(batch)])
    return np.concatenate(outputs)


def softmax(logits: Logits, temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """Return the class probabilities, float64 (N, classes).

    Args:
        logits: output of the network for N images, (N, classes).
        temperature: number above 0 that the logits are divided by.
    """
    scaled = logits.astype(np.float64) / temperature
    powers: npt.NDArray[np.float64] = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    probabilities: npt.NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def loss_and_accuracy(
    logits: Logits, labels: npt.NDArray[np.int64], temperature: float = 1.0
) -> tuple[float, float]:
    """Return (mean negative log-likelihood in nats, accuracy from 0 to 1).

    Args:
        logits: output of the network for N images, (N, classes).
        labels: class indices of the images, int64 (N,).
        temperature: number above 0 that the logits are divided by.
    """
    scaled = logits.astype(np.float64) / temperature
    peak = scaled.max(axis=1)
    log_sum_exp = np.log(np.exp(scaled - peak[:, None]).sum(axis=1)) + peak
    correct = np.take_along_axis(scaled, labels[:, None], axis=1)[:, 0]
    return float((log_sum_exp - correct).mean()), float((scaled.argmax(axis=1) == labels).mean())


def fit_temperature(logits: Logits, labels: npt.NDArray[np.int64]) -> float:
    """Return the temperature that minimizes the loss on validation images.

    The method is temperature scaling: Guo et al., "On Calibration of Modern Neural Networks"
    (2017). The targets are smoothed by 1 / (N + 2), as in Platt (1999). Without smoothing, the
    temperature would approach 0 if all predictions are correct. Golden-section search finds the
    minimum: as a function of the logarithm of the temperature, the loss has a single minimum.

    Args:
        logits: output of the network for the validation images, (N, classes).
        labels: class indices of the validation images, int64 (N,).

    Returns:
        The temperature, from 1/20 to 20. It is 1 with fewer than MIN_CALIBRATION_IMAGES (100)
        images. It is also 1 if the fitted temperature does not lower the loss without smoothing.
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
    low, high = -np.log(_MAX_TEMPERATURE), np.log(_MAX_TEMPERATURE)
    for _ in range(_SEARCH_STEPS):
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

    At most MAX_FINAL_FALSE_REJECTION_RATE (1 %) of the correct predictions are less confident. On
    average, this also holds for new images, because the threshold is a quantile of split conformal
    prediction. See Vovk et al., "Algorithmic Learning in a Random World", 2005.

    Args:
        scores: class probabilities of the validation images, (N, classes).
        labels: class indices of the validation images, int64 (N,).

    Returns:
        A multiple of 0.0001, from 0 to 1. It is 0 with fewer than MIN_CALIBRATION_IMAGES (100)
        correct predictions; every prediction is then accepted.
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

    In split conformal prediction, a new image is equally likely to have any of `correct` + 1 ranks
    among the validation images. Therefore 1 % of `correct` + 1, less the new image itself, may be
    rejected.

    Args:
        correct: number of correctly predicted validation images, at least 100. With fewer the
            result may be -1.
    """
    return int(MAX_FINAL_FALSE_REJECTION_RATE * (correct + 1)) - 1


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """Return Wilson's 95 % confidence interval of a proportion (1927), from 0 to 1.

    Wilson's interval stays inside [0, 1] and is accurate for proportions near 1, unlike the normal
    approximation.

    Args:
        successes: number of successes, 0 to n.
        n: number of trials, at least 1.
    """
    share, z2n = successes / n, _Z95**2 / n
    center = (share + z2n / 2) / (1 + z2n)
    half = _Z95 * math.sqrt(share * (1 - share) / n + z2n / (4 * n)) / (1 + z2n)
    return max(center - half, 0.0), min(center + half, 1.0)


def calibration_bins(
    scores: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Sum predictions, confidences and correct predictions in bins of equal confidence width.

    Args:
        scores: class probabilities of the images, (N, classes).
        labels: class indices of the images, int64 (N,).

    Returns:
        (number of predictions, sum of the confidences, number of correct predictions), each an
        array (BINS,) with a value per bin.
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
    """Return the expected calibration error, from 0 to 1, over BINS (15) bins.

    The error is the mean difference of confidence and accuracy, weighted by the number of
    predictions in a bin. See Guo et al., "On Calibration of Modern Neural Networks", 2017.

    Args:
        scores: class probabilities of the images, (N, classes), with N at least 1.
        labels: class indices of the images, int64 (N,).
    """
    _, confidences, correct = calibration_bins(scores, labels)
    return float(np.abs(confidences - correct).sum() / len(labels))
