"""The table of a sweep: mean, spread and paired interval."""

import pytest

pytest.importorskip("optuna", reason='needs optuna: pip install "digit-edge[sweep]"')

from train.sweep.queue import Cell, Result
from train.sweep.table import paired_interval, raw, table

DEFAULT = (("dropout", 0.3),)
OTHER = (("dropout", 0.2),)


def results(settings, accuracies):
    return [Result(Cell(settings, n), a, 0.1, a - 0.01) for n, a in enumerate(accuracies)]


def test_interval_is_that_of_the_paired_t_test():
    """The sleep data of Student (1908): differences 1.58, interval 0.70 to 2.46."""
    differences = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
    mean, half = paired_interval(differences)
    assert mean == pytest.approx(1.58)
    assert (mean - half, mean + half) == pytest.approx((0.7001, 2.4599), abs=1e-4)


def test_spread_that_seeds_share_cancels():
    text = table(results(DEFAULT, [0.90, 0.94, 0.92]) + results(OTHER, [0.91, 0.95, 0.93]), DEFAULT)
    rows = [line for line in text.splitlines() if line.startswith("| dropout")]
    assert rows == [
        "| dropout=0.3 (recipe) | 3 | 92.000 % ± 2.000 | – | 0.10000 |",
        "| dropout=0.2 | 3 | 93.000 % ± 2.000 | +1.000 (+1.000 to +1.000) | 0.10000 |",
    ]
    assert "Test accuracy of the recipe: mean 91.00 % (89.00 to 93.00), 3 seeds." in text


def test_only_common_seeds_are_compared():
    text = table(results(DEFAULT, [0.90]) + results(OTHER, [0.91, 0.5]), DEFAULT)
    assert "+1.000 (one seed)" in text


def test_recipe_alone_has_one_row():
    text = table(results((), [0.9, 0.91]), ())
    assert "| recipe | 2 | 90.500 % ± 0.707 | – | 0.10000 |" in text
    assert "by chance" not in text


def test_raw_results_are_csv():
    assert raw(results(OTHER, [0.5])) == (
        "settings,seed,validation_accuracy,validation_loss,test_accuracy\n"
        "dropout=0.2,0,0.5,0.1,0.49\n"
    )
