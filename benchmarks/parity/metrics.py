"""Computes accuracy metrics of a model, and the differences between two models' scores.

`benchmarks.parity.run` compares the Keras model (the reference) and an artifact (the candidate)
with these functions. Scores are the softmax, (N, classes) float32; classes are indices from 0.
"""

from dataclasses import dataclass

import numpy as np

from benchmarks.harness import statistics
from benchmarks.schema.parity import AccuracyMetrics, CalibrationBin, Flip
from runtime.backends import Scores

_BINS = 15  # intervals of equal width from 0 to 1, which predictions are grouped into by confidence

# Lower scores count as this in the negative log-likelihood, because int8 scores can be 0. Keras's
# loss uses the same bound.
_MIN_SCORE = 1e-7


def compute_metrics(scores: Scores, labels: statistics.Integers) -> AccuracyMetrics:
    """Compute the metrics of one model.

    An image with a NaN or infinite score counts as predicted incorrectly. Its other scores still
    count in the mean confidence and the confusion matrix.

    Args:
        scores: (N, classes) float32, at least one image.
        labels: the correct classes, (N,) int64.

    Returns:
        The metrics; `negative_log_likelihood` is None if no image has finite scores only.
    """
    finite = np.isfinite(scores)
    all_finite = finite.all(axis=1)
    finite_scores = np.where(finite, scores, 0)
    predicted, confidence = finite_scores.argmax(axis=1), finite_scores.max(axis=1)
    correct = (predicted == labels) & all_finite
    bins = np.clip((confidence * _BINS).astype(int), 0, _BINS - 1)
    reliability = []
    for number in range(_BINS):
        in_bin = bins == number
        count = int(in_bin.sum())
        mean_confidence = float(confidence[in_bin].mean()) if count else 0.0
        accuracy = float(correct[in_bin].mean()) if count else 0.0
        reliability.append(CalibrationBin(count, mean_confidence, accuracy))
    n = len(labels)
    label_scores = finite_scores[np.arange(n), labels][all_finite].astype(np.float64)
    losses = -np.log(np.maximum(label_scores, _MIN_SCORE))
    return AccuracyMetrics(
        n=n,
        correct=int(correct.sum()),
        non_finite=int((~finite).sum()),
        confidence=float(confidence.mean()),
        confusion=tuple(
            tuple(int(count) for count in line)
            for line in statistics.confusion(labels, predicted, scores.shape[1])
        ),
        reliability=tuple(reliability),
        calibration_error=sum(b.count / n * abs(b.accuracy - b.confidence) for b in reliability),
        negative_log_likelihood=float(losses.mean()) if len(losses) else None,
    )


def find_flips(
    reference: Scores, candidate: Scores, labels: statistics.Integers
) -> tuple[Flip, ...]:
    """Return the images that the two models predict differently.

    Args:
        reference: scores of the reference, (N, classes) float32.
        candidate: scores of the candidate for the same images, (N, classes) float32.
        labels: the correct classes, (N,) int64.

    Returns:
        One `Flip` for each such image. The images with the largest margin come first: the margin is
        the reference's largest score minus its second largest. NaN and infinite scores count as 0.
    """
    first = np.where(np.isfinite(reference), reference, 0)
    second = np.where(np.isfinite(candidate), candidate, 0)
    before, after = first.argmax(axis=1), second.argmax(axis=1)
    margins = statistics.margins(first)
    flipped = np.flatnonzero(before != after)
    return tuple(
        Flip(int(n), int(labels[n]), int(before[n]), int(after[n]), float(margins[n]))
        for n in sorted(flipped, key=lambda n: -margins[n])
    )


@dataclass(frozen=True)
class ScoreDifference:
    """The difference between two models' scores for the same images.

    Attributes:
        largest: largest absolute difference of a score.
        p99: 99th percentile, over the images, of an image's largest absolute difference.
        mean: mean absolute difference of the scores.
        min_cosine: smallest cosine similarity of an image's two score vectors.
    """

    largest: float
    p99: float
    mean: float
    min_cosine: float


def score_difference(reference: Scores, candidate: Scores) -> ScoreDifference:
    """Compare the scores of two models for the same images.

    Images with a NaN or infinite score of either model are left out.

    Args:
        reference: (N, classes) float32.
        candidate: (N, classes) float32.

    Returns:
        The difference; all values are 0 if no images are left.
    """
    both_finite = np.isfinite(reference).all(axis=1) & np.isfinite(candidate).all(axis=1)
    if not both_finite.any():
        return ScoreDifference(0.0, 0.0, 0.0, 0.0)
    first = reference[both_finite].astype(np.float64)
    second = candidate[both_finite].astype(np.float64)
    differences = np.abs(first - second)
    return ScoreDifference(
        largest=float(differences.max()),
        p99=statistics.percentile(differences.max(axis=1), 99),
        mean=float(differences.mean()),
        min_cosine=float(statistics.cosines(first, second).min()),
    )
