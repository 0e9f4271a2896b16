"""A rejection report on the terminal, as Markdown and as JSON."""

from pathlib import Path

from benchmarks.harness.serialize import to_json
from benchmarks.rejection.negatives import BLANK
from benchmarks.report import markdown, terminal
from benchmarks.report.formats import Table, duration, percent
from benchmarks.report.summary_tables import unmeasured_table
from benchmarks.schema.rejection import (
    MAX_COST_NS,
    MAX_DIGITS_REJECTED_SHARE,
    MIN_AUROC,
    KindResult,
    RejectionReport,
    RejectionResult,
)
from runtime.errors import printable
from runtime.system import atomic_write

JSON_NAME, MARKDOWN_NAME = "rejection.json", "rejection.md"


def print_report(report: RejectionReport) -> None:
    """Print the tables, the targets, and why the run fails."""
    for table in _tables(report):
        terminal.print_table(table)
    for line in targets(report):
        print(printable(line))
    terminal.print_verdict("Rejection", report.failures)


def write(report: RejectionReport, folder: Path) -> tuple[str, ...]:
    """Write the report's files into `folder`; their names.

    Raises:
        EdgeError: they cannot be written.
    """
    atomic_write.write(folder / JSON_NAME, to_json(report))
    atomic_write.write(folder / MARKDOWN_NAME, render(report))
    return JSON_NAME, MARKDOWN_NAME


def render(report: RejectionReport) -> str:
    """The whole report as Markdown text."""
    parts = [
        "# Rejection of what is no digit",
        f"{report.created[:10]}, `python -m benchmarks.rejection`, against the test images of "
        f"{report.dataset} (SHA-256 {report.dataset_sha256[:12]}…).",
        "\n".join(f"- {line}" for line in (*targets(report), *report.failures)),
        *(markdown.render_table(table) for table in _tables(report) if table.lines),
    ]
    return "\n\n".join(parts) + "\n"


def targets(report: RejectionReport) -> tuple[str, ...]:
    """A line a row: which targets it meets."""
    return tuple(map(_targets, report.results))


def row_table(result: RejectionResult) -> Table:
    """One line a kind of images; beside the rule, what the confidence alone does."""
    test = (
        "test digits",
        f"{result.digits:,}",
        percent(result.digits_rejected / result.digits),
        "–",
        percent(result.digits_rejected_by_confidence / result.digits),
        "–",
    )
    rule = (
        "by its rule" if result.has_rejection_model else "by its confidence, for it carries no rule"
    )
    return Table(
        f"{_name(result)} {result.version}, {rule}",
        ("images", "n", "refused", "AUROC", "refused by confidence", "AUROC of confidence"),
        (test, *map(_line, result.kinds)),
        f"A decision costs {duration(result.cost_ns)} beside the engine, of the test set at once "
        f"{duration(result.batch_cost_ns)} an image. AUROC: how often a test digit scores higher "
        "than one of these.",
    )


def _tables(report: RejectionReport) -> tuple[Table, ...]:
    return (*map(row_table, report.results), unmeasured_table(report.skipped))


def _line(kind: KindResult) -> tuple[str, ...]:
    return (
        kind.kind,
        f"{kind.n:,}",
        percent(kind.rejected / kind.n),
        "–" if kind.is_digit else f"{kind.auroc:.4f}",
        percent(kind.rejected_by_confidence / kind.n),
        "–" if kind.is_digit else f"{kind.auroc_of_confidence:.4f}",
    )


def _targets(result: RejectionResult) -> str:
    share = result.digits_rejected / result.digits
    said = [
        f"test digits refused {percent(share)} ({_verdict(share <= MAX_DIGITS_REJECTED_SHARE, '≤ 1 %')})"
    ]
    strange = [kind for kind in result.kinds if not kind.is_digit]
    for kind in strange:
        if kind.kind == BLANK:
            all_rejected = _verdict(kind.rejected == kind.n, "100 %")
            said.append(f"blank pages refused {percent(kind.rejected / kind.n)} ({all_rejected})")
    others = [kind for kind in strange if kind.kind != BLANK]
    if others:
        worst = min(others, key=lambda kind: kind.auroc)
        met = _verdict(worst.auroc >= MIN_AUROC, f"≥ {MIN_AUROC:g} each")
        said.append(f"lowest AUROC {worst.auroc:.4f} for {worst.kind} ({met})")
    met = _verdict(result.cost_ns <= MAX_COST_NS, f"≤ {duration(MAX_COST_NS)}")
    said.append(
        f"cost {duration(result.cost_ns)} ({met}), {duration(result.batch_cost_ns)} in a batch"
    )
    return f"{_name(result)}: {', '.join(said)}"


def _verdict(met: bool, target: str) -> str:
    return f"target {target}: {'met' if met else 'MISSED'}"


def _name(result: RejectionResult) -> str:
    return f"{result.case.artifact} · {result.case.backend}"
