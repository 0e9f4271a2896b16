"""Computes accuracy metrics, and the differences between two models' scores."""

from dataclasses import dataclass

import numpy as np

from benchmarks.harness import statistics
from benchmarks.schema.parity import AccuracyMetrics, CalibrationBin, Flip
from runtime.backends import Scores

_BINS = 15
# Scores below this count as this: int8 ones are 0 now and then. Keras's own loss does the same.
_MIN_SCORE = 1e-7


def compute_metrics(scores: Scores, labels: statistics.Integers) -> AccuracyMetrics:
    """Summarize scores (N, classes) against labels (N,) int64; a row with NaN is never right."""
    finite = np.isfinite(scores)
    sound = finite.all(axis=1)
    safe = np.where(finite, scores, 0)
    answer, confidence = safe.argmax(axis=1), safe.max(axis=1)
    right = (answer == labels) & sound
    bins = np.clip((confidence * _BINS).astype(int), 0, _BINS - 1)
    reliability = []
    for number in range(_BINS):
        inside = bins == number
        count = int(inside.sum())
        sure = float(confidence[inside].mean()) if count else 0.0
        reliability.append(
            CalibrationBin(count, sure, float(right[inside].mean()) if count else 0.0)
        )
    n = len(labels)
    of_truth = safe[np.arange(n), labels][sound].astype(np.float64)
    losses = -np.log(np.maximum(of_truth, _MIN_SCORE))
    return AccuracyMetrics(
        n=n,
        correct=int(right.sum()),
        non_finite=int((~finite).sum()),
        confidence=float(confidence.mean()),
        confusion=tuple(
            tuple(int(count) for count in line)
            for line in statistics.confusion(labels, answer, scores.shape[1])
        ),
        reliability=tuple(reliability),
        calibration_error=sum(b.count / n * abs(b.accuracy - b.confidence) for b in reliability),
        negative_log_likelihood=float(losses.mean()) if len(losses) else None,
    )


def find_flips(
    reference: Scores, candidate: Scores, labels: statistics.Integers
) -> tuple[Flip, ...]:
    """Every image answered otherwise, those the reference was surest of first."""
    first = np.where(np.isfinite(reference), reference, 0)
    second = np.where(np.isfinite(candidate), candidate, 0)
    before, after, sure = first.argmax(axis=1), second.argmax(axis=1), statistics.margins(first)
    different = np.flatnonzero(before != after)
    return tuple(
        Flip(int(n), int(labels[n]), int(before[n]), int(after[n]), float(sure[n]))
        for n in sorted(different, key=lambda n: -sure[n])
    )


@dataclass(frozen=True)
class ScoreDifference:
    """How far two models' scores are apart; NaN and Inf are left out, they are counted apart."""

    largest: float
    p99: float
    mean: float
    min_cosine: float


def score_difference(reference: Scores, candidate: Scores) -> ScoreDifference:
    """Compare scores (N, classes) of the same images."""
    sound = np.isfinite(reference).all(axis=1) & np.isfinite(candidate).all(axis=1)
    if not sound.any():
        return ScoreDifference(0.0, 0.0, 0.0, 0.0)
    first, second = reference[sound].astype(np.float64), candidate[sound].astype(np.float64)
    differences = np.abs(first - second)
    return ScoreDifference(
        largest=float(differences.max()),
        p99=statistics.percentile(differences.max(axis=1), 99),
        mean=float(differences.mean()),
        min_cosine=float(statistics.cosines(first, second).min()),
    )
