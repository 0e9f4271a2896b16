"""Print and write a report on composed lines: on the terminal, as Markdown and as JSON."""

from pathlib import Path

from benchmarks.harness.serialize import to_json
from benchmarks.report import markdown, terminal
from benchmarks.report.formats import Table, percent
from benchmarks.schema.lines import MAX_SILENT, MIN_EXACT, LineCounts, LinesReport
from runtime.errors import printable
from runtime.system import atomic_write

JSON_NAME = "lines.json"  # all results; the other file is rendered from it
MARKDOWN_NAME = "lines.md"


def print_report(report: LinesReport) -> None:
    """Print the targets and the tables."""
    terminal.print_tables(_tables(report))
    for line in targets(report):
        print(printable(line))


def write(report: LinesReport, folder: Path) -> tuple[str, ...]:
    """Write the report's files into `folder`; return their names.

    Raises:
        EdgeError: they cannot be written.
    """
    atomic_write.write(folder / JSON_NAME, to_json(report))
    atomic_write.write(folder / MARKDOWN_NAME, render(report))
    return JSON_NAME, MARKDOWN_NAME


def render(report: LinesReport) -> str:
    """Return the whole report as Markdown text."""
    writers = "each line of one writer" if report.by_writer else "writers mixed"
    parts = [
        "# Lines of numbers",
        f"{report.created[:10]}, `digit-edge benchmark-lines`: {report.artifact} in "
        f"{report.backend} {report.version} and the published line reader, on lines composed of "
        f"the test digits of {report.dataset} (SHA-256 {report.dataset_sha256[:12]}…), {writers}; "
        f"seed {report.seed}. {report.ms_per_line:.1f} ms of processor time per line.",
        "\n".join(f"- {line}" for line in targets(report)),
        *(markdown.render_table(table) for table in _tables(report)),
    ]
    return "\n\n".join(parts) + "\n"


def targets(report: LinesReport) -> tuple[str, ...]:
    """Return the results, a sentence each, with the targets that they meet or miss."""
    lines, none = report.lines, report.no_digits
    exact, silent = (count / max(lines.n, 1) for count in (lines.exact, lines.silent))
    return (
        f"lines exact {percent(exact)} of {lines.n:,} "
        f"({_verdict(exact >= MIN_EXACT, f'≥ {MIN_EXACT:.0%}')})",
        f"wrong without a ? {percent(silent)} "
        f"({_verdict(silent <= MAX_SILENT, f'≤ {MAX_SILENT:.0%}')})",
        f"digits inserted, deleted, replaced or unknown: {report.edits:,} of {report.digits:,} "
        f"({percent(report.edits / max(report.digits, 1))})",
        f"lines without digits read as nothing: {none.exact:,} of {none.n:,}",
        f"calibration error of the lines' confidence {percent(report.calibration_error)}",
    )


def _tables(report: LinesReport) -> tuple[Table, ...]:
    kinds = Table(
        "By difficulty",
        ("lines", "n", "exact", "wrong without a ?"),
        tuple(map(_line, (report.lines, *report.kinds, report.no_digits))),
        "A line may have several difficulties.",
    )
    bins = Table(
        "Confidence of a line",
        ("confidence", "n", "mean confidence", "exact"),
        tuple(
            (
                f"{one.low:g} to {one.high:g}",
                f"{one.n:,}",
                f"{one.mean:.3f}",
                percent(one.exact / one.n),
            )
            for one in report.bins
        ),
        "The product of the confidences of its digits.",
    )
    return kinds, bins


def _line(counts: LineCounts) -> tuple[str, ...]:
    n = max(counts.n, 1)
    return counts.kind, f"{counts.n:,}", percent(counts.exact / n), percent(counts.silent / n)


def _verdict(met: bool, target: str) -> str:
    return f"target {target}: {'met' if met else 'MISSED'}"
