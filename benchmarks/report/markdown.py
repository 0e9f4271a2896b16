"""Renders benchmark reports and tables as Markdown, and escapes texts for it."""

import re
from collections.abc import Sequence

from benchmarks.report import device_tables, latency_tables, parity_tables, summary_tables
from benchmarks.report import related as related_tables
from benchmarks.report.formats import Table, counted
from benchmarks.report.related import RelatedReports
from benchmarks.schema.report import BenchmarkReport
from runtime.errors import printable

_NO_RELATED_REPORTS = RelatedReports()
_MAX_FLIPS = 30  # flips listed per artifact and engine; the JSON holds all of them


def render(report: BenchmarkReport, related: RelatedReports = _NO_RELATED_REPORTS) -> str:
    """Return the whole report as Markdown.

    Args:
        report: the results of `digit-edge benchmark`.
        related: the robustness and rejection results, added as tables.
    """
    parity, latency = report.parity, report.latency
    verdict = "**passed**" if report else "**FAILED**"
    parts = [
        "# Benchmarks",
        f"{report.created[:10]}, `digit-edge benchmark`, {plain_text(latency.host.cpu)}, "
        f"{counted(latency.host.cores, 'core')}: {verdict}.",
    ]
    points = (*report.failures, *summary_tables.highlights(parity, latency))
    parts += ["\n".join(f"- {point}" for point in points)] if points else []
    tables = [
        summary_tables.summary(parity, latency),
        device_tables.side_by_side(latency, report.device),
        parity_tables.parity_table(parity),
        parity_tables.series_table(parity),
        parity_tables.scores_table(parity),
        *(parity_tables.flips_table(r, parity.class_names, _MAX_FLIPS) for r in parity.results),
        *parity_tables.device_tables(parity),
        *parity_tables.device_flips(parity, _MAX_FLIPS),
        *parity_tables.explanation_tables(parity.explanations),
        related_tables.robustness_table(related.robustness),
        related_tables.rejection_table(related.rejection),
        latency_tables.latency_table(latency),
        latency_tables.starts_table(latency),
        latency_tables.files_table(latency),
        latency_tables.limit_table(parity, latency),
        latency_tables.commands_table(latency),
        latency_tables.arrays_table(latency),
        latency_tables.many_files_table(latency),
        latency_tables.programs_table(latency),
        latency_tables.invalid_table(latency),
        summary_tables.unmeasured_table(parity.skipped + latency.skipped),
        summary_tables.host_table(latency),
        summary_tables.sources_table(latency, related),
        *device_tables.details(report.device, parity.device_skipped),
    ]
    parts += [render_table(table) for table in tables if table.lines]
    return "\n\n".join(parts) + "\n"


def render_table(table: Table) -> str:
    """Return a table with its title above and its note below."""
    text = render_lines(table.header, table.lines)
    return f"## {table.title}\n\n{text}" + (f"\n\n{table.note}" if table.note else "")


def render_lines(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table of a header and lines, each with one cell per column."""
    rows = [header, ("---",) * len(header), *lines]
    return "\n".join("| " + " | ".join(map(_cell, row)) + " |" for row in rows)


def plain_text(text: str) -> str:
    """Return a text on one line, with the special characters of Markdown and HTML escaped.

    Underscores inside words and hyphens inside the line have no special meaning and stay.
    """
    line = printable(" ".join(text.split()))
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*\[\]|#~]|(?<!\w)_|_(?!\w)|^[-+=])", r"\\\1", line)


def _cell(text: str) -> str:
    return printable(" ".join(text.split())).replace("|", "\\|")
