"""The rule that tells digits from what is none, fitted to sets that hold blank pages."""

import math

import numpy as np
import pytest

from runtime.acceptance import Judge

pytest.importorskip("sklearn")

from train.acceptance import fit_acceptance
from train.data import embedded


def answer(pixels):
    """Scores of a model that is never quite sure."""
    scores = np.full((len(pixels), 10), 0.01, np.float32)
    scores[:, 0] = np.linspace(0.5, 0.9, len(pixels))
    return scores


def test_blank_pages_held_back_have_no_say_in_the_threshold():
    digits = embedded()
    held_back, seen = digits.test.pixels[:120], digits.train.pixels[:300]
    blank = np.concatenate([held_back, np.zeros_like(held_back[:5]), held_back[:5] * 0 + 90])
    rule = fit_acceptance(digits.labels, seen, blank, answer, 0)
    plain = fit_acceptance(digits.labels, seen, held_back, answer, 0)
    assert math.isfinite(rule.threshold)
    assert rule.to_record() == plain.to_record()
    assert Judge(0.0, rule).accept_all(held_back, answer(held_back).max(axis=1)).mean() > 0.99


def test_of_blank_pages_alone_there_is_no_rule():
    digits = embedded()
    blank = np.zeros_like(digits.test.pixels[:20])
    assert fit_acceptance(digits.labels, digits.train.pixels[:300], blank, answer, 0) is None
