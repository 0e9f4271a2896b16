"""Builds the tables of a latency run for the terminal, Markdown and HTML reports.

They show latency and throughput, cold start, the time from file to label, the roofline of one core,
and comparisons with the bare engine, with decoding alone, with a process that only imports, and
with LiteRT's own benchmark tool. One table lists the invalid timings. A
case is an artifact in an engine on a device with a number of threads. The bare engine is the
engine's own API, without this project's runtime around it.
"""

from statistics import median

from benchmarks.harness import messages
from benchmarks.report.formats import Table, counted, duration, kilobytes, megabytes, ratio
from benchmarks.schema.latency import LatencyReport
from benchmarks.schema.parity_report import ParityReport

# Targets; a lower ratio is reported as MISSED but does not fail a run.
MIN_ARRAYS_RATIO = 0.9  # images/s of `scores()` over those of the bare engine
MIN_FILES_RATIO = 0.8  # files/s of `digit-edge classify FOLDER` over those of decoding alone
_VALUE_BYTES = {
    "float32": 4,
    "float16": 4,
    "int8": 1,
}  # bytes of a weight or activation, by precision


def latency_table(report: LatencyReport) -> Table:
    """Return one line per case: latency of one image, and throughput of batches."""
    lines = []
    for start in report.starts:
        case = start.case
        single, offline = report.find(case, messages.SINGLE), report.find(case, messages.OFFLINE)
        problems = [p for r in (single, offline) if r for p in r.problems(report.settings)]
        lines.append(
            (
                case.artifact,
                case.engine + (f" {single.version}" if single else ""),
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
        ("artifact", "engine", "threads", "p50", "p90", "p99", "calls", "images/s", "batch",
         "verdict"),
        tuple(lines),
        f"Each case ran in {counted(settings.repetitions, 'process', 'processes')} of its own, in "
        f"turns with the others, for at least {settings.min_seconds:g} s and "
        f"{counted(settings.min_count, 'call')}. INVALID: medians differed by more than "
        f"{settings.max_drift:g}× within or between repetitions{settings.retry_note}, so the "
        "machine was too noisy.",
        optional=("p90", "p99", "batch", "calls"),
    )  # fmt: skip


def invalid_table(report: LatencyReport) -> Table:
    """Return the INVALID results with the reasons."""
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
    """Return the phases of a cold start, from process start to first prediction."""
    return Table(
        "Cold start",
        ("artifact", "engine", "threads", "process", "import", "load", "first prediction", "total",
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
        "From process start to first prediction: the median of each phase and of the total. "
        "Memory: peak resident size after the first prediction.",
        optional=("import", "load", "first prediction", "process", "starts"),
    )  # fmt: skip


def files_table(report: LatencyReport) -> Table:
    """Return the time from file bytes to label, split into preprocessing and inference.

    The last column is the overhead of `classify` over the bare engine.
    """
    scenarios = (
        messages.SINGLE,
        messages.PNG_PREPROCESSING,
        messages.PNG,
        messages.JPEG_PREPROCESSING,
        messages.JPEG,
        messages.CLASSIFY,
        messages.BARE,
    )
    cases = dict.fromkeys(r.case for r in report.results if r.scenario == messages.PNG)
    lines = []
    for case in cases:
        results = [report.find(case, scenario) for scenario in scenarios]
        medians = (duration(result.p50_ns if result else None) for result in results)
        lines.append((case.artifact, case.backend, *medians, ratio(report.overhead(case))))
    return Table(
        "From file to label",
        ("artifact", "engine", "inference", "PNG: preprocessing", "PNG → label",
         "JPEG: preprocessing", "JPEG → label", "classify(array)", "bare engine", "overhead"),
        tuple(lines),
        "Medians. PNG: 28×28; JPEG: 1024×768. Bare engine: only set input, invoke and get output, "
        "timed in turns with classify(array) in one process. Overhead: the median ratio of "
        "the processes, which can differ slightly from the ratio of the two medians.",
        optional=("classify(array)", "bare engine", "PNG: preprocessing", "JPEG: preprocessing"),
    )  # fmt: skip


def limit_table(parity: ParityReport, latency: LatencyReport) -> Table:
    """Return the roofline of one core and the share of it that each case reaches.

    Roofline model: Williams, Waterman and Patterson (2009).
    """
    peak, lines = latency.peak, []
    for result in latency.results:
        macs_per_second = parity.macs / result.p50_ns * 1e9
        peak_macs_per_second = 0.0
        if peak is not None:  # float16 weights are multiplied as float32
            peak_macs_per_second = peak.int8 if result.precision == "int8" else peak.float32
        moved_bytes = _VALUE_BYTES[result.precision] * (parity.parameters + 2 * parity.activations)
        one_image_one_thread = result.scenario == messages.SINGLE and result.case.threads == 1
        if one_image_one_thread and peak_macs_per_second and macs_per_second:
            lines.append(
                (
                    result.case.artifact,
                    result.case.backend,
                    result.precision,
                    duration(parity.macs / peak_macs_per_second * 1e9),
                    duration(result.p50_ns),
                    f"{macs_per_second / 1e9:.1f}",
                    f"{peak_macs_per_second / 1e9:.1f}",
                    f"{100 * macs_per_second / peak_macs_per_second:.0f} %",
                    kilobytes(moved_bytes),
                    duration(moved_bytes / peak.memory * 1e9 if peak and peak.memory else None),
                )
            )
    return Table(
        "Roofline of one core",
        ("artifact", "engine", "precision", "time at peak", "p50", "10⁹ MAC/s", "peak",
         "share of peak", "bytes", "time at memory bandwidth"),
        tuple(lines),
        f"One image takes {parity.macs:,} multiply-accumulates (MAC) and {parity.parameters:,} "
        "weights. The peak is measured with a large matrix product on one core: float32 in NumPy's "
        "BLAS, int8 in onnxruntime. The matrices of one image are small, so no engine reaches the "
        "peak; the share shows how much a faster engine could gain at most. Bytes: each weight is "
        f"read once, each of the {parity.activations:,} activations is written and read once. "
        "Memory bandwidth is "
        "measured by copying 64 MiB on one core. If the time at memory bandwidth is shorter than "
        "the time at peak, memory is not the bottleneck.",
    )  # fmt: skip


def arrays_table(report: LatencyReport) -> Table:
    """Return the throughput of many arrays, compared with the bare engine's fastest batch."""
    lines = []
    for artifact, backend in dict.fromkeys(
        (r.case.artifact, r.case.backend)
        for r in report.results
        if r.scenario == messages.MANY_SCORES
    ):
        scores, labels, bare = (report.best(artifact, backend, name) for name in messages.MANY)
        if scores is None or labels is None:
            continue
        scores_ratio = scores.images_per_second / bare.images_per_second if bare else None
        lines.append(
            (
                artifact,
                backend,
                f"{scores.images_per_second:,.0f}",
                str(scores.case.threads),
                f"{labels.images_per_second:,.0f}",
                f"{bare.images_per_second:,.0f}" if bare else "–",
                f"{bare.case.threads}, {bare.batch}" if bare else "–",
                ratio(scores_ratio),
                ratio(labels.images_per_second / bare.images_per_second if bare else None),
                "–" if scores_ratio is None else _target(scores_ratio, MIN_ARRAYS_RATIO),
            )
        )
    return Table(
        counted(report.settings.images, "array"),
        ("artifact", "engine", "scores(): images/s", "threads", "classify_batch(): images/s",
         "bare engine: images/s", "its threads, batch", "scores over bare",
         "classify_batch over bare", "scores(): verdict"),
        tuple(lines),
        "Each at its fastest number of threads; the bare engine also at its fastest batch size, "
        "with prepared input. classify_batch also rejects images that are not digits.",
        optional=("threads", "classify_batch(): images/s", "its threads, batch",
                  "classify_batch over bare"),
    )  # fmt: skip


def many_files_table(report: LatencyReport) -> Table:
    """Return the throughput of the command on a folder, compared with decoding alone."""
    return Table(
        "Many PNG files",
        ("artifact", "engine", "files", "processes", "digit-edge classify FOLDER",
         "FOLDER: files/s", "decoding alone", "decoding: files/s", "ratio", "verdict"),
        tuple(
            (
                folder.case.artifact,
                folder.case.backend,
                f"{folder.files:,}",
                str(folder.jobs),
                duration(median(folder.command_ns)),
                f"{1e9 * folder.files / median(folder.command_ns):,.0f}",
                duration(median(folder.decoding_ns)),
                f"{1e9 * folder.files / median(folder.decoding_ns):,.0f}",
                ratio(folder.ratio),
                _target(folder.ratio, MIN_FILES_RATIO),
            )
            for folder in report.files
        ),
        "Duration of the whole process; files of 28×28 in the system's cache. Decoding alone: "
        "Pillow in the same number of processes (`python -m benchmarks.latency.decode_only`). "
        "Ratio: the median ratio of the repetitions, which can differ slightly from that of the "
        "medians.",
        optional=("files", "processes", "digit-edge classify FOLDER", "decoding alone"),
    )  # fmt: skip


def _target(value: float, minimum: float) -> str:
    return f"target {minimum:g}×: {'met' if value >= minimum else 'MISSED'}"


def programs_table(report: LatencyReport) -> Table:
    """Return LiteRT's own benchmark tool compared with our timing of the same file."""
    lines = []
    for program in report.programs:
        single = report.find(program.case, messages.SINGLE)
        tool_mean_ns = median(program.means_ns)
        lines.append(
            (
                program.case.artifact,
                f"{program.runs:,}",
                f"{median(program.medians_ns) / 1e6:.2f} ms",
                duration(tool_mean_ns),
                duration(single.mean_ns if single else None),
                duration(single.p50_ns if single else None),
                ratio(tool_mean_ns / single.mean_ns if single else None),
            )
        )
    return Table(
        "LiteRT's own benchmark tool",
        ("artifact", "calls", "its median, as printed", "its mean", "scores(): mean", "p50",
         "ratio of the means"),
        tuple(lines),
        "python -m ai_edge_litert.tools.benchmark_litert_model on the same file, on one thread, "
        "with the repetitions of the cases above. It runs CompiledModel on random input, without "
        "setting the input or reading the scores. Its mean is computed from the throughput that "
        "it prints.",
    )  # fmt: skip


def commands_table(report: LatencyReport) -> Table:
    """Return the start-up of `digit-edge classify`, compared with a process that only imports."""
    return Table(
        "The command",
        ("artifact", "engine", "digit-edge classify digit.png", "imports alone", "ratio", "memory",
         "memory of the imports", "difference"),
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
        "From process start to the first line of output. Imports alone: a process that only "
        "imports NumPy, Pillow and the engine and prints a line.",
        optional=("memory", "memory of the imports", "difference"),
    )  # fmt: skip
