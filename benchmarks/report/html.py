"""Renders a benchmark report as one self-contained HTML page, without scripts or links to files.

The style sheet fits desktop and phone screens, light and dark color schemes, and printing.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.harness import messages
from benchmarks.report import (
    charts,
    device_tables,
    html_templates,
    latency_tables,
    parity_tables,
    summary_tables,
)
from benchmarks.report import related as related_tables
from benchmarks.report.charts import Charts, Point
from benchmarks.report.formats import Table, counted, is_numeric, nats, percent
from benchmarks.report.related import RelatedReports
from benchmarks.schema.latency import LatencyResult
from benchmarks.schema.parity import AccuracyMetrics, AccuracyResult, Flip, ParityResult
from benchmarks.schema.parity_report import ParityReport, TestImage
from benchmarks.schema.report import BenchmarkReport

_NO_RELATED_REPORTS = RelatedReports()
_MAX_FLIPS = 200  # flips shown per artifact and engine; the page names the number of hidden ones
_MAX_LINE_LENGTH_CHARS = 40  # columns with a longer text are wrapped


@dataclass(frozen=True)
class _Section:
    """A section of the page.

    Attributes:
        title: the heading.
        template: the name of the template of the content.
        content: the variable `section.content` of the template; if it is empty, the section is
            hidden.
        note: the paragraph below the content.
        folded: whether the reader has to unfold the section.
    """

    title: str
    template: str
    content: object
    note: str = ""
    folded: bool = False


def render(report: BenchmarkReport, related: RelatedReports = _NO_RELATED_REPORTS) -> str:
    """Return the HTML page of a report; equal reports give identical bytes.

    Args:
        report: the results of `digit-edge benchmark`.
        related: the robustness and rejection results, for the group "Other images".

    Raises:
        ModuleNotFoundError: jinja2 is not installed.
    """
    used_ids: set[str] = set()
    groups = []
    for title, parts in _groups(report, related).items():
        sections = [_section(part) if isinstance(part, Table) else part for part in parts]
        group = {"title": title, "id": _unique_id(title, used_ids)}
        visible = [{**vars(s), "id": _unique_id(s.title, used_ids)} for s in sections if s.content]
        if visible:
            groups.append({**group, "sections": visible})
    host = report.latency.host
    return html_templates.render(
        "report.html",
        date=report.created[:10],
        machine=f"{host.cpu}, {counted(host.cores, 'core')}",
        failures=report.failures,
        highlights=summary_tables.highlights(report.parity, report.latency),
        groups=groups,
        column_styles=_column_styles,
    )


def _groups(report: BenchmarkReport, related: RelatedReports) -> dict[str, list[Table | _Section]]:
    """Return the tables and sections of the page, grouped by heading."""
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
            parity_tables.accuracy_table(parity),
            parity_tables.series_table(parity),
            _folded(parity_tables.scores_table(parity)),
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
            _folded(latency_tables.limit_table(parity, latency)),
            latency_tables.commands_table(latency),
            latency_tables.arrays_table(latency),
            latency_tables.many_files_table(latency),
            _folded(latency_tables.programs_table(latency)),
            latency_tables.invalid_table(latency),
        ],
        "Quantization": [*map(_folded, parity_tables.explanation_tables(parity.explanations))],
        "Other images": [
            related_tables.robustness_table(related.robustness),
            _robustness(related),
            related_tables.rejection_table(related.rejection),
        ],
        "This run": [
            summary_tables.unmeasured_table(parity.skipped + latency.skipped),
            _folded(summary_tables.host_table(latency)),
            *map(_folded, device_tables.details(report.device, parity.device_skipped)),
            _folded(summary_tables.sources_table(latency, related)),
        ],
    }


def _unique_id(title: str, used_ids: set[str]) -> str:
    """Return an HTML id made from the title that is not yet in `used_ids`, and add it there."""
    name = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"
    number, unique = 1, name
    while unique in used_ids:
        number += 1
        unique = f"{name}-{number}"
    used_ids.add(unique)
    return unique


def _section(table: Table, folded: bool = False) -> _Section:
    content = table if table.lines else None
    return _Section(table.title, "table.html", content, table.note, folded)


def _folded(table: Table) -> _Section:
    return _section(table, folded=True)


def _column_styles(table: Table) -> list[str]:
    """Return the style-sheet class of each column: "number", "prose" or "text".

    Numbers are right-aligned, prose is wrapped.
    """
    styles = []
    for cells in zip(*table.lines, strict=True):
        long = max(map(len, cells)) > _MAX_LINE_LENGTH_CHARS
        styles.append("prose" if long else "number" if is_numeric(cells) else "text")
    return styles


def _name(result: ParityResult | AccuracyResult | LatencyResult) -> str:
    return f"{result.case.artifact} · {result.case.engine}"


def _latencies(report: BenchmarkReport) -> _Section:
    samples_ns = [
        (_name(result), tuple(ns for run in result.runs for ns in run.samples_ns))
        for result in report.latency.results
        if result.scenario == messages.SINGLE and (result.case.threads == 1 or result.case.is_keras)
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
    for result in report.parity.measured:
        metrics, artifact = result.candidate, result.case.artifact
        low, high = metrics.accuracy_interval
        size_kb = result.size_bytes / 1e3
        sizes.setdefault(artifact, Point(artifact, size_kb, metrics.accuracy, low, high))
        single = report.latency.find(result.case, messages.SINGLE)
        if single:
            times.append(Point(_name(result), single.p50_ns / 1e3, metrics.accuracy, low, high))
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


def _robustness(related: RelatedReports) -> _Section:
    return _Section(
        "Robustness curves",
        "charts.html",
        related_tables.robustness_curves(related.robustness),
        "Accuracy in % by strength. If lines coincide, one hides the others.",
        folded=True,
    )


def _flips(parity: ParityReport) -> _Section:
    images = {image.index: _image(image) for image in parity.pictures}
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
        "reference's highest and second score. A frame is an alarm: the reference was confident.",
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


def _image(image: TestImage) -> str:
    from PIL import Image

    array = np.array(image.pixels, np.uint8)
    if image.shape[2:] == (3,):
        return html_templates.png_uri(Image.fromarray(array.reshape(image.shape)))
    side = int(len(array) ** 0.5)
    size = image.shape[:2] or (side, side)
    return html_templates.png_uri(Image.fromarray(255 - array.reshape(size)))


def _models(parity: ParityReport) -> list[tuple[str, AccuracyMetrics]]:
    models = [(_name(result), result.candidate) for result in parity.measured]
    if parity.reference is None or parity.reference_metrics is None:
        return models
    return [(f"{parity.reference.artifact} · keras", parity.reference_metrics), *models]


def _confusions(parity: ParityReport) -> _Section:
    matrices = []
    for name, metrics in _models(parity):
        counts = np.array(metrics.confusion)
        mistakes = counts - np.diag(np.diag(counts))
        max_mistakes = max(1, int(mistakes.max()))
        matrices.append({"name": name, "counts": counts.tolist(), "max_mistakes": max_mistakes})
    content = {"labels": parity.class_names, "matrices": matrices}
    note = "A row per true class, a column per prediction."
    return _Section("Confusion", "confusion.html", content, note, folded=True)


def _reliabilities(parity: ParityReport) -> _Section:
    plots = [
        charts.reliability(
            metrics.reliability,
            name,
            f"calibration error {percent(metrics.calibration_error)}",
            f"negative log-likelihood {nats(metrics.negative_log_likelihood)}",
        )
        for name, metrics in _models(parity)
    ]
    return _Section(
        "Reliability",
        "charts.html",
        Charts(tuple(plots)),
        "Accuracy (vertical, %) over confidence (horizontal, %), in "
        "intervals of equal width; the area of a dot grows with its number of predictions.",
        folded=True,
    )
