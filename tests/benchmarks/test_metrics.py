"""The statistics, and the verdict on two models' answers."""

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

ROW = BenchmarkCase("digits.tflite", "litert", "cpu", 1)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Newcombe (1998), "Two-sided confidence intervals for the single proportion", table I.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (20, 20, 0.8389, 1)],
)
def test_wilson_interval_is_that_of_the_literature(
    successes: int, n: int, low: float, high: float
) -> None:
    assert statistics.wilson_interval(successes, n) == pytest.approx((low, high), abs=6e-5)


def test_mcnemar_counts_tosses_of_a_fair_coin() -> None:
    # Of 9 tosses at most 2 or at least 7 fall on one side: 2 * (1 + 9 + 36) of 2**9 outcomes.
    assert statistics.mcnemar_exact(7, 2) == pytest.approx(92 / 512)
    assert statistics.mcnemar_exact(2, 7) == pytest.approx(92 / 512)
    assert statistics.mcnemar_exact(0, 0) == statistics.mcnemar_exact(1, 0) == 1


def test_welch_interval_takes_its_t_from_the_table() -> None:
    # Two variances of 2 leave two degrees of freedom, of which the table says 4.303.
    half = 4.303 * np.sqrt(2)
    interval = statistics.welch_interval(np.array([0.0, 2.0]), np.array([10.0, 12.0]))
    assert interval == pytest.approx((10 - half, 10 + half), abs=1e-3)
    equal = statistics.welch_interval(np.array([1.0, 1.0]), np.array([3.0, 3.0, 3.0]))
    assert equal == pytest.approx((2, 2))


def test_auroc_counts_pairs_in_order_and_half_of_the_equal_ones() -> None:
    assert statistics.auroc(np.array([1.0, 3.0]), np.array([0.0, 1.0, 2.0])) == 4.5 / 6
    assert statistics.auroc(np.array([2.0, np.inf]), np.array([-np.inf, 1.0])) == 1
    assert statistics.auroc(np.array([0.0]), np.array([1.0])) == 0
    assert statistics.auroc(np.zeros(3), np.zeros(4)) == 0.5


def test_a_missing_scipy_is_named_with_its_remedy(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(EdgeError, match=r"SciPy .*pip install .digit-edge\[train\]"):
        statistics.wilson_interval(1, 2)


def test_interval_of_a_drop_holds_the_drop() -> None:
    low, high = statistics.paired_drop_interval(12, 4, 1000)
    assert low < 0.008 < high
    assert statistics.paired_drop_interval(4, 12, 1000) == pytest.approx((-high, -low))
    # Agresti, Categorical Data Analysis, table 10.1: a prime minister's approval, asked twice.
    low, high = statistics.paired_drop_interval(150, 86, 1600)
    assert (round(low, 3), round(high, 3)) == (0.021, 0.059)


def test_percentile_is_a_sample_of_which_enough_are_below() -> None:
    samples = list(range(1, 101))
    assert [statistics.percentile(samples, q) for q in (50, 90, 99)] == [50, 90, 99]


def scores(answers: list[int], sure: float = 0.9) -> np.ndarray:
    """Scores of ten classes that say `answers`, each with the confidence `sure`."""
    values = np.full((len(answers), 10), (1 - sure) / 9, np.float32)
    values[np.arange(len(answers)), answers] = sure
    return values


def judge(
    reference: np.ndarray, candidate: np.ndarray, precision: str, tolerance: Tolerance | None = None
) -> ParityResult:
    labels = np.arange(len(reference)) % 10
    apart = metrics.score_difference(reference, candidate)
    before, after = reference.argmax(axis=1) == labels, candidate.argmax(axis=1) == labels
    return ParityResult(
        case=ROW,
        version="1",
        precision=precision,
        digest="",
        size_bytes=1,
        reference=metrics.compute_metrics(reference, labels),
        candidate=metrics.compute_metrics(candidate, labels),
        only_reference_correct=int((before & ~after).sum()),
        only_candidate_correct=int((after & ~before).sum()),
        max_difference=apart.largest,
        p99_difference=apart.p99,
        mean_difference=apart.mean,
        min_cosine=apart.min_cosine,
        batch_difference=0.0,
        flips=metrics.find_flips(reference, candidate, labels),
        tolerance=tolerance or Tolerance(),
    )


RIGHT = [n % 10 for n in range(10000)]


def test_equal_scores_pass() -> None:
    result = judge(scores(RIGHT), scores(RIGHT), "float32")
    assert result
    assert result.max_difference == 0
    assert result.agreement == 1
    assert not result.flips


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_one_score_that_is_no_number_is_fatal(bad: float) -> None:
    broken = scores(RIGHT)
    broken[17, 3] = bad
    result = judge(scores(RIGHT), broken, "int8")
    assert not result
    assert "1 scores are NaN or Inf" in result.failures[0]
    assert not judge(broken, scores(RIGHT), "int8")
    assert np.isfinite(result.max_difference)
    assert result.candidate.correct == 9999
    assert not judge(scores(RIGHT), broken, "int8", Tolerance(1e9, 1.0, 0.0))


def test_float_is_judged_by_value_alone() -> None:
    near, far = scores(RIGHT), scores(RIGHT)
    near[5, 5] += 9e-6
    far[5, 5] += 2e-5
    assert judge(scores(RIGHT), near, "float32")
    assert not judge(scores(RIGHT), far, "float32")
    assert judge(scores(RIGHT), far, "int8")


def test_int8_is_judged_by_whole_images() -> None:
    wrong = [n + 1 if at < 5 else n for at, n in enumerate(RIGHT)]
    assert judge(scores(RIGHT), scores(wrong), "int8")
    wrong = [n + 1 if at < 6 else n for at, n in enumerate(RIGHT)]
    result = judge(scores(RIGHT), scores(wrong), "int8")
    assert not result
    assert "6 fewer of 10000 predictions are correct" in result.failures[0]


def test_ten_of_ten_thousand_may_flip_and_eleven_may_not() -> None:
    # Of images that both read wrongly, so that accuracy stays.
    lost = [(n + 1) % 10 if at < 20 else n for at, n in enumerate(RIGHT)]
    ten = [
        (n + 2) % 10 if at < 10 else a for at, (n, a) in enumerate(zip(RIGHT, lost, strict=True))
    ]
    eleven = [
        (n + 2) % 10 if at < 11 else a for at, (n, a) in enumerate(zip(RIGHT, lost, strict=True))
    ]
    assert judge(scores(lost), scores(ten), "int8")
    assert not judge(scores(lost), scores(eleven), "int8")


def test_a_small_set_allows_the_one_image_it_can_tell() -> None:
    right = RIGHT[:300]
    assert judge(scores(right), scores([1, *right[1:]]), "int8")
    assert not judge(scores(right), scores([1, 2, *right[2:]]), "int8")


def test_answers_that_depend_on_the_batch_fail() -> None:
    for precision, difference in (("float32", 1e-3), ("int8", 0.05)):
        result = judge(scores(RIGHT), scores(RIGHT), precision)
        assert not dataclasses.replace(result, batch_difference=difference)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_minimum_tolerance_just_passes(precision: str) -> None:
    wrong = [(n + 1) % 10 if at % 50 == 0 else n for at, n in enumerate(RIGHT)]
    result = judge(scores(RIGHT), scores(wrong), precision)
    least = result.minimum_tolerance
    assert not result
    assert dataclasses.replace(result, tolerance=least)
    stricter = Tolerance(
        least.max_difference * 0.999, least.max_drop - 1e-4, least.min_agreement + 1e-4
    )
    assert not dataclasses.replace(result, tolerance=stricter)


def test_flips_are_listed_the_surest_first_and_sure_ones_are_an_alarm() -> None:
    reference = scores(RIGHT)
    reference[40] = scores([0], sure=0.4)[0]
    candidate = reference.copy()
    candidate[40], candidate[11] = scores([7])[0], scores([2])[0]
    result = judge(reference, candidate, "int8")
    assert [(f.index, f.label, f.reference, f.answer) for f in result.flips] == [
        (11, 1, 1, 2),
        (40, 0, 0, 7),
    ]
    assert [flip.index for flip in result.confident_flips] == [11]


def test_calibration_error_of_an_overconfident_model() -> None:
    wrong = [(n + 1) % 10 if at % 2 else n for at, n in enumerate(RIGHT)]
    answers: AccuracyMetrics = metrics.compute_metrics(scores(wrong, sure=0.95), np.array(RIGHT))
    assert answers.accuracy == 0.5
    assert answers.calibration_error == pytest.approx(0.45, abs=1e-3)
    assert sum(b.count for b in answers.reliability) == 10000
    assert np.array(answers.confusion).trace() == 5000
    assert len(answers.reliability) == 15


def test_negative_log_likelihood_is_scikit_learns() -> None:
    from sklearn.metrics import log_loss

    generator = np.random.default_rng(0)
    some = generator.dirichlet(np.full(10, 0.3), 500).astype(np.float32)
    labels = generator.integers(0, 10, 500)
    told = metrics.compute_metrics(some, labels).negative_log_likelihood
    clipped = np.maximum(some, 1e-7)
    expected = -np.log(clipped[np.arange(500), labels].astype(np.float64)).mean()
    assert told == pytest.approx(expected)
    safe = some.astype(np.float64) / some.sum(axis=1, dtype=np.float64, keepdims=True)
    kept = safe[np.arange(500), labels] > 1e-6
    told = metrics.compute_metrics(some[kept], labels[kept]).negative_log_likelihood
    assert told == pytest.approx(log_loss(labels[kept], safe[kept], labels=range(10)), rel=1e-4)
    # A score of 0 for the truth costs much, not everything; images with NaN are left out.
    some[:3] = np.nan
    some[3] = np.eye(10)[(labels[3] + 1) % 10]
    told = metrics.compute_metrics(some[:4], labels[:4]).negative_log_likelihood
    assert told == pytest.approx(-np.log(1e-7))
    assert metrics.compute_metrics(some[:3], labels[:3]).negative_log_likelihood is None


def export_passes(
    reference: np.ndarray, candidate: np.ndarray, precision: str, batch_difference: float
) -> bool:
    """What export says of the scores that `judge` gets, images alone having other scores."""
    n = len(reference)
    pixels = np.zeros((n, 28, 28, 1), np.uint8)
    pixels[:, 0, 0, 0], pixels[:, 0, 1, 0] = np.divmod(np.arange(n), 256)

    def run(images: np.ndarray) -> np.ndarray:
        at = images[:, 0, 0, 0].astype(int) * 256 + images[:, 0, 1, 0]
        found = candidate[at]
        if len(images) == 1:
            found[0, found[0].argmin()] += np.float32(batch_difference)
        return found

    signature = Signature("pixels", "scores", (None, 28, 28, 1), (None, 10))
    split = Split(pixels, np.arange(n) % 10)
    return bool(verify(signature, run, reference, split, (28, 28, 1), precision))


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize(
    ("n", "changed", "where", "int8_passes"),
    [(n, changed, where, passes)
     for where, at_most in (("lost", {300: 1, 1000: 1, 10_000: 5}),
                            ("flipped", {300: 1, 1000: 1, 1999: 1, 2000: 2, 10_000: 10}))
     for n, allowed in at_most.items()
     for changed, passes in ((allowed, True), (allowed + 1, False))],
)  # fmt: skip
def test_export_and_parity_reach_the_same_verdict(precision, n, changed, where, int8_passes):
    """At the allowance and one image beyond it."""
    labels = np.arange(n) % 10
    before, after = labels.copy(), labels.copy()
    if where == "flipped":  # from one wrong prediction to another, so that accuracy stays
        before[:changed] = (labels[:changed] + 1) % 10
    after[:changed] = (labels[:changed] + 2) % 10
    reference, candidate = scores(before, sure=1), scores(after, sure=1)
    parity = bool(judge(reference, candidate, precision))
    assert parity == export_passes(reference, candidate, precision, 0)
    assert parity == (precision == "int8" and int8_passes)


LIMIT, BEYOND = np.float32(1e-5), np.nextafter(np.float32(1e-5), np.float32(1))


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
def test_export_and_parity_draw_the_same_limits(precision, difference, batch_difference, passes):
    reference = scores(RIGHT[:300], sure=1)
    candidate = reference.copy()
    candidate[7, 0] += difference
    result = judge(reference, candidate, precision)
    result = dataclasses.replace(result, batch_difference=float(batch_difference))
    assert (
        bool(result) == export_passes(reference, candidate, precision, batch_difference) == passes
    )


def test_a_reference_with_nan_fails_in_export_and_in_parity() -> None:
    broken = scores(RIGHT[:300], sure=1)
    broken[17, 3] = np.nan
    assert not judge(broken, scores(RIGHT[:300], sure=1), "int8")
    assert not export_passes(broken, scores(RIGHT[:300], sure=1), "int8", 0)
