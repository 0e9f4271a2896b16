"""Tests the statistics, the accuracy metrics, and the parity verdict on two models' scores."""

import dataclasses
import sys

import numpy as np
import pytest

from benchmarks.harness import statistics
from benchmarks.harness.cases import BenchmarkCase
from benchmarks.parity import metrics
from benchmarks.schema.parity import AccuracyMetrics, ParityResult
from export.verify import Signature, verify
from runtime.errors import EdgeError
from runtime.model.tolerance import Tolerance
from train.data.splits import Split

CASE = BenchmarkCase("digits.tflite", "litert", "cpu", 1)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Newcombe (1998), "Two-sided confidence intervals for the single proportion", table I.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (20, 20, 0.8389, 1)],
)
def test_wilson_interval_equals_published_values(
    successes: int, n: int, low: float, high: float
) -> None:
    assert statistics.wilson_interval(successes, n) == pytest.approx((low, high), abs=6e-5)


def test_mcnemar_is_the_binomial_test_of_a_fair_coin() -> None:
    # Of 9 tosses at most 2 or at least 7 are heads in 2 * (1 + 9 + 36) of 2**9 outcomes.
    assert statistics.mcnemar_exact(7, 2) == pytest.approx(92 / 512)
    assert statistics.mcnemar_exact(2, 7) == pytest.approx(92 / 512)
    assert statistics.mcnemar_exact(0, 0) == statistics.mcnemar_exact(1, 0) == 1


def test_welch_interval_uses_student_t() -> None:
    # Two samples of variance 2 have two degrees of freedom; the t of the tables is 4.303.
    half_width = 4.303 * np.sqrt(2)
    interval = statistics.welch_interval(np.array([0.0, 2.0]), np.array([10.0, 12.0]))
    assert interval == pytest.approx((10 - half_width, 10 + half_width), abs=1e-3)


def test_welch_interval_of_constant_samples_has_no_width() -> None:
    interval = statistics.welch_interval(np.array([1.0, 1.0]), np.array([3.0, 3.0, 3.0]))
    assert interval == pytest.approx((2, 2))


def test_auroc_is_the_share_of_ordered_pairs_with_ties_counted_half() -> None:
    assert statistics.auroc(np.array([1.0, 3.0]), np.array([0.0, 1.0, 2.0])) == 4.5 / 6
    assert statistics.auroc(np.array([0.0]), np.array([1.0])) == 0
    assert statistics.auroc(np.zeros(3), np.zeros(4)) == 0.5


def test_auroc_accepts_infinite_scores() -> None:
    assert statistics.auroc(np.array([2.0, np.inf]), np.array([-np.inf, 1.0])) == 1


def test_missing_scipy_is_named_with_an_install_hint(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(EdgeError, match=r"SciPy .*pip install .digit-edge\[train\]"):
        statistics.mcnemar_exact(1, 2)


def test_drop_interval_contains_the_drop_and_is_antisymmetric() -> None:
    low, high = statistics.paired_drop_interval(12, 4, 1000)
    assert low < 0.008 < high
    assert statistics.paired_drop_interval(4, 12, 1000) == pytest.approx((-high, -low))


def test_drop_interval_equals_a_published_value() -> None:
    # Agresti, Categorical Data Analysis, table 10.1: a prime minister's approval in two surveys.
    low, high = statistics.paired_drop_interval(150, 86, 1600)
    assert (round(low, 3), round(high, 3)) == (0.021, 0.059)


def test_percentile_is_the_smallest_sample_that_is_large_enough() -> None:
    samples = list(range(1, 101))
    assert [statistics.percentile(samples, q) for q in (50, 90, 99)] == [50, 90, 99]


def scores(predicted: list[int], confidence: float = 0.9) -> np.ndarray:
    """Return scores of ten classes, (N, 10), that predict `predicted` with equal confidence."""
    values = np.full((len(predicted), 10), (1 - confidence) / 9, np.float32)
    values[np.arange(len(predicted)), predicted] = confidence
    return values


def judge(
    reference: np.ndarray, candidate: np.ndarray, precision: str, tolerance: Tolerance | None = None
) -> ParityResult:
    """Return the parity of two models' scores for images with the labels 0 to 9, repeated."""
    labels = np.arange(len(reference)) % 10
    difference = metrics.score_difference(reference, candidate)
    before, after = reference.argmax(axis=1) == labels, candidate.argmax(axis=1) == labels
    return ParityResult(
        case=CASE,
        version="1",
        precision=precision,
        digest="",
        size_bytes=1,
        reference=metrics.compute_metrics(reference, labels),
        candidate=metrics.compute_metrics(candidate, labels),
        only_reference_correct=int((before & ~after).sum()),
        only_candidate_correct=int((after & ~before).sum()),
        max_difference=difference.largest,
        p99_difference=difference.p99,
        mean_difference=difference.mean,
        min_cosine=difference.min_cosine,
        batch_difference=0.0,
        flips=metrics.find_flips(reference, candidate, labels),
        tolerance=tolerance or Tolerance(),
    )


CORRECT = [n % 10 for n in range(10000)]  # the labels of 10,000 images


def wrong_at_first(n: int, offset: int, predicted: list[int] = CORRECT) -> list[int]:
    """Return `predicted` with the first `n` predictions replaced by wrong ones: label + offset."""
    return [(CORRECT[i] + offset) % 10 if i < n else p for i, p in enumerate(predicted)]


def test_equal_scores_pass() -> None:
    result = judge(scores(CORRECT), scores(CORRECT), "float32")
    assert result
    assert result.max_difference == 0
    assert result.agreement == 1
    assert not result.flips


@pytest.fixture(params=[np.nan, np.inf])
def non_finite(request) -> np.ndarray:
    """Return correct scores, one of which is NaN or infinite."""
    broken = scores(CORRECT)
    broken[17, 3] = request.param
    return broken


def test_one_score_that_is_not_finite_fails(non_finite) -> None:
    result = judge(scores(CORRECT), non_finite, "int8")
    assert not result
    assert "scores that are NaN or Inf: 1" in result.failures[0]


def test_score_that_is_not_finite_fails_with_any_tolerance(non_finite) -> None:
    assert not judge(scores(CORRECT), non_finite, "int8", Tolerance(1e9, 1.0, 0.0))


def test_score_of_the_reference_that_is_not_finite_fails(non_finite) -> None:
    assert not judge(non_finite, scores(CORRECT), "int8")


def test_image_with_a_score_that_is_not_finite_counts_as_wrong(non_finite) -> None:
    result = judge(scores(CORRECT), non_finite, "int8")
    assert np.isfinite(result.max_difference)
    assert result.candidate.correct == 9999


def test_float_artifact_is_judged_by_its_scores_alone() -> None:
    near, far = scores(CORRECT), scores(CORRECT)
    near[5, 5] += 9e-6
    far[5, 5] += 2e-5
    assert judge(scores(CORRECT), near, "float32")
    assert not judge(scores(CORRECT), far, "float32")
    assert judge(scores(CORRECT), far, "int8")


def test_int8_artifact_may_lose_five_of_ten_thousand_images() -> None:
    assert judge(scores(CORRECT), scores(wrong_at_first(5, offset=1)), "int8")
    result = judge(scores(CORRECT), scores(wrong_at_first(6, offset=1)), "int8")
    assert not result
    assert "6 fewer of 10000 predictions are correct" in result.failures[0]


def test_int8_artifact_may_flip_ten_of_ten_thousand_predictions() -> None:
    """The flipped images are predicted wrongly by both models, so that the accuracy is equal."""
    reference = wrong_at_first(20, offset=1)
    ten = wrong_at_first(10, offset=2, predicted=reference)
    eleven = wrong_at_first(11, offset=2, predicted=reference)
    assert judge(scores(reference), scores(ten), "int8")
    assert not judge(scores(reference), scores(eleven), "int8")


def test_small_test_set_allows_one_flip() -> None:
    correct = CORRECT[:300]
    assert judge(scores(correct), scores([1, *correct[1:]]), "int8")
    assert not judge(scores(correct), scores([1, 2, *correct[2:]]), "int8")


@pytest.mark.parametrize(("precision", "difference"), [("float32", 1e-3), ("int8", 0.05)])
def test_scores_that_depend_on_the_batch_fail(precision: str, difference: float) -> None:
    result = judge(scores(CORRECT), scores(CORRECT), precision)
    assert not dataclasses.replace(result, batch_difference=difference)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_minimum_tolerance_just_passes(precision: str) -> None:
    wrong = [(n + 1) % 10 if i % 50 == 0 else n for i, n in enumerate(CORRECT)]
    result = judge(scores(CORRECT), scores(wrong), precision)
    minimum = result.minimum_tolerance
    assert not result
    assert dataclasses.replace(result, tolerance=minimum)
    stricter = Tolerance(
        minimum.max_difference * 0.999, minimum.max_drop - 1e-4, minimum.min_agreement + 1e-4
    )
    assert not dataclasses.replace(result, tolerance=stricter)


@pytest.fixture
def two_flips() -> ParityResult:
    """Return a result with a flip of a confident and one of an uncertain reference prediction."""
    reference = scores(CORRECT)
    reference[40] = scores([0], confidence=0.4)[0]
    candidate = reference.copy()
    candidate[40], candidate[11] = scores([7])[0], scores([2])[0]
    return judge(reference, candidate, "int8")


def test_flips_are_in_descending_order_of_the_margin(two_flips) -> None:
    assert [(f.index, f.label, f.reference, f.answer) for f in two_flips.flips] == [
        (11, 1, 1, 2),
        (40, 0, 0, 7),
    ]


def test_confident_flips_are_those_with_a_large_margin(two_flips) -> None:
    assert [flip.index for flip in two_flips.confident_flips] == [11]


def test_calibration_error_of_an_overconfident_model() -> None:
    wrong = [(n + 1) % 10 if i % 2 else n for i, n in enumerate(CORRECT)]
    result: AccuracyMetrics = metrics.compute_metrics(
        scores(wrong, confidence=0.95), np.array(CORRECT)
    )
    assert result.accuracy == 0.5
    assert result.calibration_error == pytest.approx(0.45, abs=1e-3)
    assert sum(b.count for b in result.reliability) == 10000
    assert np.array(result.confusion).trace() == 5000
    assert len(result.reliability) == 15


@pytest.fixture
def random_scores() -> tuple[np.ndarray, np.ndarray]:
    """Return random scores, (500, 10), and labels, (500,)."""
    generator = np.random.default_rng(0)
    values = generator.dirichlet(np.full(10, 0.3), 500).astype(np.float32)
    return values, generator.integers(0, 10, 500)


def test_negative_log_likelihood_is_the_mean_of_the_clipped_logarithms(random_scores) -> None:
    values, labels = random_scores
    clipped = np.maximum(values, 1e-7)
    expected = -np.log(clipped[np.arange(500), labels].astype(np.float64)).mean()
    result = metrics.compute_metrics(values, labels).negative_log_likelihood
    assert result == pytest.approx(expected)


def test_negative_log_likelihood_equals_the_log_loss_of_scikit_learn(random_scores) -> None:
    from sklearn.metrics import log_loss

    values, labels = random_scores
    normalized = values.astype(np.float64) / values.sum(axis=1, dtype=np.float64, keepdims=True)
    unclipped = normalized[np.arange(500), labels] > 1e-6
    result = metrics.compute_metrics(values[unclipped], labels[unclipped]).negative_log_likelihood
    expected = log_loss(labels[unclipped], normalized[unclipped], labels=range(10))
    assert result == pytest.approx(expected, rel=1e-4)


def test_negative_log_likelihood_of_a_zero_score_is_finite(random_scores) -> None:
    """Images with NaN are left out."""
    values, labels = random_scores
    values[:3] = np.nan
    values[3] = np.eye(10)[(labels[3] + 1) % 10]
    result = metrics.compute_metrics(values[:4], labels[:4]).negative_log_likelihood
    assert result == pytest.approx(-np.log(1e-7))


def test_negative_log_likelihood_without_finite_scores_is_none(random_scores) -> None:
    values, labels = random_scores
    values[:3] = np.nan
    assert metrics.compute_metrics(values[:3], labels[:3]).negative_log_likelihood is None


def export_passes(
    reference: np.ndarray, candidate: np.ndarray, precision: str, batch_difference: float
) -> bool:
    """Return whether `digit-edge export` accepts the scores that `judge` is given.

    Args:
        reference: scores of the reference.
        candidate: scores of the artifact in a batch.
        precision: "float32" or "int8".
        batch_difference: difference of one of its scores if an image is predicted alone.
    """
    n = len(reference)
    # The first two pixels of an image contain its index, by which `run` finds its scores.
    pixels = np.zeros((n, 28, 28, 1), np.uint8)
    pixels[:, 0, 0, 0], pixels[:, 0, 1, 0] = np.divmod(np.arange(n), 256)

    def run(images: np.ndarray) -> np.ndarray:
        indices = images[:, 0, 0, 0].astype(int) * 256 + images[:, 0, 1, 0]
        values = candidate[indices]
        if len(images) == 1:
            values[0, values[0].argmin()] += np.float32(batch_difference)
        return values

    signature = Signature("pixels", "scores", (None, 28, 28, 1), (None, 10))
    split = Split(pixels, np.arange(n) % 10)
    return bool(verify(signature, run, reference, split, (28, 28, 1), precision))


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize(
    ("n", "changed", "change", "int8_passes"),
    [(n, changed, change, passes)
     for change, limits in (("lost", {300: 1, 1000: 1, 10_000: 5}),
                            ("flipped", {300: 1, 1000: 1, 1999: 1, 2000: 2, 10_000: 10}))
     for n, allowed in limits.items()
     for changed, passes in ((allowed, True), (allowed + 1, False))],
)  # fmt: skip
def test_export_and_parity_give_the_same_verdict(precision, n, changed, change, int8_passes):
    """The allowed number of images changes, and one more."""
    labels = np.arange(n) % 10
    before, after = labels.copy(), labels.copy()
    if change == "flipped":  # from one wrong prediction to another, so that the accuracy is equal
        before[:changed] = (labels[:changed] + 1) % 10
    after[:changed] = (labels[:changed] + 2) % 10
    reference, candidate = scores(before, confidence=1), scores(after, confidence=1)
    parity = bool(judge(reference, candidate, precision))
    assert parity == export_passes(reference, candidate, precision, 0)
    assert parity == (precision == "int8" and int8_passes)


LIMIT = np.float32(1e-5)  # the allowed difference of a float artifact's scores
BEYOND = np.nextafter(LIMIT, np.float32(1))  # the next larger number


@pytest.mark.parametrize(
    ("precision", "difference", "batch_difference", "passes"),
    [
        ("float32", LIMIT, 0, True),
        ("float32", BEYOND, 0, False),
        ("float32", 0, LIMIT, True),
        ("float32", 0, BEYOND, False),
        ("float32", 0, 1 / 256, False),
        ("int8", 0.3, 0, True),
        ("int8", 0, 2 / 256, True),
        ("int8", 0, 2.5 / 256, True),
        ("int8", 0, 3 / 256, False),
        ("int8", np.nan, 0, False),
        ("float32", np.nan, 0, False),
    ],
)
def test_export_and_parity_have_the_same_limits(precision, difference, batch_difference, passes):
    reference = scores(CORRECT[:300], confidence=1)
    candidate = reference.copy()
    candidate[7, 0] += difference
    result = judge(reference, candidate, precision)
    result = dataclasses.replace(result, batch_difference=float(batch_difference))
    assert (
        bool(result) == export_passes(reference, candidate, precision, batch_difference) == passes
    )


def test_reference_with_nan_fails_in_export_and_in_parity() -> None:
    correct = scores(CORRECT[:300], confidence=1)
    broken = correct.copy()
    broken[17, 3] = np.nan
    assert not judge(broken, correct, "int8")
    assert not export_passes(broken, correct, "int8", 0)
