"""Confidence intervals, significance tests and summary statistics of predictions and timings.

The benchmarks and their reports use this module. Shares and accuracies are from 0 to 1. In a
comparison, "first" and "second" are the two models, such as the Keras reference and an artifact.
"""

import math
import warnings
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.errors import EdgeError

Floats = npt.NDArray[np.floating]  # scores or timings
Integers = npt.NDArray[np.int64]  # classes, or numbers of images

# Half the width of the normal distribution's 95 % interval in standard deviations: 1.96.
_Z95 = NormalDist().inv_cdf(0.975)


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share, as `train.evaluation.evaluate.wilson_interval`.

    Args:
        successes: number of successes, 0 to `n`.
        n: number of tries, at least 1.
    """
    from train.evaluation import (
        evaluate,  # here, because a device that is measured over ssh lacks `train`
    )

    return evaluate.wilson_interval(successes, n)


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Return the two-sided p-value of McNemar's exact test (1947) of equal accuracy.

    The test is a binomial test on the images that exactly one of two models predicts correctly.

    Args:
        only_first: number of images that only the first model predicts correctly.
        only_second: number of images that only the second model predicts correctly.

    Returns:
        The p-value, 0 to 1; 1 if both numbers are 0.

    Raises:
        EdgeError: SciPy is not installed.
    """
    n = only_first + only_second
    return float(_scipy_stats().binomtest(only_first, n).pvalue) if n else 1.0


def welch_interval(first: Floats, second: Floats) -> tuple[float, float]:
    """Return Welch's 95 % confidence interval of mean(second) − mean(first).

    The two samples may have different variances and sizes.

    Args:
        first: (N,), at least two values.
        second: (M,), at least two values.

    Returns:
        The lower and the upper bound, in the unit of the samples. NaN for a sample of one value.

    Raises:
        EdgeError: SciPy is not installed.
    """
    with warnings.catch_warnings():
        # SciPy warns if all values of a sample are equal, although the interval is correct.
        warnings.simplefilter("ignore", RuntimeWarning)
        test = _scipy_stats().ttest_ind(second, first, equal_var=False)
    low, high = test.confidence_interval(0.95)
    return float(low), float(high)


def auroc(higher: Floats, lower: Floats) -> float:
    """Return the area under the ROC curve: the Mann–Whitney U divided by the number of pairs.

    scikit-learn's `roc_auc_score` rejects infinite scores, which blank images have.

    Args:
        higher: scores (N,) of the class that should score higher, at least one; infinity is valid.
        lower: scores (M,) of the other class, at least one; infinity is valid.

    Returns:
        The probability that a random score of `higher` is above a random score of `lower`. Ties
        count half. 1 is perfect, 0.5 is chance.

    Raises:
        EdgeError: SciPy is not installed.
    """
    u = _scipy_stats().mannwhitneyu(higher, lower, method="asymptotic").statistic
    return float(u) / (len(higher) * len(lower))


def paired_drop_interval(only_first: int, only_second: int, n: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of accuracy(first) − accuracy(second).

    Both models predict the same images. The interval is the Wald interval after adding 0.5 to each
    cell of the two-by-two table. Agresti and Min (2005), "Simple improved confidence intervals for
    comparing matched proportions".

    Args:
        only_first: number of images that only the first model predicts correctly.
        only_second: number of images that only the second model predicts correctly.
        n: number of images, at least 1.

    Returns:
        The lower and the upper bound, −1 to 1; positive if the first model is better.
    """
    total, b, c = n + 2, only_first + 0.5, only_second + 0.5
    difference = (b - c) / total
    half = _Z95 * math.sqrt(b + c - (b - c) ** 2 / total) / total
    return max(-1.0, difference - half), min(1.0, difference + half)


def cosines(first: Floats, second: Floats) -> Floats:
    """Return the cosine similarity of each row of `first` and the same row of `second`.

    Args:
        first: (N, classes).
        second: (N, classes).

    Returns:
        (N,) float64, −1 to 1; 0 if one of the two rows is all zeros.
    """
    a, b = first.astype(np.float64), second.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    result: Floats = np.einsum("ij,ij->i", a, b) / np.maximum(lengths, np.finfo(np.float64).tiny)
    return result


def margins(scores: Floats) -> Floats:
    """Return the margin of each image: its largest score minus its second largest.

    Args:
        scores: (N, classes), at least two classes.

    Returns:
        (N,) of the same dtype.
    """
    top_two = np.partition(scores, -2, axis=1)[:, -2:]
    return top_two[:, 1] - top_two[:, 0]


def confusion(labels: Integers, predicted: Integers, classes: int) -> Integers:
    """Return the confusion matrix: the number of images by correct and predicted class.

    Args:
        labels: the correct classes, (N,) int64.
        predicted: the predicted classes, (N,) int64.
        classes: number of classes.

    Returns:
        (classes, classes) int64, with a row per correct class and a column per predicted class.
    """
    counts = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes)


def percentile(samples: npt.ArrayLike, q: float) -> float:
    """Return the q-th percentile: the smallest sample at or above q % of the samples.

    Args:
        samples: one or more numbers.
        q: 0 to 100.
    """
    return float(np.percentile(np.asarray(samples), q, method="inverted_cdf"))


def _scipy_stats() -> Any:
    """Import `scipy.stats` on first use, because SciPy is not installed on devices.

    Raises:
        EdgeError: SciPy is not installed.
    """
    try:
        from scipy import stats
    except ImportError as error:
        raise EdgeError(
            f'confidence intervals need SciPy ({error}): pip install "digit-edge[train]"'
        ) from error
    return stats
