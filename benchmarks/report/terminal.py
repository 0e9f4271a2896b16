"""Prints progress lines, tables and verdicts of the benchmark commands on the terminal."""

import sys

from benchmarks.report import device_tables, latency_tables, parity_tables, summary_tables
from benchmarks.report.formats import Table
from benchmarks.schema.latency import LatencyReport
from benchmarks.schema.parity_report import ParityReport
from benchmarks.schema.report import BenchmarkReport
from runtime.errors import printable
from runtime.system import interrupt

_MAX_FLIPS = 20  # flips listed per artifact and engine; the JSON holds all of them


def show_progress(line: str) -> None:
    """Print a progress line on stderr; on a terminal it replaces the previous one.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed earlier, but a callback swallowed the exception.
    """
    interrupt.check()
    line = printable(line)
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
    else:
        print(line, file=sys.stderr)


def clear() -> None:
    """Erase the progress line on a terminal."""
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def print_parity(report: ParityReport) -> None:
    """Print the tables of a parity run, the first flips of each case, and the verdict."""
    print_table(parity_tables.parity_table(report))
    print_table(parity_tables.scores_table(report))
    for result in report.results:
        print_table(parity_tables.flips_table(result, report.class_names, _MAX_FLIPS))
    for table in parity_tables.explanation_tables(report.explanations):
        print_table(table)
    print_table(summary_tables.unmeasured_table(report.skipped))
    print_verdict("Parity", report.failures)


def print_latency(report: LatencyReport) -> None:
    """Print the tables of a latency run and the verdict."""
    for table in (
        latency_tables.latency_table(report),
        latency_tables.starts_table(report),
        latency_tables.files_table(report),
        latency_tables.commands_table(report),
        latency_tables.arrays_table(report),
        latency_tables.many_files_table(report),
        latency_tables.programs_table(report),
        latency_tables.invalid_table(report),
        summary_tables.unmeasured_table(report.skipped),
        summary_tables.host_table(report),
    ):
        print_table(table)
    print_verdict("Latency", report.failures)


def print_report(report: BenchmarkReport) -> None:
    """Print the main tables of a whole run, the skipped cases and the verdict."""
    print_table(summary_tables.summary(report.parity, report.latency))
    print_table(device_tables.side_by_side(report.latency, report.device))
    for table in parity_tables.device_tables(report.parity):
        print_table(table)
    print_table(latency_tables.files_table(report.latency))
    print_table(latency_tables.commands_table(report.latency))
    print_table(latency_tables.arrays_table(report.latency))
    print_table(latency_tables.many_files_table(report.latency))
    print_table(
        summary_tables.unmeasured_table(report.parity.skipped + report.latency.skipped),
    )
    print_verdict("Benchmarks", report.failures)


def print_verdict(benchmark: str, failures: tuple[str, ...]) -> None:
    """Print whether a benchmark passed, and one line for each failure."""
    print(f"{benchmark}: FAILED" if failures else f"{benchmark}: passed")
    for failure in failures:
        print(f"  {printable(failure)}")


def print_table(table: Table) -> None:
    """Print a table with aligned columns; print nothing if it has no lines."""
    if not table.lines:
        return
    print(printable(table.title))
    rows = [tuple(map(printable, line)) for line in (table.header, *table.lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for line in rows:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  " + "  ".join(cells).rstrip())
    print(f"  {printable(table.note)}\n" if table.note else "")
