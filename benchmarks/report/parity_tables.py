"""The tables of a parity run, which the terminal, Markdown and HTML each print in their way."""

from collections.abc import Sequence
from dataclasses import replace

from benchmarks.harness.messages import Explanation
from benchmarks.report.formats import Table, interval, nats, percent, points
from benchmarks.schema.parity import ParityResult
from benchmarks.schema.parity_report import ParityReport


def parity_table(report: ParityReport) -> Table:
    """One line a row: right and wrong answers, and the verdict."""
    reference = report.reference_metrics
    return Table(
        "Parity",
        _PARITY,
        tuple(map(_parity_line, report.results)),
        f"{report.n:,} test images of {report.dataset}"
        + (f" (the reference was trained on {report.trained_on})" if report.trained_on else "")
        + f". The reference, {report.reference.artifact} "
        f"in Keras {report.reference_version}: accuracy {percent(reference.accuracy)} "
        f"({interval(*reference.accuracy_interval)}). Accuracy's interval is Wilson's, the drop's "
        "Agresti and Min's, p from McNemar's exact test.",
    )


def scores_table(report: ParityReport) -> Table:
    """One line a row: how far its scores are from the reference's, and how well they are meant."""
    reference = report.reference_metrics
    return Table(
        "Scores",
        _SCORES,
        tuple(map(_scores_line, report.results)),
        f"Differences from the reference's scores. Its own expected calibration error, over "
        f"{len(reference.reliability)} bins, is {percent(reference.calibration_error)}, its mean "
        f"negative log-likelihood (NLL) {nats(reference.negative_log_likelihood)}.",
    )


def device_tables(report: ParityReport) -> tuple[Table, ...]:
    """The same two for a device's answers; without lines where no device was asked."""
    results = report.device_results
    note = "The same images, answered there; the reference answered here."
    return (
        Table("Parity on the device", _PARITY, tuple(map(_parity_line, results)), note),
        Table("Scores on the device", _SCORES, tuple(map(_scores_line, results))),
    )


def device_flips(report: ParityReport, most: int) -> tuple[Table, ...]:
    """What `flips_table` gives, for each row of a device."""
    found = (flips_table(r, report.class_names, most) for r in report.device_results)
    return tuple(replace(table, title=f"{table.title}, on the device") for table in found)


_PARITY = (
    "artifact", "engine", "accuracy (95 %)", "drop, points (95 %)", "McNemar p", "agreement",
    "would have passed", "verdict",
)  # fmt: skip
_SCORES = (
    "artifact", "engine", "largest difference", "p99", "mean", "min cosine", "confidence drift",
    "calibration error", "NLL", "NaN",
)  # fmt: skip


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
    """The strictest options with which the row would have passed."""
    least = result.minimum_tolerance
    if result.precision == "int8":
        return f"drop {100 * least.max_drop:.2f}, agreement {percent(least.min_agreement)}"
    return f"difference {least.max_difference:.1e}"


def verdict_of(result: ParityResult) -> str:
    """PASS or FAIL, and the alarms."""
    confident_flips = (
        f", ALARM: {len(result.confident_flips)} sure flips" if result.confident_flips else ""
    )
    return ("PASS" if result else "FAIL") + confident_flips


def flips_table(result: ParityResult, names: Sequence[str], most: int) -> Table:
    """The images that one row answers otherwise, the reference's surest first."""
    rest = len(result.flips) - most
    return Table(
        f"{result.case.artifact} in {result.case.backend}: {len(result.flips)} answers differ",
        ("image", "label", "Keras", "answer", "margin", ""),
        tuple(
            (
                str(flip.index),
                names[flip.label],
                names[flip.reference],
                names[flip.answer],
                f"{flip.margin:.3f}",
                "ALARM: the reference was sure" if flip in result.confident_flips else "",
            )
            for flip in result.flips[:most]
        ),
        f"and {rest} more, all of them in the JSON" if rest > 0 else "",
    )


def explanation_tables(explanations: Sequence[Explanation]) -> tuple[Table, ...]:
    """Where the differences of int8 come from; nothing where that was not asked for."""
    return tuple(table for explanation in explanations for table in _explained(explanation))


def _explained(explanation: Explanation) -> tuple[Table, ...]:
    name = explanation.artifact
    steps = Table(
        f"Where the differences of {name} come from",
        ("step", "largest difference", "mean", "flips", "what"),
        tuple(
            (s.name, f"{s.max_difference:.1e}", f"{s.mean_difference:.1e}", str(s.flips), s.detail)
            for s in explanation.steps
        ),
        f"Over {explanation.n:,} test images, in {explanation.engine}.",
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
        f"{worst.name} ({worst.operator}) loses most against the layer before it." if worst else "",
    )
    lint = Table(
        f"Lint of {name} and its float artifact",
        ("artifact", "check", "verdict", "why"),
        tuple(
            (f.artifact, f.check, "fine" if f.fine else "REMARK", f.detail)
            for f in explanation.findings
        ),
        "Remarks on the graphs; none of them fails a run.",
    )
    return steps, layers, lint
