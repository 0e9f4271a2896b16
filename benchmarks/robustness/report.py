"""Renders the results of the robustness benchmark: terminal, JSON, Markdown and an SVG plot."""

import io
import math
from pathlib import Path

from benchmarks.harness.serialize import to_json
from benchmarks.report import markdown, terminal
from benchmarks.report.formats import Table, counted, interval, percent
from benchmarks.report.summary_tables import unmeasured_table
from benchmarks.schema.robustness import (
    MIDDLE,
    MIN_CORRUPTION_ACCURACY,
    MIN_CROSS_DATASET_ACCURACY,
    MIN_MEAN_ACCURACY,
    UNKNOWN,
    UNUSED,
    CrossDatasetResult,
    RobustnessReport,
    RobustnessResult,
)
from runtime.errors import printable
from runtime.system import atomic_write

JSON_NAME = "robustness.json"  # all results; the other two files are rendered from it
MARKDOWN_NAME = "robustness.md"
PLOT_NAME = "robustness.svg"

_MARKS = {UNUSED: " *", UNKNOWN: " ?"}  # appended to corruptions not used in training
_LEGEND = "* not used in training; ? the artifact does not contain its recipe."
_PLOT_COLUMNS = 4  # plots side by side in the SVG file


def print_report(report: RobustnessReport) -> None:
    """Print the tables, the targets and the verdict."""
    tables = (middle_table(report), cross_dataset_table(report), unmeasured_table(report.skipped))
    terminal.print_tables(tables, f"{MARKDOWN_NAME} contains all")
    for line in targets(report):
        print(printable(line))
    terminal.print_verdict("Robustness", report.failures)


def write(report: RobustnessReport, folder: Path) -> tuple[str, ...]:
    """Write the JSON, Markdown and SVG files into `folder`; return their names.

    The SVG file is written only if there are results.

    Raises:
        EdgeError: a file cannot be written.
    """
    atomic_write.write(folder / JSON_NAME, to_json(report))
    atomic_write.write(folder / MARKDOWN_NAME, render(report))
    if not report.results:
        return JSON_NAME, MARKDOWN_NAME
    atomic_write.write(folder / PLOT_NAME, draw(report))
    return JSON_NAME, MARKDOWN_NAME, PLOT_NAME


def render(report: RobustnessReport) -> str:
    """Return the whole report as Markdown; it shows the plot by its file name."""
    tables = [
        middle_table(report),
        cross_dataset_table(report),
        *map(strengths_table, report.results),
        unmeasured_table(report.skipped),
    ]
    parts = [
        "# Robustness",
        f"{report.created[:10]}, `digit-edge benchmark-robustness`, "
        f"{counted(report.n, 'test image')} of {report.dataset} (SHA-256 "
        f"{report.dataset_sha256[:12]}…).",
        "\n".join(f"- {line}" for line in (*targets(report), *report.failures)),
        *([f"![accuracy by corruption and strength]({PLOT_NAME})"] if report.results else []),
        *(markdown.render_table(table) for table in tables if table.lines),
    ]
    return "\n\n".join(parts) + "\n"


def middle_table(report: RobustnessReport) -> Table:
    """Return the accuracy at middle strength: one line per corruption, one column per case."""
    if not report.results:
        return Table("Middle strengths", (), ())
    lines = [("none", "", *(percent(r.clean.accuracy) for r in report.results))]
    for curves in zip(*(result.curves for result in report.results), strict=True):
        first = curves[0]
        lines.append(
            (
                first.corruption,
                first.strengths[MIDDLE],
                *(percent(c.middle.accuracy) + _MARKS.get(c.training, "") for c in curves),
            )
        )
    lines.append(("mean of the corruptions", "", *(percent(r.mean) for r in report.results)))
    return Table(
        "Accuracy at the middle strengths",
        ("corruption", "strength", *(_name(r) for r in report.results)),
        tuple(lines),
        f"{counted(report.n, 'test image')} of {report.dataset}. {_LEGEND}",
        optional=("strength",),
    )


def strengths_table(result: RobustnessResult) -> Table:
    """Return the accuracy of one case at all five strengths, one line per corruption."""
    return Table(
        f"{_name(result)} {result.version}, every strength",
        ("corruption", "mildest", "mild", "middle", "strong", "strongest"),
        tuple(
            (
                curve.corruption + _MARKS.get(curve.training, ""),
                *(
                    f"{percent(reading.accuracy)} ({strength})"
                    for strength, reading in zip(curve.strengths, curve.readings, strict=True)
                ),
            )
            for curve in result.curves
        ),
        f"Accuracy on clean images: {percent(result.clean.accuracy)}. {_LEGEND}",
    )


def cross_dataset_table(report: RobustnessReport) -> Table:
    """Return the accuracy on digits of other writers, one line per artifact and engine."""
    return Table(
        "Other writers: scikit-learn's digits in MNIST's form",
        ("artifact", "engine", "trained on", "accuracy", "95 %", "images"),
        tuple(
            (
                f"{other.folder}/{other.case.artifact}",
                f"{other.case.backend} {other.version}",
                other.trained_on,
                percent(other.reading.accuracy),
                interval(*other.reading.interval),
                f"{other.reading.n:,}",
            )
            for other in report.cross_dataset
        ),
    )


def targets(report: RobustnessReport) -> tuple[str, ...]:
    """Return one line per case: its figures, and whether each target is met."""
    lines = []
    for result in report.results:
        worst = result.worst
        lines.append(
            f"{_name(result)}: mean over the middle strengths {percent(result.mean)} "
            f"({_verdict(result.mean, MIN_MEAN_ACCURACY)}), lowest "
            f"{percent(worst.middle.accuracy)} for {worst.corruption} "
            f"({_verdict(worst.middle.accuracy, MIN_CORRUPTION_ACCURACY)})"
        )
    return (*lines, *map(_cross_dataset_target, report.cross_dataset))


def draw(report: RobustnessReport) -> bytes:
    """Draw accuracy over strength as SVG: one plot per corruption, one line per case.

    The same report gives the same bytes.
    """
    import matplotlib
    from matplotlib.figure import Figure

    curves = report.results[0].curves
    plot_rows = math.ceil(len(curves) / _PLOT_COLUMNS)
    # A fixed salt makes the ids in the SVG file reproducible.
    with matplotlib.rc_context({"svg.hashsalt": "digit-edge", "font.size": 8}):
        figure = Figure(figsize=(13, 2.9 * plot_rows + 0.5), layout="constrained")
        plots = figure.subplots(plot_rows, _PLOT_COLUMNS, squeeze=False, sharey=True).ravel()
        for plot in plots[len(curves) :]:
            plot.set_axis_off()
        for number, (plot, curve) in enumerate(zip(plots, curves, strict=False)):
            marks = {_MARKS.get(r.curves[number].training, "") for r in report.results}
            for result in report.results:
                readings = (result.clean, *result.curves[number].readings)
                accuracies = [100 * reading.accuracy for reading in readings]
                plot.plot(accuracies, marker=".", alpha=0.8, label=_name(result))
            plot.axhline(100 * MIN_CORRUPTION_ACCURACY, color="gray", linestyle=":", linewidth=1)
            plot.axvline(1 + MIDDLE, color="gray", linestyle=":", linewidth=1)
            plot.set_xticks(range(len(curve.strengths) + 1), ("none", *curve.strengths))
            plot.set_title(curve.corruption + "".join(sorted(marks)))
            plot.grid(alpha=0.3)
            if number % _PLOT_COLUMNS == 0:
                plot.set_ylabel("accuracy [%]")
        handles, labels = plots[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        file = io.BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def _cross_dataset_target(other: CrossDatasetResult) -> str:
    from train.data.mnist import MNIST

    accuracy = other.reading.accuracy
    name = f"other writers, {other.folder}/{other.case.artifact} · {other.case.backend}"
    if other.trained_on != MNIST:
        return f"{name}: {percent(accuracy)} (no target: trained on {other.trained_on})"
    return f"{name}: {percent(accuracy)} ({_verdict(accuracy, MIN_CROSS_DATASET_ACCURACY)})"


def _verdict(value: float, minimum: float) -> str:
    return f"target {100 * minimum:g} %: {'met' if value >= minimum else 'MISSED'}"


def _name(result: RobustnessResult) -> str:
    return f"{result.case.artifact} · {result.case.backend}"
