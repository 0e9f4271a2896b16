"""Results on the terminal, and the words that every report shares."""

import sys
from collections.abc import Sequence
from statistics import median

from benchmarks import jobs
from benchmarks.comparison import ParityResult
from benchmarks.parity import ParityReport
from benchmarks.rows import Row, Unmeasured
from benchmarks.timing import CommandResult, LatencyReport, StartResult


def clear() -> None:
    """Remove the progress line of a terminal."""
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def tell(line: str) -> None:
    """Print a progress line on stderr; on a terminal it replaces the one before."""
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
    else:
        print(line, file=sys.stderr)


def print_parity(report: ParityReport) -> None:
    """Print a line a row, then every flip, then why the run fails."""
    original = report.original
    low, high = original.accuracy_interval
    print(
        f"Parity on {report.n:,} test images of {report.dataset}, against {report.reference} "
        f"(Keras {report.reference_version}): accuracy {percent(original.accuracy)} "
        f"({percent(low)}–{percent(high)})"
    )
    print_table(PARITY_HEADER, [parity_cells(result) for result in report.results])
    for row in report.unmeasured:
        print(unmeasured_line(row))
    for result in report.results:
        print_flips(result, report.class_names)
    verdict = "passes" if report else "FAILS"
    print(f"\nParity {verdict}." + "".join(f"\n  {why}" for why in report.failures))


PARITY_HEADER = (
    "artefact",
    "backend",
    "accuracy (95 %)",
    "drop, points (95 %)",
    "McNemar p",
    "agreement",
    "difference: max",
    "p99",
    "mean",
    "min cosine",
    "NaN",
    "would have passed",
    "verdict",
)


def parity_cells(result: ParityResult) -> list[str]:
    """A row of the parity table."""
    low, high = result.candidate.accuracy_interval
    least, most = result.drop_interval
    return [
        result.row.artefact,
        f"{result.row.backend} {result.version} {result.row.device}",
        f"{percent(result.candidate.accuracy)} ({percent(low)}–{percent(high)})",
        f"{100 * result.drop:+.2f} ({100 * least:+.2f}…{100 * most:+.2f})",
        f"{result.p_value:.2g}",
        percent(result.agreement),
        f"{result.max_difference:.1e}",
        f"{result.p99_difference:.1e}",
        f"{result.mean_difference:.1e}",
        f"{result.min_cosine:.6f}",
        str(result.candidate.non_finite),
        minimum_tolerance(result),
        verdict(result),
    ]


def minimum_tolerance(result: ParityResult) -> str:
    """The strictest options with which the row would have passed."""
    least = result.minimum_tolerance
    if result.precision == "int8":
        return f"drop {100 * least.max_drop:.2f}, agreement {percent(least.min_agreement)}"
    return f"difference {least.max_difference:.1e}"


def verdict(result: ParityResult) -> str:
    """PASS or FAIL, and the alarms."""
    alarms = f", {len(result.alarms)} sure flips" if result.alarms else ""
    return ("PASS" if result else "FAIL") + alarms


def print_flips(result: ParityResult, names: Sequence[str], most: int = 20) -> None:
    """List the images that are answered otherwise, the original's surest first."""
    if not result.flips:
        return
    print(f"\n{result.row}: {len(result.flips)} answers differ")
    for flip in result.flips[:most]:
        alarm = "  ALARM: the original was sure" if flip in result.alarms else ""
        print(
            f"  image {flip.index:>5}: {names[flip.label]} · Keras {names[flip.original]} → "
            f"{names[flip.answer]} · margin {flip.margin:.3f}{alarm}"
        )
    if len(result.flips) > most:
        print(f"  and {len(result.flips) - most} more, all of them in the JSON")


def unmeasured_line(row: Unmeasured) -> str:
    """A row without figures."""
    return f"{row.row}: {row.status.upper()}: {row.reason}"


def print_table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Print columns, each as wide as its widest cell; nothing where there are no lines."""
    if not lines:
        return
    widths = [max(map(len, column)) for column in zip(header, *lines, strict=True)]
    for line in (header, *lines):
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )


def percent(share: float) -> str:
    """A share as a percentage with two decimals."""
    return f"{100 * share:.2f} %"


LATENCY_HEADER = (
    "artefact",
    "backend",
    "device",
    "threads",
    "p50",
    "p90",
    "p99",
    "images/s (batch)",
    "start",
    "memory",
    "size",
    "verdict",
)


def print_latency(report: LatencyReport) -> None:
    """Print a line a row, then the start phases, images from files, overhead, and the host."""
    machine = report.host
    print(f"Latency on {machine.cpu}, {machine.cores} cores, load {machine.load}")
    print_table(LATENCY_HEADER, [latency_cells(report, start.row) for start in report.starts])
    for row in report.unmeasured:
        print(unmeasured_line(row))
    print()
    print_table(START_HEADER, [start_cells(start) for start in report.starts])
    print()
    measured = [row for row in rows_of(report) if report.find(row, jobs.PNG)]
    print_table(FILE_HEADER, [file_cells(report, row) for row in measured])
    if report.commands:
        print()
        print_table(COMMAND_HEADER, [command_cells(command) for command in report.commands])
    invalid = [r for r in report.results if r.problems(report.settings)]
    for result in invalid:
        why = "; ".join(result.problems(report.settings))
        print(f"INVALID: {result.row}, {result.scenario}: {why}")


def rows_of(report: LatencyReport) -> list[Row]:
    """The rows measured, in order."""
    return list(dict.fromkeys(result.row for result in report.results))


def latency_cells(report: LatencyReport, row: Row) -> list[str]:
    """A row of the latency table."""
    single, offline = report.find(row, jobs.SINGLE), report.find(row, jobs.OFFLINE)
    start = next((start for start in report.starts if start.row == row), None)
    problems = [p for r in (single, offline) if r for p in r.problems(report.settings)]
    return [
        row.artefact,
        row.backend + (f" {single.version}" if single else ""),
        row.device,
        str(row.threads),
        *(duration(single.percentile_ns(q) if single else None) for q in (50, 90, 99)),
        f"{offline.images_per_second:,.0f} ({offline.batch})" if offline else "–",
        duration(start.total_ns if start else None),
        megabytes(start.median.peak_bytes) if start else "–",
        f"{single.size_bytes / 1000:,.0f} KB" if single else "–",
        "INVALID" if problems else "VALID",
    ]


START_HEADER = (
    "artefact", "backend", "threads", "process", "import", "load", "first answer", "together",
    "memory", "starts",
)  # fmt: skip


def start_cells(start: StartResult) -> list[str]:
    """A row of the start-up table, phase by phase."""
    median = start.median
    return [
        start.row.artefact,
        start.row.backend,
        str(start.row.threads),
        duration(median.process_ns),
        duration(median.import_ns),
        duration(median.load_ns),
        duration(median.first_ns),
        duration(start.total_ns),
        megabytes(median.peak_bytes),
        str(len(start.starts)),
    ]


FILE_HEADER = (
    "artefact", "backend", "inference", "PNG: preprocessing", "PNG → label",
    "JPEG: preprocessing", "JPEG → label", "classify(array)", "bare engine", "overhead",
)  # fmt: skip


def file_cells(report: LatencyReport, row: Row) -> list[str]:
    """A row of the table from files to labels: medians, preprocessing and inference apart."""
    scenarios = (
        jobs.SINGLE,
        jobs.PNG_PREPROCESSING,
        jobs.PNG,
        jobs.JPEG_PREPROCESSING,
        jobs.JPEG,
        jobs.CLASSIFY,
        jobs.BARE,
    )
    found = [report.find(row, scenario) for scenario in scenarios]
    overhead = report.overhead(row)
    return [
        row.artefact,
        row.backend,
        *(duration(result.p50_ns if result else None) for result in found),
        f"{overhead:.2f}×" if overhead else "–",
    ]


COMMAND_HEADER = (
    "artefact", "backend", "python -m runtime digit.png", "imports alone", "ratio", "memory",
    "imports alone",
)  # fmt: skip


def command_cells(command: CommandResult) -> list[str]:
    """A row of the table of starts of the command."""
    return [
        command.row.artefact,
        command.row.backend,
        duration(median(command.command_ns)),
        duration(median(command.imports_ns)),
        f"{command.ratio:.2f}×",
        megabytes(command.command_bytes),
        megabytes(command.imports_bytes),
    ]


def duration(ns: float | None) -> str:
    """A duration in the unit that suits it; – where there is none."""
    if ns is None:
        return "–"
    if ns < 1e6:
        return f"{ns / 1e3:.1f} µs"
    return f"{ns / 1e6:.2f} ms" if ns < 1e9 else f"{ns / 1e9:.2f} s"


def megabytes(size_bytes: int) -> str:
    """A size of memory; – where the system does not say."""
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes else "–"
