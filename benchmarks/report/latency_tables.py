"""The tables of a latency run, which the terminal, Markdown and HTML each print in their way."""

from statistics import median

from benchmarks.harness import messages
from benchmarks.report.formats import Table, duration, kilobytes, megabytes, ratio
from benchmarks.schema.latency import LatencyReport
from benchmarks.schema.parity_report import ParityReport

# Of what the bare engine, and of what decoding alone reach, shall be reached.
MIN_ARRAYS, MIN_FILES = 0.9, 0.8
# Of a weight or a value.
_BYTES = {"float32": 4, "int8": 1}


def latency_table(report: LatencyReport) -> Table:
    """One line a row: one image at a time, and batches."""
    lines = []
    for start in report.starts:
        case = start.case
        single, offline = report.find(case, messages.SINGLE), report.find(case, messages.OFFLINE)
        problems = [p for r in (single, offline) if r for p in r.problems(report.settings)]
        lines.append(
            (
                case.artifact,
                case.backend + (f" {single.version}" if single else ""),
                case.device,
                str(case.threads),
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
        ("artifact", "engine", "device", "threads", "p50", "p90", "p99", "calls", "images/s",
         "batch", "verdict"),
        tuple(lines),
        f"Each row in {settings.repetitions} processes of its own, in turns with the others; at "
        f"least {settings.min_seconds:g} s and {settings.min_count} calls; INVALID where medians "
        f"of halves or repetitions differ by more than a factor of {settings.max_drift:g}"
        f"{settings.retry_note}.",
    )  # fmt: skip


def invalid_table(report: LatencyReport) -> Table:
    """The results that are INVALID, and why."""
    return Table(
        "Invalid timings",
        ("artifact", "engine", "threads", "scenario", "why"),
        tuple(
            (
                result.case.artifact,
                result.case.backend,
                str(result.case.threads),
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
        ("artifact", "engine", "threads", "process", "import", "load", "first answer", "together",
         "memory", "starts"),
        tuple(
            (
                start.case.artifact,
                start.case.backend,
                str(start.case.threads),
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
        messages.SINGLE,
        messages.PNG_PREPROCESSING,
        messages.PNG,
        messages.JPEG_PREPROCESSING,
        messages.JPEG,
        messages.CLASSIFY,
        messages.BARE,
    )
    measured = dict.fromkeys(r.case for r in report.results if r.scenario == messages.PNG)
    lines = []
    for case in measured:
        found = [report.find(case, scenario) for scenario in scenarios]
        medians = (duration(result.p50_ns if result else None) for result in found)
        lines.append((case.artifact, case.backend, *medians, ratio(report.overhead(case))))
    return Table(
        "From file to label",
        ("artifact", "engine", "inference", "PNG: preprocessing", "PNG → label",
         "JPEG: preprocessing", "JPEG → label", "classify(array)", "bare engine", "overhead"),
        tuple(lines),
        "Medians. PNG: 28×28; JPEG: 1024×768. Bare engine: set input, invoke, get output, nothing "
        "else, timed in turns with classify(array) in one process. Overhead: the median of the "
        "processes' own ratios, so not quite the quotient of the two columns before it.",
    )  # fmt: skip


def limit_table(parity: ParityReport, latency: LatencyReport) -> Table:
    """What share of one core's peak each row reaches."""
    peak, lines = latency.peak, []
    for result in latency.results:
        reached = parity.macs / result.p50_ns * 1e9
        limit = getattr(peak, result.precision) if peak else 0.0
        moved = _BYTES[result.precision] * (parity.parameters + 2 * parity.activations)
        if result.scenario == messages.SINGLE and result.case.threads == 1 and limit and reached:
            lines.append(
                (
                    result.case.artifact,
                    result.case.backend,
                    result.precision,
                    duration(parity.macs / limit * 1e9),
                    duration(result.p50_ns),
                    f"{reached / 1e9:.1f}",
                    f"{limit / 1e9:.1f}",
                    f"{100 * reached / limit:.0f} %",
                    kilobytes(moved),
                    duration(moved / peak.memory * 1e9 if peak and peak.memory else None),
                )
            )
    return Table(
        "The physical limit",
        ("artifact", "engine", "precision", "at the peak", "p50", "10⁹ MAC/s", "peak",
         "share of the peak", "bytes", "at the memory's pace"),
        tuple(lines),
        f"{parity.macs:,} multiply-accumulates for one image, {parity.parameters:,} weights. The "
        "peak is that of a large matrix product on one core: float32 in NumPy's BLAS, int8 in "
        "onnxruntime. One image's matrices are small, so the peak is out of reach; the share says "
        "how much an engine or a model could still gain. Bytes: each weight read once, each of the "
        f"{parity.activations:,} values of the layers written and read once; the memory's pace is "
        "that of copying 64 MiB on one core. Where that takes less than the products, memory is "
        "not the limit.",
    )  # fmt: skip


def arrays_table(report: LatencyReport) -> Table:
    """Many arrays at once, with the fastest number of threads, beside the bare engine's best."""
    lines = []
    for artifact, backend in dict.fromkeys(
        (r.case.artifact, r.case.backend)
        for r in report.results
        if r.scenario == messages.MANY_SCORES
    ):
        scores, labels, bare = (report.best(artifact, backend, name) for name in messages.MANY)
        if scores is None or labels is None or bare is None:
            continue
        reached = scores.images_per_second / bare.images_per_second
        lines.append(
            (
                artifact,
                backend,
                f"{scores.images_per_second:,.0f}",
                str(scores.case.threads),
                f"{labels.images_per_second:,.0f}",
                f"{bare.images_per_second:,.0f}",
                f"{bare.case.threads}, {bare.batch}",
                ratio(reached),
                ratio(labels.images_per_second / bare.images_per_second),
                f"scores(): {_target(reached, MIN_ARRAYS)}",
            )
        )
    return Table(
        f"{report.settings.images:,} arrays",
        ("artifact", "engine", "scores(): images/s", "threads", "classify_batch(): images/s",
         "bare engine: images/s", "threads, batch", "scores over bare", "classify_batch over bare",
         "verdict"),
        tuple(lines),
        "Each at the number of threads that is fastest for it; the bare engine at its fastest "
        "batch too, its input ready. classify_batch also decides which answers to accept.",
    )  # fmt: skip


def many_files_table(report: LatencyReport) -> Table:
    """Many files, decoded and classified by the command, beside decoding alone."""
    return Table(
        "Many PNG files",
        ("artifact", "engine", "files", "processes", "python -m runtime FOLDER", "files/s",
         "decoding alone", "files/s", "ratio", "verdict"),
        tuple(
            (
                found.case.artifact,
                found.case.backend,
                f"{found.files:,}",
                str(found.jobs),
                duration(median(found.command_ns)),
                f"{1e9 * found.files / median(found.command_ns):,.0f}",
                duration(median(found.decoding_ns)),
                f"{1e9 * found.files / median(found.decoding_ns):,.0f}",
                ratio(found.ratio),
                _target(found.ratio, MIN_FILES),
            )
            for found in report.files
        ),
        "From the start of the process to its end; files of 28×28 in the system's cache. Decoding "
        "alone: Pillow and as many processes, `python -m benchmarks.latency.decode_only`. "
        "Ratio: the median of the turns' own ratios, so not quite the quotient of the files/s.",
    )  # fmt: skip


def _target(reached: float, least: float) -> str:
    return f"target {least:g}×: {'met' if reached >= least else 'MISSED'}"


def programs_table(report: LatencyReport) -> Table:
    """LiteRT's own benchmark program beside our timing of the same file."""
    lines = []
    for program in report.programs:
        ours = report.find(program.case, messages.SINGLE)
        theirs = median(program.means_ns)
        lines.append(
            (
                program.case.artifact,
                f"{program.runs:,}",
                f"{median(program.medians_ns) / 1e6:.2f} ms",
                duration(theirs),
                duration(ours.mean_ns if ours else None),
                duration(ours.p50_ns if ours else None),
                ratio(theirs / ours.mean_ns if ours else None),
            )
        )
    return Table(
        "LiteRT's own benchmark program",
        ("artifact", "calls", "its median, as printed", "its mean", "scores(): mean", "p50",
         "ratio of the means"),
        tuple(lines),
        "python -m ai_edge_litert.tools.benchmark_litert_model on the same file, one thread, as "
        "often as the rows above: its CompiledModel on random input, without setting the input or "
        "reading the scores. Its mean is computed from the throughput that it prints.",
    )  # fmt: skip


def commands_table(report: LatencyReport) -> Table:
    """`python -m runtime` beside a process that only imports."""
    return Table(
        "The command",
        ("artifact", "engine", "python -m runtime digit.png", "imports alone", "ratio", "memory",
         "imports alone", "more"),
        tuple(
            (
                command.case.artifact,
                command.case.backend,
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
