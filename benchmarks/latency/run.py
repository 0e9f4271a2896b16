"""Runs the latency benchmark: plans the cases, measures them, and assembles the LatencyReport.

Also defines the options that `digit-edge benchmark` and `digit-edge benchmark-latency` share.
"""

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness import cases, machine, messages, subprocesses
from benchmarks.harness.cases import FAILED, BenchmarkCase, ExternalPython, SkippedCase
from benchmarks.harness.messages import Roofline, RooflineRequest
from benchmarks.latency import cli_startup, folder_throughput, litert_benchmark_tool
from benchmarks.latency.interleave import CaseState, InterleavedRunner
from benchmarks.schema.latency import (
    FULL,
    QUICK,
    SCHEMA_VERSION,
    LatencyReport,
    LatencyResult,
    Settings,
    StartResult,
)
from runtime.errors import ArtifactError, EdgeError
from runtime.model import artifact

# Rows and columns of the matrices that the roofline is measured with: large enough for full speed,
# small enough for the cache.
_ROOFLINE_SIZE = 768
_ROOFLINE_S = 0.5  # duration of each of the measurements


def measure(
    models: Path,
    settings: Settings,
    *,
    backends: tuple[str, ...] = (),
    device: str = "cpu",
    threads: tuple[int, ...] = (),
    external_pythons: tuple[ExternalPython, ...] = (),
    keras: bool = True,
    progress: Callable[[str], None] = lambda line: None,
) -> LatencyReport:
    """Time each artifact with each engine, each repetition in a new process, interleaved.

    Args:
        models: the folder with digits.keras and its exported artifacts.
        settings: duration and number of the measurements.
        backends: the names of the engines to measure; all engines if empty.
        device: "cpu" or "gpu".
        threads: numbers of threads; if empty, 1 and the number of cores, or 1 for "gpu".
        external_pythons: Pythons for engines that are not installed in this one.
        keras: whether to time the Keras reference too.
        progress: called with one line for each step.

    Raises:
        BackendUnavailable: `backends` contains an unknown name.
    """
    cores = machine.usable_cores()
    threads = threads or (tuple(dict.fromkeys((1, cores))) if device == "cpu" else (1,))
    planned = [
        case for count in threads for case in cases.enumerate_cases(models, backends, device, count)
    ]
    if keras:
        planned += [
            BenchmarkCase(cases.REFERENCE, call, device, cores)
            for call in cases.KERAS_CALLS[device]
        ]
    host = machine.describe()
    skipped: list[SkippedCase] = []
    entries = _open(models, planned, threads[0], skipped)
    runner = InterleavedRunner(settings, external_pythons, skipped, progress)
    runner.repeat(entries)
    runner.repeat_noisy(entries)
    runner.start([e for e in entries if e.case.threads == threads[0] and not _is_reference(e)])
    entries = [e for e in entries if e.runs]
    # `cli_startup` and `folder_throughput` run the commands with this Python alone.
    external = {interpreter.backend for interpreter in external_pythons}
    cli_cases = [
        e.case
        for e in entries
        if not _is_reference(e)
        and e.case.threads == 1
        and device == "cpu"
        and e.case.backend not in external
    ]
    cli_cases = _one_per_engine(cli_cases) if settings.starts else []
    commands, failed_commands = cli_startup.measure(models, cli_cases, settings.starts, progress)
    files, failed_files = folder_throughput.measure(models, cli_cases, settings, progress)
    results = tuple(result for entry in entries for result in _results(entry))
    programs, absent_programs = litert_benchmark_tool.measure(
        models, results if settings.starts else (), settings, external_pythons, progress
    )
    peak = None
    if entries:
        progress("roofline of one core")
        roofline_case = BenchmarkCase("", "matrix product", "cpu", 1)
        peak = subprocesses.request_roofline(
            RooflineRequest(roofline_case, _ROOFLINE_SIZE, _ROOFLINE_S)
        )
    return LatencyReport(
        schema_version=SCHEMA_VERSION,
        host=host,
        host_after=machine.describe(),
        settings=settings,
        results=results,
        starts=tuple(StartResult(e.case, tuple(e.starts)) for e in entries),
        commands=tuple(commands),
        programs=tuple(programs),
        files=tuple(files),
        skipped=tuple(skipped + failed_commands + failed_files + absent_programs),
        peak=peak if isinstance(peak, Roofline) else None,
    )


def _open(
    models: Path, planned: list[BenchmarkCase], first_threads: int, skipped: list[SkippedCase]
) -> list[CaseState]:
    """Read the artifact of each case and choose its scenarios.

    An artifact that cannot be read is appended to `skipped` once, not for each number of threads.
    """
    entries = []
    for case in planned:
        try:
            opened = artifact.read(models / case.artifact)
        except ArtifactError as error:
            if case.threads == first_threads or case.artifact == cases.REFERENCE:
                skipped.append(SkippedCase(case, FAILED, str(error)))
            continue
        scenarios: tuple[str, ...] = (messages.SINGLE, messages.OFFLINE)
        if case.artifact != cases.REFERENCE and case.device == "cpu":
            scenarios = (
                messages.SCENARIOS if case.threads == 1 else (*scenarios, messages.MANY_SCORES)
            )
        entries.append(CaseState(case, scenarios, opened))
    return entries


def _is_reference(entry: CaseState) -> bool:
    return entry.case.artifact == cases.REFERENCE


def _one_per_engine(planned: list[BenchmarkCase]) -> list[BenchmarkCase]:
    """Return the last case of each engine, which is that of an int8 artifact if there is one."""
    return list({case.backend: case for case in planned}.values())


def _results(entry: CaseState) -> list[LatencyResult]:
    """Return a result for each scenario of a case."""
    return [
        LatencyResult(
            case=entry.case,
            version=entry.version,
            precision=entry.model.spec.precision,
            digest=entry.model.spec.digest,
            scenario=scenario,
            runs=tuple(runs),
            fallback=entry.fallback,
        )
        for scenario, runs in entry.runs.items()
    ]


def parse_threads(text: str | None, quick: bool = False) -> tuple[int, ...]:
    """Parse the value of --threads, e.g. "1,2,4".

    Args:
        text: the value; None if the option is not given.
        quick: whether --quick is given, which then limits the run to one thread.

    Returns:
        The numbers of threads; empty for the default of `measure`.

    Raises:
        EdgeError: the text is not a list of numbers from 1.
    """
    if text is None:
        return (1,) if quick else ()
    try:
        counts = tuple(int(part) for part in text.split(","))
    except ValueError:
        counts = (0,)
    if min(counts) < 1:
        raise EdgeError(f"--threads takes numbers from 1, e.g. 1,2,4, not {text!r}")
    return counts


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Return the settings that the options of `add_arguments` select.

    Raises:
        EdgeError: a value is too small.
    """
    chosen = {
        name: value
        for name in ("repetitions", "min_seconds", "min_count")
        if (value := getattr(arguments, name)) is not None
    }
    settings = dataclasses.replace(QUICK if arguments.quick else FULL, **chosen)
    if min(settings.repetitions, settings.min_count) < 1 or settings.min_seconds < 0:
        raise EdgeError("--repetitions and --min-count take 1 or more, --min-seconds 0 or more")
    return settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the latency options, which `digit-edge benchmark` shares."""
    default = FULL
    parser.add_argument(
        "--device",
        choices=("cpu", "gpu"),
        default="cpu",
        metavar="NAME",
        help="cpu, or gpu for every accelerator of each engine (default: %(default)s)",
    )
    parser.add_argument(
        "--threads",
        metavar="N,N,…",
        help="numbers of threads, such as 1,2,4 (default: 1 and the number of cores)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="measure briefly and once, with less precise results"
    )
    parser.add_argument(
        "--repetitions",
        type=int,
        metavar="N",
        help=f"processes per case (default: {default.repetitions})",
    )
    parser.add_argument(
        "--min-seconds",
        type=float,
        metavar="S",
        help=f"minimum duration per case and scenario (default: {default.min_seconds})",
    )
    parser.add_argument(
        "--min-count",
        type=int,
        metavar="N",
        help=f"minimum number of calls per case and scenario (default: {default.min_count})",
    )
