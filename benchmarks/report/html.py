"""A report as one HTML page without scripts or references: for a screen, a phone and paper."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.harness import cases, messages
from benchmarks.report import (
    charts,
    device_tables,
    html_templates,
    latency_tables,
    parity_tables,
    summary_tables,
)
from benchmarks.report import related as beside_tables
from benchmarks.report.charts import Charts, Point
from benchmarks.report.formats import Table, nats, percent
from benchmarks.report.related import RelatedReports
from benchmarks.schema.latency import LatencyResult
from benchmarks.schema.parity import AccuracyMetrics, Flip, ParityResult
from benchmarks.schema.parity_report import ParityReport
from benchmarks.schema.report import BenchmarkReport

_ALONE = RelatedReports()
_MAX_FLIPS = 200  # per artifact and engine
_MAX_LINE_LENGTH = 40  # characters; longer texts of a table are wrapped


@dataclass(frozen=True)
class _Section:
    """A heading, what the template draws below it, and a note; left out without content."""

    title: str
    template: str
    content: object
    note: str = ""


def render(report: BenchmarkReport, beside: RelatedReports = _ALONE) -> str:
    """Return the page of a report and of the related reports in its folder.

    The same report gives the same bytes.

    Raises:
        ModuleNotFoundError: jinja2 is not installed.
    """
    taken: set[str] = set()
    groups = []
    for title, parts in _groups(report, beside).items():
        sections = [_section(part) if isinstance(part, Table) else part for part in parts]
        group = {"title": title, "id": _unique_id(title, taken)}
        shown = [{**vars(s), "id": _unique_id(s.title, taken)} for s in sections if s.content]
        if shown:
            groups.append({**group, "sections": shown})
    host = report.latency.host
    return html_templates.render(
        "report.html",
        date=report.created[:10],
        machine=f"{host.cpu}, {host.cores} cores",
        failures=report.failures,
        groups=groups,
        column_styles=_column_styles,
    )


def _groups(report: BenchmarkReport, beside: RelatedReports) -> dict[str, list[Table | _Section]]:
    """Return the parts of the page by the heading above them."""
    parity, latency = report.parity, report.latency
    return {
        "Overview": [
            summary_tables.summary(parity, latency),
            device_tables.side_by_side(latency, report.device),
            _latencies(report),
            _scatters(report),
        ],
        "Accuracy": [
            parity_tables.parity_table(parity),
            parity_tables.scores_table(parity),
            *parity_tables.device_tables(parity),
            *parity_tables.device_flips(parity, _MAX_FLIPS),
            _flips(parity),
            _confusions(parity),
            _reliabilities(parity),
        ],
        "Speed": [
            latency_tables.latency_table(latency),
            latency_tables.starts_table(latency),
            latency_tables.files_table(latency),
            latency_tables.limit_table(parity, latency),
            latency_tables.commands_table(latency),
            latency_tables.arrays_table(latency),
            latency_tables.many_files_table(latency),
            latency_tables.programs_table(latency),
            latency_tables.invalid_table(latency),
        ],
        "Quantization": [*parity_tables.explanation_tables(parity.explanations)],
        "Other images": [
            beside_tables.robustness_table(beside.robustness),
            _robustness(beside),
            beside_tables.rejection_table(beside.rejection),
        ],
        "This run": [
            summary_tables.unmeasured_table(parity.skipped + latency.skipped),
            summary_tables.host_table(latency),
            *device_tables.details(report.device, parity.device_skipped),
            summary_tables.sources_table(latency, beside),
        ],
    }


def _unique_id(title: str, taken: set[str]) -> str:
    """Return an id that is not yet in `taken`, and add it."""
    name = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"
    number, unique = 1, name
    while unique in taken:
        number += 1
        unique = f"{name}-{number}"
    taken.add(unique)
    return unique


def _section(table: Table) -> _Section:
    return _Section(table.title, "table.html", table if table.lines else None, table.note)


def _column_styles(table: Table) -> list[str]:
    """Return the class of each column: figures are right-aligned, long texts are wrapped."""
    styles = []
    for cells in zip(*table.lines, strict=True):
        figures = all(re.match(r"[-+−]?\d|–$", cell) for cell in cells)
        long = max(map(len, cells)) > _MAX_LINE_LENGTH
        styles.append("prose" if long else "number" if figures else "text")
    return styles


def _name(result: ParityResult | LatencyResult) -> str:
    return f"{result.case.artifact} · {result.case.engine}"


def _latencies(report: BenchmarkReport) -> _Section:
    samples_ns = [
        (_name(result), tuple(ns for run in result.runs for ns in run.samples_ns))
        for result in report.latency.results
        if result.scenario == messages.SINGLE
        and (result.case.threads == 1 or result.case.artifact == cases.REFERENCE)
    ]
    return _Section(
        "Latency of one image",
        "charts.html",
        Charts((charts.latencies(samples_ns),)) if samples_ns else None,
        "Logarithmic; the height is the square root of the number of calls. Tall mark: median, "
        "short mark: 99th percentile.",
    )


def _scatters(report: BenchmarkReport) -> _Section:
    sizes: dict[str, Point] = {}
    times = []
    for result in report.parity.results:
        answers, artifact = result.candidate, result.case.artifact
        low, high = answers.accuracy_interval
        size_kb = result.size_bytes / 1e3
        sizes.setdefault(artifact, Point(artifact, size_kb, answers.accuracy, low, high))
        single = report.latency.find(result.case, messages.SINGLE)
        if single:
            times.append(Point(_name(result), single.p50_ns / 1e3, answers.accuracy, low, high))
    plots = [
        charts.scatter(points, title, unit)
        for points, title, unit in (
            (list(sizes.values()), "Accuracy against size", "KB of the file"),
            (times, "Accuracy against latency", "µs for one image, median"),
        )
        if points
    ]
    return _Section(
        "Accuracy against size and latency",
        "charts.html",
        Charts(tuple(plots)) if plots else None,
        "Accuracy in %, with its 95 % interval.",
    )


def _robustness(beside: RelatedReports) -> _Section:
    return _Section(
        "Robustness curves",
        "charts.html",
        beside_tables.robustness_curves(beside.robustness),
        "Accuracy in % by strength. If lines coincide, one hides the others.",
    )


def _flips(parity: ParityReport) -> _Section:
    images = {image.index: _image(image.pixels) for image in parity.pictures}
    return _Section(
        "Predictions that differ from the reference",
        "flips.html",
        [
            {
                "name": _name(result),
                "count": f"{len(result.flips)} of {result.n:,}",
                "flips": [
                    _flip(
                        flip,
                        parity.class_names,
                        images.get(flip.index),
                        flip in result.confident_flips,
                    )
                    for flip in result.flips[:_MAX_FLIPS]
                ],
                "hidden": max(0, len(result.flips) - _MAX_FLIPS),
            }
            for result in parity.results
        ],
        "The true class; the reference's prediction → the artifact's; the margin between the "
        "reference's first and second score. A frame is an alarm: the reference was confident.",
    )


def _flip(flip: Flip, names: Sequence[str], image: str | None, alarm: bool) -> dict[str, object]:
    return {
        "index": flip.index,
        "label": names[flip.label],
        "reference": names[flip.reference],
        "candidate": names[flip.answer],
        "margin": f"{flip.margin:.2f}",
        "image": image,
        "alarm": alarm,
    }


def _image(pixels: tuple[int, ...]) -> str:
    from PIL import Image

    side = int(len(pixels) ** 0.5)
    array = np.array(pixels, np.uint8).reshape(side, side)
    return html_templates.png_uri(Image.fromarray(255 - array))


def _models(parity: ParityReport) -> list[tuple[str, AccuracyMetrics]]:
    reference = (f"{parity.reference.artifact} · keras", parity.reference_metrics)
    return [reference, *((_name(result), result.candidate) for result in parity.results)]


def _confusions(parity: ParityReport) -> _Section:
    matrices = []
    for name, answers in _models(parity):
        counts = np.array(answers.confusion)
        mistakes = counts - np.diag(np.diag(counts))
        most = max(1, int(mistakes.max()))
        matrices.append({"name": name, "counts": counts.tolist(), "most": most})
    content = {"labels": parity.class_names, "matrices": matrices}
    return _Section(
        "Confusion", "confusion.html", content, "A row per true class, a column per prediction."
    )


def _reliabilities(parity: ParityReport) -> _Section:
    plots = [
        charts.reliability(
            answers.reliability,
            name,
            f"calibration error {percent(answers.calibration_error)}",
            f"negative log-likelihood {nats(answers.negative_log_likelihood)}",
        )
        for name, answers in _models(parity)
    ]
    return _Section(
        "Reliability",
        "charts.html",
        Charts(tuple(plots)),
        f"Accuracy (up, %) over confidence (across, %), in "
        f"{len(parity.reference_metrics.reliability)} bins; the area grows with the "
        "number of predictions.",
    )
