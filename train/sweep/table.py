"""Compares the settings of a sweep: mean, spread, and a paired interval against the recipe."""

import csv
import io
from collections.abc import Sequence

import numpy as np

from runtime.errors import plural
from train.sweep.queue import Cell, Result

_CONFIDENCE = 0.95  # of the intervals


def table(results: Sequence[Result], default: tuple[tuple[str, float], ...]) -> str:
    """Return a Markdown table, a row for each combination of settings.

    The interval is Student's, of the differences between runs with the same seed: they have the
    same validation images, so most of the spread cancels.

    Args:
        results: the finished runs.
        default: the settings of the recipe.
    """
    by_settings: dict[tuple[tuple[str, float], ...], dict[int, Result]] = {}
    for result in results:
        by_settings.setdefault(result.cell.settings, {})[result.cell.seed] = result
    reference = by_settings.get(default, {})
    lines = [
        "| settings | seeds | validation accuracy, mean ± spread | difference from the recipe, "
        "95 % interval | validation loss |",
        "|---|---|---|---|---|",
    ]
    order = sorted(by_settings, key=lambda s: (s != default, -_mean(by_settings[s])))
    for settings in order:
        runs = by_settings[settings]
        percents = 100 * np.array([run.accuracy for run in runs.values()])
        spread = f" ± {percents.std(ddof=1):.3f}" if len(percents) > 1 else ""
        losses = np.array([run.loss for run in runs.values()])
        name = Cell(settings, 0).name + (" (recipe)" if settings == default and settings else "")
        lines.append(
            f"| {name} | {len(runs)} | {percents.mean():.3f} %{spread} | "
            f"{'–' if settings == default else _difference(runs, reference)} | "
            f"{losses.mean():.5f} |"
        )
    if reference:
        test = 100 * np.array([run.test_accuracy for run in reference.values()])
        lines += [
            "",
            f"Test accuracy of the recipe: mean {test.mean():.2f} % ({test.min():.2f} to "
            f"{test.max():.2f}), {plural(len(test), 'seed')}. Test images must not choose "
            "settings.",
        ]
    compared = len(by_settings) - (default in by_settings)
    if compared > 1:
        lines += [
            "",
            f"Of {compared} intervals, {compared * (1 - _CONFIDENCE):.1f} exclude 0 by chance.",
        ]
    return "\n".join(lines) + "\n"


def raw(results: Sequence[Result]) -> str:
    """Return all results as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["settings", "seed", "validation_accuracy", "validation_loss", "test_accuracy"])
    for run in sorted(results, key=lambda run: (run.cell.settings, run.cell.seed)):
        row = [run.cell.name, run.cell.seed, run.accuracy, run.loss, run.test_accuracy]
        writer.writerow(row)
    return text.getvalue()


def paired_interval(differences: Sequence[float]) -> tuple[float, float]:
    """Return the mean of differences, and half the width of Student's 95 % interval.

    Args:
        differences: at least two.
    """
    from scipy import stats

    values = np.asarray(differences)
    error = values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(stats.t.ppf((1 + _CONFIDENCE) / 2, len(values) - 1) * error)


def _difference(runs: dict[int, Result], reference: dict[int, Result]) -> str:
    differences = [
        100 * (run.accuracy - reference[seed].accuracy)
        for seed, run in runs.items()
        if seed in reference
    ]
    if not differences:
        return "–"
    if len(differences) == 1:
        return f"{differences[0]:+.3f} (one seed)"
    mean, half = paired_interval(differences)
    return f"{mean:+.3f} ({mean - half:+.3f} to {mean + half:+.3f})"


def _mean(runs: dict[int, Result]) -> float:
    return float(np.mean([run.accuracy for run in runs.values()]))
