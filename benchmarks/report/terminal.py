"""Prints progress lines, tables and verdicts of the benchmark commands on the terminal."""

import shutil
import sys
import textwrap
from collections.abc import Iterable

from benchmarks.report import (
    device_tables,
    latency_tables,
    parity_tables,
    summary_tables,
    text_table,
)
from benchmarks.report.formats import Table, counted
from benchmarks.schema.latency import LatencyReport
from benchmarks.schema.parity_report import ParityReport
from benchmarks.schema.report import BenchmarkReport
from runtime.errors import printable
from runtime.system import interrupt

_MAX_FLIPS = 20  # flips listed per artifact and engine; the JSON holds all of them
_DEFAULT_WIDTH = 100  # characters of a line if stdout is not a terminal and COLUMNS is not set
_MIN_WIDTH = 40  # characters of a line; on a narrower terminal, lines are broken anywhere
_INDENT = "  "  # before each line below the title of a table
# Where all columns are if the terminal is too narrow for them:
_IN_REPORT = "report.md and report.html contain all"  # of `digit-edge benchmark`
# Of the commands that print these tables without writing a report:
_IN_NEXT_REPORT = "set COLUMNS=200 to print all, or write a report with digit-edge benchmark"


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
    flips = (
        parity_tables.flips_table(result, report.class_names, _MAX_FLIPS)
        for result in report.results
    )
    tables = (
        parity_tables.parity_table(report),
        parity_tables.series_table(report),
        parity_tables.scores_table(report),
        *flips,
        *parity_tables.explanation_tables(report.explanations),
        summary_tables.unmeasured_table(report.skipped),
    )
    print_tables(tables, _IN_NEXT_REPORT)
    print_verdict("Parity", report.failures)


def print_latency(report: LatencyReport) -> None:
    """Print the tables of a latency run and the verdict."""
    tables = (
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
    )
    print_tables(tables, _IN_NEXT_REPORT)
    print_verdict("Latency", report.failures)


def print_report(report: BenchmarkReport) -> None:
    """Print the main tables of a whole run, the skipped cases and the verdict."""
    tables = (
        summary_tables.summary(report.parity, report.latency),
        device_tables.side_by_side(report.latency, report.device),
        *parity_tables.device_tables(report.parity),
        latency_tables.files_table(report.latency),
        latency_tables.commands_table(report.latency),
        latency_tables.arrays_table(report.latency),
        latency_tables.many_files_table(report.latency),
        summary_tables.unmeasured_table(report.parity.skipped + report.latency.skipped),
    )
    print_tables(tables, _IN_REPORT)
    print_verdict("Benchmarks", report.failures)


def print_verdict(benchmark: str, failures: tuple[str, ...]) -> None:
    """Print whether a benchmark passed, and one line for each failure."""
    print(f"{benchmark}: FAILED" if failures else f"{benchmark}: passed")
    for failure in failures:
        print(f"  {printable(failure)}")


def print_tables(tables: Iterable[Table], remedy: str = "") -> None:
    """Print tables that fit the terminal; if columns are left out, add a line that says so.

    Tables without lines are not printed.

    Args:
        tables: the tables.
        remedy: where all columns are; tables without optional columns need none.
    """
    width = max(_MIN_WIDTH, shutil.get_terminal_size((_DEFAULT_WIDTH, 0)).columns)
    left_out = 0
    for table in tables:
        if not table.lines:
            continue
        lines, hidden = text_table.render(table, width)
        left_out += hidden
        print(*textwrap.wrap(printable(table.title), width), *lines, sep="\n")
        print(_indented(table.note, width), end="\n\n" if table.note else "\n")
    if left_out:
        columns = counted(left_out, "column is", "columns are")
        reason = f"{columns} left out to fit {width} characters: {remedy}."
        print(_indented(reason, width), end="\n\n")


def _indented(text: str, width: int) -> str:
    """Return a text wrapped to the width, with each line indented."""
    return textwrap.fill(
        printable(text),
        width,
        initial_indent=_INDENT,
        subsequent_indent=_INDENT,
        break_on_hyphens=False,
    )
