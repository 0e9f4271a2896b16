"""Builds the tables of a whole run for the terminal, Markdown and HTML reports.

They are the summary, the commands behind the figures, the skipped cases, and the machine.
"""

from collections.abc import Sequence

from benchmarks.harness import messages
from benchmarks.harness.cases import SkippedCase
from benchmarks.report import parity_tables
from benchmarks.report.formats import (
    Table,
    counted,
    duration,
    interval,
    kilobytes,
    megabytes,
    percent,
)
from benchmarks.report.related import RelatedReports
from benchmarks.schema.latency import LatencyReport
from benchmarks.schema.parity import AccuracyResult, ParityResult
from benchmarks.schema.parity_report import ParityReport

_UNKNOWN = "unknown"


def summary(parity: ParityReport, latency: LatencyReport) -> Table:
    """Return one line per artifact and engine: verdict, accuracy, speed, memory and size."""
    results: list[ParityResult | AccuracyResult | None] = [*parity.measured]
    if parity.reference is not None:
        results.insert(0, None)
    lines = [_summary_line(parity, latency, result) for result in results]
    lines += [
        (skipped.case.artifact, skipped.case.engine, skipped.status.upper(), *("–",) * 9)
        for skipped in parity.skipped
    ]
    return Table(
        "Summary",
        ("artifact", "engine", "verdict", "accuracy", "95 %", "agreement", "p50", "p90",
         "images/s", "start", "memory", "size"),
        tuple(lines),
        f"Accuracy on {counted(parity.n, 'test image')} of {parity.dataset}; agreement with the "
        "Keras reference; p50 and p90 of one image at a time on one thread (Keras: "
        f"{latency.host.cores}); "
        "images/s with the fastest batch size; start: from process start to first prediction; "
        "memory: peak resident size after the first prediction.",
        optional=("images/s", "start", "size", "memory", "p90", "95 %"),
    )  # fmt: skip


def highlights(parity: ParityReport, latency: LatencyReport) -> tuple[str, ...]:
    """Return the main results of a run as sentences: parity, the fastest case, invalid timings."""
    results = parity.results
    sentences = []
    if results:
        passed = sum(map(bool, results))
        agreement = min(result.agreement for result in results)
        sentences.append(
            f"{passed} of {counted(len(results), 'case')} within the tolerance; the lowest "
            f"agreement with Keras is {percent(agreement)}."
        )
    singles = [
        result
        for result in latency.results
        if result.scenario == messages.SINGLE and result.case.threads == 1
    ]
    if singles:
        fastest = min(singles, key=lambda result: result.p50_ns)
        sentences.append(
            f"Fastest on one thread: {fastest.case.artifact} in {fastest.case.engine}, "
            f"{duration(fastest.p50_ns)} an image (median)."
        )
    timed = [r for r in latency.results if r.scenario in (messages.SINGLE, messages.OFFLINE)]
    invalid = {result.case for result in timed if result.problems(latency.settings)}
    if invalid:
        cases = counted(len({result.case for result in timed}), "case")
        sentences.append(
            f"INVALID timing of {len(invalid)} of {cases}, see the table Latency; accuracy is "
            "unaffected."
        )
    return tuple(sentences)


def _summary_line(
    parity: ParityReport, latency: LatencyReport, result: ParityResult | AccuracyResult | None
) -> tuple[str, ...]:
    if result is None:
        assert parity.reference is not None
        assert parity.reference_metrics is not None
        keras_cases = (start.case for start in latency.starts if start.case.backend == "keras")
        case = next(keras_cases, parity.reference)
        metrics = parity.reference_metrics
        size_bytes = parity.reference_bytes
        version = parity.reference_version
        agreement = "–"
        verdict = "the reference"
    else:
        case = result.case
        metrics = result.candidate
        size_bytes = result.size_bytes
        version = result.version
        agreement = "–" if isinstance(result, AccuracyResult) else percent(result.agreement)
        verdict = (
            ("measured" if result else "FAIL")
            if isinstance(result, AccuracyResult)
            else parity_tables.verdict_of(result)
        )
    single, offline = latency.find(case, messages.SINGLE), latency.find(case, messages.OFFLINE)
    start = next((start for start in latency.starts if start.case == case), None)
    problems = [p for r in (single, offline) if r for p in r.problems(latency.settings)]
    return (
        case.artifact,
        f"{case.engine} {version}",
        verdict + (", INVALID timing" if problems else ""),
        percent(metrics.accuracy),
        interval(*metrics.accuracy_interval),
        agreement,
        duration(single.percentile_ns(50) if single else None),
        duration(single.percentile_ns(90) if single else None),
        f"{offline.images_per_second:,.0f}" if offline else "–",
        duration(start.total_ns if start else None),
        megabytes(start.median.peak_bytes) if start else "–",
        kilobytes(size_bytes),
    )


def sources_table(report: LatencyReport, related: RelatedReports) -> Table:
    """Return the command that measures each group of figures."""
    settings = report.settings
    latency_command = (
        f"digit-edge benchmark-latency --repetitions {settings.repetitions} "
        f"--min-seconds {settings.min_seconds:g} --min-count {settings.min_count}"
    )
    lines = [
        ("all figures, and these pages", "digit-edge benchmark"),
        ("accuracy, agreement, differences, flips", "digit-edge benchmark-parity"),
        ("error sources of int8", "digit-edge benchmark-parity --explain"),
        ("latency, images/s, start, memory, peak", latency_command),
        ("comparison of two runs", "digit-edge benchmark-compare A.json B.json"),
        ("comparison with a device", "digit-edge benchmark --on USER@HOST"),
    ]
    if related.robustness is not None:
        lines.append(("robustness", "digit-edge benchmark-robustness"))
    if related.rejection is not None:
        lines.append(("rejection", "digit-edge benchmark-rejection"))
    return Table("Commands", ("figures", "command"), tuple(lines))


def unmeasured_table(skipped: Sequence[SkippedCase]) -> Table:
    """Return the skipped cases with the reason; artifacts with the same reason share a line."""
    artifacts: dict[tuple[str, ...], dict[str, None]] = {}
    for entry in skipped:
        cause = entry.case.backend, entry.case.device, entry.status.upper(), entry.reason
        artifacts.setdefault(cause, {})[entry.case.artifact] = None
    return Table(
        "Not measured",
        ("artifact", "engine", "device", "status", "why"),
        tuple((", ".join(names), *cause) for cause, names in artifacts.items()),
    )


def host_table(report: LatencyReport) -> Table:
    """Return the properties of the machine, with its state before and after the run."""
    before, after = report.host, report.host_after
    lines = (
        ("processor", f"{before.cpu}, {before.machine}, {counted(before.cores, 'core')}"),
        ("memory", f"{before.memory_bytes / 2**30:.1f} GiB" if before.memory_bytes else _UNKNOWN),
        ("system", before.system),
        ("Python, NumPy", f"{before.python}, {before.numpy}"),
        *([("GPU", before.gpu)] if before.gpu else []),
        ("governor", before.governor or _UNKNOWN),
        ("frequency", f"{before.mhz} → {after.mhz} MHz" if before.mhz else _UNKNOWN),
        ("temperature", f"{before.celsius} → {after.celsius} °C" if before.celsius else _UNKNOWN),
        ("throttled", f"{before.throttled} → {after.throttled}" if before.throttled else _UNKNOWN),
        ("load", f"{before.load} → {after.load}"),
    )
    return Table("Machine", ("property", "before → after"), lines)
