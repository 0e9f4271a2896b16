"""A report as Markdown."""

from benchmarks import tables
from benchmarks.report import Report
from benchmarks.tables import Table

_MOST_FLIPS = 30


def render(report: Report) -> str:
    """The whole report as Markdown text."""
    parity, latency = report.parity, report.latency
    verdict = "**passed**" if report else "**FAILED**"
    parts = [
        "# Benchmarks",
        f"{report.created[:10]}, `python -m benchmarks`, {latency.host.cpu}, "
        f"{latency.host.cores} cores: {verdict}.",
        *(f"- {why}" for why in report.failures),
    ]
    ordered = [
        tables.summary(parity, latency),
        tables.parity_table(parity),
        *(tables.flips_table(r, parity.class_names, _MOST_FLIPS) for r in parity.results),
        tables.latency_table(latency),
        tables.starts_table(latency),
        tables.files_table(latency),
        tables.limit_table(parity, latency),
        tables.commands_table(latency),
        tables.invalid_table(latency),
        tables.unmeasured_table(parity.unmeasured + latency.unmeasured),
        tables.host_table(latency),
    ]
    parts += [render_table(table) for table in ordered if table.lines]
    return "\n\n".join(parts) + "\n"


def render_table(table: Table) -> str:
    """A table under its title."""
    lines = [table.header, ("---",) * len(table.header), *table.lines]
    text = "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)
    return f"## {table.title}\n\n{text}" + (f"\n\n{table.note}" if table.note else "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
