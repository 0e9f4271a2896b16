"""Builds the report tables that compare this machine with a device (option `--on`)."""

from dataclasses import replace

from benchmarks.harness import messages
from benchmarks.harness.cases import BenchmarkCase, SkippedCase
from benchmarks.harness.machine import Host
from benchmarks.report import summary_tables
from benchmarks.report.formats import Table, counted, duration, megabytes, ratio
from benchmarks.schema.latency import LatencyReport, LatencyResult


def side_by_side(local: LatencyReport, device: LatencyReport | None) -> Table:
    """Return one line per case that the local machine or the device has measured.

    Args:
        local: the timings of this machine.
        device: the timings of the device; None gives a table without lines.
    """
    title = "This machine and the device"
    if device is None:
        return Table(title, (), ())
    cases = dict.fromkeys(result.case for report in (device, local) for result in report.results)
    return Table(
        title,
        ("artifact", "engine", "threads", "p50 here", "p50 there", "ratio", "images/s here",
         "images/s there", "start here", "start there", "memory here", "memory there",
         "timing there"),
        tuple(_line(case, local, device) for case in cases if case.backend in _engines(device)),
        f"Here: {_machine(local.host)}; there, the device: {_machine(device.host)}. Both machines "
        "ran the same files and timed them separately. Ratio: p50 there over p50 here.",
        optional=("images/s there", "images/s here", "start there", "start here", "memory there",
                  "memory here"),
    )  # fmt: skip


def details(
    device: LatencyReport | None, parity_skipped: tuple[SkippedCase, ...] = ()
) -> tuple[Table, ...]:
    """Return the cases that the device could not run, and its state before and after the run.

    Args:
        device: the timings of the device; None gives no tables.
        parity_skipped: the cases that failed or were absent in the parity run on the device.
    """
    if device is None:
        return ()
    tables = (
        summary_tables.unmeasured_table(device.skipped + parity_skipped),
        summary_tables.host_table(device),
    )
    return tuple(replace(table, title=f"{table.title}, the device") for table in tables)


def _line(case: BenchmarkCase, local: LatencyReport, device: LatencyReport) -> tuple[str, ...]:
    singles = [report.find(case, messages.SINGLE) for report in (local, device)]
    local_ns, device_ns = (single.p50_ns if single else None for single in singles)
    batches = [report.find(case, messages.OFFLINE) for report in (local, device)]
    starts = [
        next((start for start in report.starts if start.case == case), None)
        for report in (local, device)
    ]
    timed = [r for r in (singles[1], batches[1]) if r]
    problems = [p for r in timed for p in r.problems(device.settings)]
    return (
        case.artifact,
        case.backend + _version(singles[1]),
        str(case.threads),
        duration(local_ns),
        duration(device_ns),
        ratio(device_ns / local_ns if local_ns and device_ns else None),
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
    return f"{host.cpu}, {counted(host.cores, 'core')}, {host.system}, Python {host.python}"
