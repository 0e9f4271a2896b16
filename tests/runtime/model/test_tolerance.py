"""The limits of parity: whole images, differences of scores, differences between batches."""

import math

import pytest

from runtime.model.tolerance import Tolerance

pytestmark = pytest.mark.portable


@pytest.mark.parametrize(
    ("n", "lost", "flips"),
    [(1, 1, 1), (300, 1, 1), (1000, 1, 1), (1999, 1, 1), (2000, 1, 2), (3999, 1, 3),
     (4000, 2, 4), (10_000, 5, 10), (10_999, 5, 10), (60_000, 30, 60)],
)  # fmt: skip
def test_shares_are_rounded_down_to_at_least_one_image(n, lost, flips):
    assert (Tolerance().max_lost(n), Tolerance().max_flips(n)) == (lost, flips)


def test_limit_of_zero_allows_no_image():
    strict = Tolerance(max_drop=0, min_agreement=1)
    assert (strict.max_lost(10_000), strict.max_flips(10_000)) == (0, 0)


@pytest.mark.parametrize("n", [7, 100, 300, 9999, 10_000])
def test_rounding_errors_do_not_lower_a_limit(n):
    for images in range(1, n + 1):
        assert Tolerance(max_drop=images / n).max_lost(n) == images
        assert Tolerance(min_agreement=1 - images / n).max_flips(n) == images


def test_float_is_checked_by_its_scores_only():
    tolerance = Tolerance()
    assert tolerance.allows_difference("float32", 1e-5)
    assert not tolerance.allows_difference("float32", 1.1e-5)
    assert tolerance.allows_lost("float32", 6, 10_000)
    assert tolerance.allows_flips("float32", 11, 10_000)


def test_int8_is_checked_by_its_predictions_only():
    tolerance = Tolerance()
    assert tolerance.allows_difference("int8", 0.5)
    assert tolerance.allows_lost("int8", 5, 10_000)
    assert tolerance.allows_flips("int8", 10, 10_000)
    assert not tolerance.allows_lost("int8", 6, 10_000)
    assert not tolerance.allows_flips("int8", 11, 10_000)


def test_better_candidate_passes():
    assert Tolerance().allows_lost("int8", -40, 300)


def test_int8_may_differ_by_two_steps_in_a_batch():
    tolerance = Tolerance()
    assert tolerance.allows_batch_difference("int8", 2 / 256)
    assert not tolerance.allows_batch_difference("int8", 3 / 256)


def test_float_may_differ_by_max_difference_in_a_batch():
    tolerance = Tolerance()
    assert tolerance.allows_batch_difference("float32", 1e-5)
    assert not tolerance.allows_batch_difference("float32", 1 / 256)
    assert Tolerance(max_difference=0.5).allows_batch_difference("float32", 0.4)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_nan_fails_as_a_difference_between_batches(precision):
    assert not Tolerance().allows_batch_difference(precision, math.nan)


def test_nan_fails_as_a_difference_of_scores():
    assert not Tolerance().allows_difference("float32", math.nan)
