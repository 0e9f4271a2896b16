"""The tables of a report, which the terminal, Markdown and HTML print each in its own way."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks import jobs
from benchmarks.comparison import ParityResult
from benchmarks.formats import duration, interval, kilobytes, megabytes, percent, points, ratio
from benchmarks.parity import ParityReport
from benchmarks.rows import Unmeasured
from benchmarks.timing import LatencyReport

_UNTOLD = "the system does not say"


@dataclass(frozen=True)
class Table:
    """A title, a header, and lines of as many cells; the note stands below."""

    title: str
    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    note: str = ""


def summary(parity: ParityReport, latency: LatencyReport) -> Table:
    """One line an artefact and engine: is it as good, how fast, how large."""
    lines = [_summary_line(parity, latency, result) for result in (None, *parity.results)]
    lines += [
        (u.row.artefact, u.row.backend, u.status.upper(), *("–",) * 9) for u in parity.unmeasured
    ]
    return Table(
        "Summary",
        ("artefact", "engine", "verdict", "accuracy", "95 %", "agreement", "p50", "p90",
         "images/s", "start", "memory", "size"),
        tuple(lines),
        f"Accuracy on {parity.n:,} test images of {parity.dataset}; agreement with the Keras "
        "original; p50 and p90 of one image at a time, one thread (Keras: "
        f"{latency.host.cores}); "
        "images/s in the fastest batch; start from the start of the process to the first answer; "
        "memory: the largest resident size after it.",
    )  # fmt: skip


def _summary_line(
    parity: ParityReport, latency: LatencyReport, result: ParityResult | None
) -> tuple[str, ...]:
    if result is None:
        found = (start.row for start in latency.starts if start.row.backend == "keras")
        row = next(found, parity.reference)
        answers, size, version = parity.original, parity.reference_bytes, parity.reference_version
        agreement, verdict = "–", "the original"
    else:
        row, answers, size = result.row, result.candidate, result.size_bytes
        version, agreement, verdict = result.version, percent(result.agreement), verdict_of(result)
    single, offline = latency.find(row, jobs.SINGLE), latency.find(row, jobs.OFFLINE)
    start = next((start for start in latency.starts if start.row == row), None)
    problems = [p for r in (single, offline) if r for p in r.problems(latency.settings)]
    return (
        row.artefact,
        f"{row.backend} {version}",
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


def parity_table(report: ParityReport) -> Table:
    """One line a row, with the statistics."""
    original = report.original
    return Table(
        "Parity",
        ("artefact", "engine", "accuracy (95 %)", "drop, points (95 %)", "McNemar p", "agreement",
         "largest difference", "p99", "mean", "min cosine", "confidence drift", "NaN",
         "would have passed", "verdict"),
        tuple(_parity_line(result) for result in report.results),
        f"{report.n:,} test images of {report.dataset}. The original, {report.reference.artefact} "
        f"in Keras {report.reference_version}: accuracy {percent(original.accuracy)} "
        f"({interval(*original.accuracy_interval)}), expected calibration error "
        f"{percent(original.calibration_error)}. Differences are of scores; accuracy's interval is "
        "Wilson's, the drop's Agresti and Min's, p from McNemar's exact test.",
    )  # fmt: skip


def _parity_line(result: ParityResult) -> tuple[str, ...]:
    return (
        result.row.artefact,
        f"{result.row.backend} {result.version}",
        f"{percent(result.candidate.accuracy)} ({interval(*result.candidate.accuracy_interval)})",
        f"{points(result.drop)} ({' … '.join(map(points, result.drop_interval))})",
        f"{result.p_value:.2g}",
        percent(result.agreement),
        f"{result.max_difference:.1e}",
        f"{result.p99_difference:.1e}",
        f"{result.mean_difference:.1e}",
        f"{result.min_cosine:.6f}",
        f"{result.confidence_drift:+.1e}",
        str(result.candidate.non_finite),
        minimum_tolerance(result),
        verdict_of(result),
    )


def minimum_tolerance(result: ParityResult) -> str:
    """The strictest options with which the row would have passed."""
    least = result.minimum_tolerance
    if result.precision == "int8":
        return f"drop {100 * least.max_drop:.2f}, agreement {percent(least.min_agreement)}"
    return f"difference {least.max_difference:.1e}"


def verdict_of(result: ParityResult) -> str:
    """PASS or FAIL, and the alarms."""
    alarms = f", ALARM: {len(result.alarms)} sure flips" if result.alarms else ""
    return ("PASS" if result else "FAIL") + alarms


def flips_table(result: ParityResult, names: Sequence[str], most: int) -> Table:
    """The images that one row answers otherwise, the original's surest first."""
    rest = len(result.flips) - most
    return Table(
        f"{result.row.artefact} in {result.row.backend}: {len(result.flips)} answers differ",
        ("image", "label", "Keras", "answer", "margin", ""),
        tuple(
            (
                str(flip.index),
                names[flip.label],
                names[flip.original],
                names[flip.answer],
                f"{flip.margin:.3f}",
                "ALARM: the original was sure" if flip in result.alarms else "",
            )
            for flip in result.flips[:most]
        ),
        f"and {rest} more, all of them in the JSON" if rest > 0 else "",
    )


def latency_table(report: LatencyReport) -> Table:
    """One line a row: one image at a time, and batches."""
    lines = []
    for start in report.starts:
        row = start.row
        single, offline = report.find(row, jobs.SINGLE), report.find(row, jobs.OFFLINE)
        problems = [p for r in (single, offline) if r for p in r.problems(report.settings)]
        lines.append(
            (
                row.artefact,
                row.backend + (f" {single.version}" if single else ""),
                row.device,
                str(row.threads),
                *(duration(single.percentile_ns(q) if single else None) for q in (50, 90, 99)),
                f"{single.count:,}" if single else "–",
                f"{offline.images_per_second:,.0f}" if offline else "–",
                str(offline.batch) if offline else "–",
                "INVALID" if problems else "VALID",
            )
        )
    settings = report.settings
    return Table(
        "Latency",
        ("artefact", "engine", "device", "threads", "p50", "p90", "p99", "calls", "images/s",
         "batch", "verdict"),
        tuple(lines),
        f"Each row in {settings.repetitions} processes of its own, in turns with the others; at "
        f"least {settings.min_seconds:g} s and {settings.min_count} calls; INVALID where medians "
        f"of halves or repetitions differ by more than a factor of {settings.max_drift:g}.",
    )  # fmt: skip


def invalid_table(report: LatencyReport) -> Table:
    """The results that are INVALID, and why."""
    return Table(
        "Invalid timings",
        ("artefact", "engine", "threads", "scenario", "why"),
        tuple(
            (
                result.row.artefact,
                result.row.backend,
                str(result.row.threads),
                result.scenario,
                "; ".join(result.problems(report.settings)),
            )
            for result in report.results
            if result.problems(report.settings)
        ),
    )


def starts_table(report: LatencyReport) -> Table:
    """Cold starts, phase by phase."""
    return Table(
        "From the start of the process to the first answer",
        ("artefact", "engine", "threads", "process", "import", "load", "first answer", "together",
         "memory", "starts"),
        tuple(
            (
                start.row.artefact,
                start.row.backend,
                str(start.row.threads),
                duration(start.median.process_ns),
                duration(start.median.import_ns),
                duration(start.median.load_ns),
                duration(start.median.first_ns),
                duration(start.total_ns),
                megabytes(start.median.peak_bytes),
                str(len(start.starts)),
            )
            for start in report.starts
        ),
        "Medians, each phase by itself. Memory: the largest resident size after the first answer.",
    )  # fmt: skip


def files_table(report: LatencyReport) -> Table:
    """From the bytes of a file to the label, preprocessing and inference apart; our overhead."""
    scenarios = (
        jobs.SINGLE,
        jobs.PNG_PREPROCESSING,
        jobs.PNG,
        jobs.JPEG_PREPROCESSING,
        jobs.JPEG,
        jobs.CLASSIFY,
        jobs.BARE,
    )
    measured = dict.fromkeys(r.row for r in report.results if r.scenario == jobs.PNG)
    lines = []
    for row in measured:
        found = [report.find(row, scenario) for scenario in scenarios]
        medians = (duration(result.p50_ns if result else None) for result in found)
        lines.append((row.artefact, row.backend, *medians, ratio(report.overhead(row))))
    return Table(
        "From file to label",
        ("artefact", "engine", "inference", "PNG: preprocessing", "PNG → label",
         "JPEG: preprocessing", "JPEG → label", "classify(array)", "bare engine", "overhead"),
        tuple(lines),
        "Medians. PNG: 28×28; JPEG: 1024×768. Bare engine: set input, invoke, get output, nothing "
        "else, timed in turns with classify(array) in one process.",
    )  # fmt: skip


def limit_table(parity: ParityReport, latency: LatencyReport) -> Table:
    """What share of one core's peak each row reaches."""
    peak, lines = latency.peak, []
    for result in latency.results:
        reached = parity.macs / result.p50_ns * 1e9
        limit = getattr(peak, result.precision) if peak else 0.0
        if result.scenario == jobs.SINGLE and result.row.threads == 1 and limit and reached:
            lines.append(
                (
                    result.row.artefact,
                    result.row.backend,
                    result.precision,
                    duration(parity.macs / limit * 1e9),
                    duration(result.p50_ns),
                    f"{reached / 1e9:.1f}",
                    f"{limit / 1e9:.1f}",
                    f"{100 * reached / limit:.0f} %",
                )
            )
    return Table(
        "The physical limit",
        ("artefact", "engine", "precision", "at the peak", "p50", "10⁹ MAC/s", "peak",
         "share of the peak"),
        tuple(lines),
        f"{parity.macs:,} multiply-accumulates for one image, {parity.parameters:,} weights. The "
        "peak is that of a large matrix product on one core: float32 in NumPy's BLAS, int8 in "
        "onnxruntime. One image's matrices are small, so the peak is out of reach; the share says "
        "how much an engine or a model could still gain.",
    )  # fmt: skip


def commands_table(report: LatencyReport) -> Table:
    """`python -m runtime` beside a process that only imports."""
    return Table(
        "The command",
        ("artefact", "engine", "python -m runtime digit.png", "imports alone", "ratio", "memory",
         "imports alone", "more"),
        tuple(
            (
                command.row.artefact,
                command.row.backend,
                duration(median(command.command_ns)),
                duration(median(command.imports_ns)),
                ratio(command.ratio),
                megabytes(command.command_bytes),
                megabytes(command.imports_bytes),
                megabytes(command.command_bytes - command.imports_bytes),
            )
            for command in report.commands
        ),
        "Imports alone: a process that imports NumPy, Pillow and the engine and prints a line.",
    )  # fmt: skip


def unmeasured_table(unmeasured: Sequence[Unmeasured]) -> Table:
    """The rows without figures, and why."""
    return Table(
        "Not measured",
        ("artefact", "engine", "device", "status", "why"),
        tuple(
            dict.fromkeys(
                (u.row.artefact, u.row.backend, u.row.device, u.status.upper(), u.reason)
                for u in unmeasured
            )
        ),
    )


def host_table(report: LatencyReport) -> Table:
    """The machine, before and after the run."""
    before, after = report.host, report.host_after
    lines = (
        ("processor", f"{before.cpu}, {before.machine}, {before.cores} cores"),
        ("memory", f"{before.memory_bytes / 2**30:.1f} GiB" if before.memory_bytes else _UNTOLD),
        ("system", before.system),
        ("Python, NumPy", f"{before.python}, {before.numpy}"),
        ("governor", before.governor or _UNTOLD),
        ("frequency", f"{before.mhz} → {after.mhz} MHz" if before.mhz else _UNTOLD),
        ("temperature", f"{before.celsius} → {after.celsius} °C" if before.celsius else _UNTOLD),
        ("throttled", f"{before.throttled} → {after.throttled}" if before.throttled else _UNTOLD),
        ("load", f"{before.load} → {after.load}"),
    )
    return Table("Machine", ("", "before → after"), lines)
