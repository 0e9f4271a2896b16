"""Renders the results of the rejection benchmark: on the terminal, as JSON and as Markdown."""

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

JSON_NAME = "rejection.json"  # all results
MARKDOWN_NAME = "rejection.md"  # rendered from them


def print_report(report: RejectionReport) -> None:
    """Print the tables, the targets and the verdict."""
    terminal.print_tables(_tables(report))
    for line in targets(report):
        print(printable(line))
    terminal.print_verdict("Rejection", report.failures)


def write(report: RejectionReport, folder: Path) -> tuple[str, ...]:
    """Write rejection.json and rejection.md into `folder`; return their names.

    Raises:
        EdgeError: a file cannot be written.
    """
    atomic_write.write(folder / JSON_NAME, to_json(report))
    atomic_write.write(folder / MARKDOWN_NAME, render(report))
    return JSON_NAME, MARKDOWN_NAME


def render(report: RejectionReport) -> str:
    """Return the whole report as Markdown."""
    parts = [
        "# Rejection of images that are not digits",
        f"{report.created[:10]}, `digit-edge benchmark-rejection`, compared with the test images "
        f"of {report.dataset} (SHA-256 {report.dataset_sha256[:12]}…).",
        "\n".join(f"- {line}" for line in (*targets(report), *report.failures)),
        *(markdown.render_table(table) for table in _tables(report) if table.lines),
    ]
    return "\n\n".join(parts) + "\n"


def targets(report: RejectionReport) -> tuple[str, ...]:
    """Return one line per case: its figures, and whether each target is met."""
    return tuple(map(_targets, report.results))


def row_table(result: RejectionResult) -> Table:
    """Return one line per kind of image: rejection by the model, and by confidence alone."""
    test_digits = (
        "test digits",
        f"{result.digits:,}",
        percent(result.digits_rejected / result.digits),
        "–",
        percent(result.digits_rejected_by_confidence / result.digits),
        "–",
    )
    method = (
        "by its rejection model"
        if result.has_rejection_model
        else "by confidence (the artifact has no rejection model)"
    )
    return Table(
        f"{_name(result)} {result.version}, {method}",
        ("images", "n", "rejected", "AUROC", "rejected by confidence", "AUROC of confidence"),
        (test_digits, *map(_line, result.kinds)),
        f"In addition to inference, a decision takes {duration(result.cost_ns)}; in a batch, "
        f"{duration(result.batch_cost_ns)} per image. AUROC: the probability that a test digit "
        "scores higher than an image of this kind.",
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
    verdict = _verdict(
        share <= MAX_DIGITS_REJECTED_SHARE, f"≤ {100 * MAX_DIGITS_REJECTED_SHARE:g} %"
    )
    texts = [f"test digits rejected {percent(share)} ({verdict})"]
    negatives = [kind for kind in result.kinds if not kind.is_digit]
    for kind in negatives:
        if kind.kind == BLANK:
            verdict = _verdict(kind.rejected == kind.n, "100 %")
            texts.append(f"blank pages rejected {percent(kind.rejected / kind.n)} ({verdict})")
    not_blank = [kind for kind in negatives if kind.kind != BLANK]
    if not_blank:
        worst = min(not_blank, key=lambda kind: kind.auroc)
        verdict = _verdict(worst.auroc >= MIN_AUROC, f"≥ {MIN_AUROC:g} each")
        texts.append(f"lowest AUROC {worst.auroc:.4f} for {worst.kind} ({verdict})")
    verdict = _verdict(result.cost_ns <= MAX_COST_NS, f"≤ {duration(MAX_COST_NS)}")
    texts.append(
        f"time per decision {duration(result.cost_ns)} ({verdict}), "
        f"{duration(result.batch_cost_ns)} in a batch"
    )
    return f"{_name(result)}: {', '.join(texts)}"


def _verdict(met: bool, target: str) -> str:
    return f"target {target}: {'met' if met else 'MISSED'}"


def _name(result: RejectionResult) -> str:
    return f"{result.case.artifact} · {result.case.backend}"
