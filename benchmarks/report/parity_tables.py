"""Builds the tables of a parity run for the terminal, Markdown and HTML reports.

They compare the predictions and scores of each artifact with those of the reference, list the
flips, and show the sources of int8 errors.
"""

from collections.abc import Sequence
from dataclasses import replace

from benchmarks.harness.messages import Explanation
from benchmarks.harness.statistics import wilson_interval
from benchmarks.report.formats import Table, counted, interval, nats, percent, points
from benchmarks.schema.parity import ParityResult
from benchmarks.schema.parity_report import ParityReport


def parity_table(report: ParityReport) -> Table:
    """Return one line per case: accuracy, its drop, agreement with the reference, verdict."""
    reference = report.reference_metrics
    return Table(
        "Parity",
        _PARITY_HEADER,
        tuple(map(_parity_line, report.results)),
        f"{counted(report.n, 'test image')} of {report.dataset}"
        + (f" (the reference was trained on {report.trained_on})" if report.trained_on else "")
        + f". The reference, {report.reference.artifact} "
        f"in Keras {report.reference_version}: accuracy {percent(reference.accuracy)} "
        f"({interval(*reference.accuracy_interval)}). Intervals: Wilson for the accuracy, Agresti "
        "and Min for the drop; p is that of McNemar's exact test.",
        _PARITY_OPTIONAL,
    )


def series_table(report: ParityReport) -> Table:
    """Return the accuracy of each case on each series of writers; no lines if unknown."""
    return Table(
        "Accuracy by series of writers",
        ("artifact", "engine", "series", "writers", "images", "accuracy", "over writers", "Wilson"),
        tuple(
            (
                row.case.artifact,
                row.case.backend,
                row.series,
                f"{row.writers:,}",
                f"{row.n:,}",
                percent(row.correct / row.n),
                interval(row.low, row.high),
                interval(*wilson_interval(row.correct, row.n)),
            )
            for row in report.series
        ),
        "95 % intervals: over writers, by a cluster bootstrap, and Wilson's, as if all images were "
        "independent.",
        ("Wilson", "writers", "images"),
    )


def scores_table(report: ParityReport) -> Table:
    """Return one line per case: differences from the reference's scores, and calibration."""
    reference = report.reference_metrics
    return Table(
        "Scores",
        _SCORES_HEADER,
        tuple(map(_scores_line, report.results)),
        f"Differences from the reference's scores. The reference has an expected calibration error "
        f"of {percent(reference.calibration_error)} over {len(reference.reliability)} bins and a "
        "mean negative log-likelihood (NLL) of "
        f"{nats(reference.negative_log_likelihood)}.",
        _SCORES_OPTIONAL,
    )


def device_tables(report: ParityReport) -> tuple[Table, ...]:
    """Return both tables for a device's predictions; without lines if no device was used."""
    results = report.device_results
    return (
        Table(
            "Parity on the device",
            _PARITY_HEADER,
            tuple(map(_parity_line, results)),
            "The artifacts ran on the device, the reference on this machine, on the same images.",
            _PARITY_OPTIONAL,
        ),
        Table(
            "Scores on the device",
            _SCORES_HEADER,
            tuple(map(_scores_line, results)),
            optional=_SCORES_OPTIONAL,
        ),
    )


def device_flips(report: ParityReport, max_flips: int) -> tuple[Table, ...]:
    """Return `flips_table` for each case on the device."""
    tables = (flips_table(r, report.class_names, max_flips) for r in report.device_results)
    return tuple(replace(table, title=f"{table.title}, on the device") for table in tables)


# The header of the parity tables.
_PARITY_HEADER = (
    "artifact", "engine", "accuracy (95 %)", "drop, points (95 %)", "McNemar p", "agreement",
    "minimum tolerance", "verdict",
)  # fmt: skip
_PARITY_OPTIONAL = ("agreement", "drop, points (95 %)", "minimum tolerance", "McNemar p")
# The header of the scores tables.
_SCORES_HEADER = (
    "artifact", "engine", "largest difference", "p99", "mean", "min cosine", "confidence drift",
    "calibration error", "NLL", "NaN",
)  # fmt: skip
_SCORES_OPTIONAL = ("p99", "mean", "calibration error", "NLL", "confidence drift")


def _parity_line(result: ParityResult) -> tuple[str, ...]:
    return (
        result.case.artifact,
        f"{result.case.engine} {result.version}",
        f"{percent(result.candidate.accuracy)} ({interval(*result.candidate.accuracy_interval)})",
        f"{points(result.accuracy_drop)} ({' … '.join(map(points, result.drop_interval))})",
        f"{result.p_value:.2g}",
        percent(result.agreement),
        minimum_tolerance(result),
        verdict_of(result),
    )


def _scores_line(result: ParityResult) -> tuple[str, ...]:
    return (
        result.case.artifact,
        f"{result.case.engine} {result.version}",
        f"{result.max_difference:.1e}",
        f"{result.p99_difference:.1e}",
        f"{result.mean_difference:.1e}",
        f"{result.min_cosine:.6f}",
        f"{result.confidence_drift:+.1e}",
        percent(result.candidate.calibration_error),
        nats(result.candidate.negative_log_likelihood),
        str(result.candidate.non_finite),
    )


def minimum_tolerance(result: ParityResult) -> str:
    """Return the strictest values of the tolerance options with which the case passes."""
    tolerance = result.minimum_tolerance
    if result.precision == "int8":
        return f"drop {100 * tolerance.max_drop:.2f}, agreement {percent(tolerance.min_agreement)}"
    return f"difference {tolerance.max_difference:.1e}"


def verdict_of(result: ParityResult) -> str:
    """Return PASS or FAIL, and the number of confident flips as an alarm."""
    confident_flips = len(result.confident_flips)
    alarm = f", ALARM: {counted(confident_flips, 'confident flip')}" if confident_flips else ""
    return ("PASS" if result else "FAIL") + alarm


def flips_table(result: ParityResult, names: Sequence[str], max_flips: int) -> Table:
    """Return the flips of one case; those with the largest margin of the reference come first.

    Args:
        result: the case, compared with the reference.
        names: the class names, by index.
        max_flips: list at most this number; the note counts the others.
    """
    hidden = len(result.flips) - max_flips
    return Table(
        f"{result.case.artifact} in {result.case.backend}: {len(result.flips)} of {result.n:,} "
        "predictions differ",
        ("image", "label", "Keras", "artifact", "margin", "alarm"),
        tuple(
            (
                str(flip.index),
                names[flip.label],
                names[flip.reference],
                names[flip.answer],
                f"{flip.margin:.3f}",
                "ALARM: the reference was confident" if flip in result.confident_flips else "",
            )
            for flip in result.flips[:max_flips]
        ),
        f"and {hidden} more; the JSON lists all" if hidden > 0 else "",
    )


def explanation_tables(explanations: Sequence[Explanation]) -> tuple[Table, ...]:
    """Return three tables per int8 artifact: error sources, layers, lint (option `--explain`)."""
    return tuple(table for explanation in explanations for table in _explained(explanation))


def _explained(explanation: Explanation) -> tuple[Table, ...]:
    name = explanation.artifact
    steps = Table(
        f"Error sources of {name}",
        ("step", "largest difference", "mean", "flips", "comparison"),
        tuple(
            (s.name, f"{s.max_difference:.1e}", f"{s.mean_difference:.1e}", str(s.flips), s.detail)
            for s in explanation.steps
        ),
        f"Over {counted(explanation.n, 'test image')}, in {explanation.engine}.",
    )
    worst = explanation.worst
    layers = Table(
        f"{name}, layer by layer",
        ("layer", "operator", "signal to noise", "saturated", "range used", "silent channels"),
        tuple(
            (
                layer.name,
                layer.operator,
                "–" if layer.snr_db is None else f"{layer.snr_db:.1f} dB",
                percent(layer.saturation),
                f"{100 * layer.range_used:.0f} %",
                f"{layer.silent_channels} of {layer.channels}",
            )
            for layer in explanation.layers
        ),
        f"{worst.name} ({worst.operator}) loses most signal-to-noise ratio compared with the "
        "layer before it."
        if worst
        else "",
    )
    lint = Table(
        f"Lint of {name} and its float artifact",
        ("artifact", "check", "verdict", "why"),
        tuple(
            (f.artifact, f.check, "fine" if f.fine else "REMARK", f.detail)
            for f in explanation.findings
        ),
        "A REMARK does not fail a run.",
    )
    return steps, layers, lint
