"""The tables of a report, which the terminal, Markdown and HTML print each in its own way."""

from collections.abc import Sequence

from benchmarks.harness import messages
from benchmarks.harness.cases import SkippedCase
from benchmarks.report import parity_tables
from benchmarks.report.formats import Table, duration, interval, kilobytes, megabytes, percent
from benchmarks.report.related import RelatedReports
from benchmarks.schema.latency import LatencyReport
from benchmarks.schema.parity import ParityResult
from benchmarks.schema.parity_report import ParityReport

_UNTOLD = "the system does not say"


def summary(parity: ParityReport, latency: LatencyReport) -> Table:
    """One line an artifact and engine: is it as good, how fast, how large."""
    lines = [_summary_line(parity, latency, result) for result in (None, *parity.results)]
    lines += [
        (u.case.artifact, u.case.engine, u.status.upper(), *("–",) * 9) for u in parity.skipped
    ]
    return Table(
        "Summary",
        ("artifact", "engine", "verdict", "accuracy", "95 %", "agreement", "p50", "p90",
         "images/s", "start", "memory", "size"),
        tuple(lines),
        f"Accuracy on {parity.n:,} test images of {parity.dataset}; agreement with the Keras "
        "reference; p50 and p90 of one image at a time, one thread (Keras: "
        f"{latency.host.cores}); "
        "images/s in the fastest batch; start from the start of the process to the first answer; "
        "memory: the largest resident size after it.",
    )  # fmt: skip


def _summary_line(
    parity: ParityReport, latency: LatencyReport, result: ParityResult | None
) -> tuple[str, ...]:
    if result is None:
        found = (start.case for start in latency.starts if start.case.backend == "keras")
        case = next(found, parity.reference)
        answers, size, version = (
            parity.reference_metrics,
            parity.reference_bytes,
            parity.reference_version,
        )
        agreement, verdict = "–", "the reference"
    else:
        case, answers, size = result.case, result.candidate, result.size_bytes
        version, agreement, verdict = (
            result.version,
            percent(result.agreement),
            parity_tables.verdict_of(result),
        )
    single, offline = latency.find(case, messages.SINGLE), latency.find(case, messages.OFFLINE)
    start = next((start for start in latency.starts if start.case == case), None)
    problems = [p for r in (single, offline) if r for p in r.problems(latency.settings)]
    return (
        case.artifact,
        f"{case.engine} {version}",
        verdict + (", INVALID timing" if problems else ""),
        percent(answers.accuracy),
        interval(*answers.accuracy_interval),
        agreement,
        duration(single.percentile_ns(50) if single else None),
        duration(single.percentile_ns(90) if single else None),
        f"{offline.images_per_second:,.0f}" if offline else "–",
        duration(start.total_ns if start else None),
        megabytes(start.median.peak_bytes) if start else "–",
        kilobytes(size),
    )


def sources_table(report: LatencyReport, beside: RelatedReports) -> Table:
    """The commands that print the figures, one by one."""
    settings = report.settings
    timed = (
        f"python -m benchmarks.latency --repetitions {settings.repetitions} "
        f"--min-seconds {settings.min_seconds:g} --min-count {settings.min_count}"
    )
    lines = [
        ("all of them, and these pages", "python -m benchmarks"),
        ("accuracy, agreement, differences, flips", "python -m benchmarks.parity"),
        ("where int8's differences come from", "python -m benchmarks.parity --explain"),
        ("latency, images/s, start, memory, peak", timed),
        ("one run against another", "python -m benchmarks.compare A.json B.json"),
        ("a device beside this machine", "python -m benchmarks --on USER@HOST"),
    ]
    if beside.robustness is not None:
        lines.append(("robustness", "python -m benchmarks.robustness"))
    if beside.rejection is not None:
        lines.append(("rejection", "python -m benchmarks.rejection"))
    return Table("Commands", ("figures", "command"), tuple(lines))


def unmeasured_table(skipped: Sequence[SkippedCase]) -> Table:
    """The rows without figures, and why; artifacts that lack the same thing share a line."""
    artifacts: dict[tuple[str, ...], dict[str, None]] = {}
    for u in skipped:
        why = u.case.backend, u.case.device, u.status.upper(), u.reason
        artifacts.setdefault(why, {})[u.case.artifact] = None
    return Table(
        "Not measured",
        ("artifact", "engine", "device", "status", "why"),
        tuple((", ".join(names), *why) for why, names in artifacts.items()),
    )


def host_table(report: LatencyReport) -> Table:
    """The machine, before and after the run."""
    before, after = report.host, report.host_after
    lines = (
        ("processor", f"{before.cpu}, {before.machine}, {before.cores} cores"),
        ("memory", f"{before.memory_bytes / 2**30:.1f} GiB" if before.memory_bytes else _UNTOLD),
        ("system", before.system),
        ("Python, NumPy", f"{before.python}, {before.numpy}"),
        *([("GPU", before.gpu)] if before.gpu else []),
        ("governor", before.governor or _UNTOLD),
        ("frequency", f"{before.mhz} → {after.mhz} MHz" if before.mhz else _UNTOLD),
        ("temperature", f"{before.celsius} → {after.celsius} °C" if before.celsius else _UNTOLD),
        ("throttled", f"{before.throttled} → {after.throttled}" if before.throttled else _UNTOLD),
        ("load", f"{before.load} → {after.load}"),
    )
    return Table("Machine", ("", "before → after"), lines)
