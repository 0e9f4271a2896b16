"""The tables that put this machine and a device side by side."""

from dataclasses import replace

from benchmarks.harness import messages
from benchmarks.harness.cases import BenchmarkCase, SkippedCase
from benchmarks.harness.machine import Host
from benchmarks.report import summary_tables
from benchmarks.report.formats import Table, duration, megabytes, ratio
from benchmarks.schema.latency import LatencyReport, LatencyResult


def side_by_side(here: LatencyReport, there: LatencyReport | None) -> Table:
    """One line a row that either machine has measured; nothing where there was no device."""
    if there is None:
        return Table("Here and on the device", (), ())
    measured = dict.fromkeys(result.case for report in (there, here) for result in report.results)
    return Table(
        "Here and on the device",
        ("artifact", "engine", "threads", "p50 here", "there", "ratio", "images/s here", "there",
         "start here", "there", "memory here", "there", "timing there"),
        tuple(_line(case, here, there) for case in measured if case.backend in _engines(there)),
        f"There: {_machine(there.host)}; here: {_machine(here.host)}. The same files, each machine "
        "timed by itself; ratio: p50 there over p50 here.",
    )  # fmt: skip


def details(
    there: LatencyReport | None, unanswered: tuple[SkippedCase, ...] = ()
) -> tuple[Table, ...]:
    """What the device could not measure or answer, and its state before and after."""
    if there is None:
        return ()
    parts = (
        summary_tables.unmeasured_table(there.skipped + unanswered),
        summary_tables.host_table(there),
    )
    return tuple(replace(table, title=f"{table.title}, the device") for table in parts)


def _line(case: BenchmarkCase, here: LatencyReport, there: LatencyReport) -> tuple[str, ...]:
    singles = [report.find(case, messages.SINGLE) for report in (here, there)]
    first, second = (single.p50_ns if single else None for single in singles)
    batches = [report.find(case, messages.OFFLINE) for report in (here, there)]
    starts = [
        next((start for start in report.starts if start.case == case), None)
        for report in (here, there)
    ]
    timed = [r for r in (singles[1], batches[1]) if r]
    problems = [p for r in timed for p in r.problems(there.settings)]
    return (
        case.artifact,
        case.backend + _version(singles[1]),
        str(case.threads),
        duration(first),
        duration(second),
        ratio(second / first if first and second else None),
        *(f"{batch.images_per_second:,.0f}" if batch else "–" for batch in batches),
        *(duration(start.total_ns if start else None) for start in starts),
        *(megabytes(start.median.peak_bytes) if start else "–" for start in starts),
        ("INVALID" if problems else "VALID") if timed else "–",
    )


def _engines(report: LatencyReport) -> set[str]:
    return {result.case.backend for result in report.results}


def _version(result: LatencyResult | None) -> str:
    return f" {result.version}" if result else ""


def _machine(host: Host) -> str:
    return f"{host.cpu}, {host.cores} cores, {host.system}, Python {host.python}"
