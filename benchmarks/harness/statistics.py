"""Statistics of two models' predictions of the same images."""

import math
import warnings
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.errors import EdgeError

Floats = npt.NDArray[np.floating]
Integers = npt.NDArray[np.int64]

_Z95 = NormalDist().inv_cdf(0.975)


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a proportion (1927); unlike the normal approximation it
    stays inside [0, 1] and keeps its coverage near 100 %.

    Raises:
        EdgeError: SciPy is not installed.
    """
    low, high = _scipy_stats().binomtest(successes, n).proportion_ci(method="wilson")
    return float(low), float(high)


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Return the two-sided p-value of McNemar's exact test (1947): a binomial test of the images
    that only one of two models predicts correctly.

    Args:
        only_first, only_second: images that only the first, only the second model predicts
            correctly.

    Raises:
        EdgeError: SciPy is not installed.
    """
    n = only_first + only_second
    return float(_scipy_stats().binomtest(only_first, n).pvalue) if n else 1.0


def welch_interval(first: Floats, second: Floats) -> tuple[float, float]:
    """Return Welch's 95 % interval of mean(second) − mean(first), samples of unequal variance.

    Raises:
        EdgeError: SciPy is not installed.
    """
    with warnings.catch_warnings():
        # SciPy warns if all values of a sample are equal; its interval is right even then.
        warnings.simplefilter("ignore", RuntimeWarning)
        test = _scipy_stats().ttest_ind(second, first, equal_var=False)
    low, high = test.confidence_interval(0.95)
    return float(low), float(high)


def auroc(higher: Floats, lower: Floats) -> float:
    """Return the area under the ROC curve: Mann and Whitney's U over the number of pairs.

    scikit-learn's `roc_auc_score` takes no infinite scores, which blank images have.

    Args:
        higher, lower: scores of the class that should score higher, and of the other.

    Raises:
        EdgeError: SciPy is not installed.
    """
    u = _scipy_stats().mannwhitneyu(higher, lower, method="asymptotic").statistic
    return float(u) / (len(higher) * len(lower))


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


def _scipy_stats() -> Any:
    """Import `scipy.stats`, of which a device needs nothing.

    Raises:
        EdgeError: SciPy is not installed.
    """
    try:
        from scipy import stats
    except ImportError as error:
        raise EdgeError(
            f'the intervals need SciPy ({error}): pip install "digit-edge[train]"'
        ) from error
    return stats
