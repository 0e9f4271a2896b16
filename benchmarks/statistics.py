"""The statistics of two models' answers to the same images."""

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Integers = npt.NDArray[np.int64]

_Z95 = NormalDist().inv_cdf(0.975)


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a proportion.

    Wilson (1927), "Probable inference, the law of succession, and statistical inference": unlike
    the normal approximation it stays inside [0, 1] and keeps its coverage near 100 %.
    """
    if n == 0:
        return 0.0, 1.0
    share, z2 = successes / n, _Z95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # At 0 and at n successes one end is exact; rounding must not push it past the proportion.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """The two-sided p-value of McNemar's exact test.

    Args:
        only_first, only_second: images that only the first, only the second model reads rightly.

    Under the hypothesis of equal accuracy each of them is a fair coin's toss: the binomial test
    of McNemar (1947), without the chi-squared approximation, which is bad for few tosses.
    """
    n, fewer = only_first + only_second, min(only_first, only_second)
    tail = sum(math.comb(n, k) for k in range(fewer + 1))
    return min(1.0, 2 * tail / 2**n)


def paired_drop_interval(only_first: int, only_second: int, n: int) -> tuple[float, float]:
    """The 95 % interval of accuracy(first) − accuracy(second) on the same `n` images.

    Agresti and Min (2005), "Simple improved confidence intervals for comparing matched
    proportions": the Wald interval after adding 0.5 to each cell of the two-by-two table.
    """
    total, b, c = n + 2, only_first + 0.5, only_second + 0.5
    difference = (b - c) / total
    half = _Z95 * math.sqrt(b + c - (b - c) ** 2 / total) / total
    return max(-1.0, difference - half), min(1.0, difference + half)


def cosines(first: Floats, second: Floats) -> Floats:
    """The cosine between each row of `first` and the same row of `second`, (N,) float64."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.einsum("ij,ij->i", a, b) / np.maximum(lengths, np.finfo(np.float64).tiny)


def margins(scores: Floats) -> Floats:
    """How far each row's largest score stands above its second, (N,)."""
    top_two = np.partition(scores, -2, axis=1)[:, -2:]
    return top_two[:, 1] - top_two[:, 0]


def confusion(labels: Integers, answers: Integers, classes: int) -> Integers:
    """(classes, classes): row the true class, column the answer, value how many images."""
    counts = np.bincount(labels * classes + answers, minlength=classes * classes)
    return counts.reshape(classes, classes)


def percentile(samples: npt.ArrayLike, q: float) -> float:
    """The q-th percentile, an actual sample: the smallest with q % of the samples at or below."""
    return float(np.percentile(np.asarray(samples), q, method="inverted_cdf"))
