"""Runs the latency benchmark: plans the cases, measures them, and assembles the LatencyReport.

`digit-edge benchmark` and `digit-edge benchmark-latency` call `measure`. A case is an artifact in
an engine, on a device, with a number of threads. A scenario is a kind of call that is timed, such
as one image per call. This module also defines the options that the two commands share.
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

# Number of rows and of columns of the matrices that the roofline is measured with. Products of
# smaller matrices do not reach the full speed; larger matrices do not fit in the cache.
_ROOFLINE_SIZE = 768
_ROOFLINE_S = 0.5  # duration of each of the three measurements of the roofline


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
    """Time each artifact in each engine.

    Each repetition of a case is a new process. The repetitions of all cases are interleaved.

    Args:
        models: the folder of the artifacts and, if there is one, their Keras reference.
        settings: duration and number of the measurements.
        backends: the names of the engines to measure; all engines if empty.
        device: "cpu", or "gpu" for all accelerators of each engine.
        threads: numbers of CPU threads to measure with. If empty, they are 1 and the number of
            cores for "cpu", and 1 for "gpu".
        external_pythons: Pythons for engines that are not installed in this one.
        keras: also time the Keras reference.
        progress: called with a text for each step.

    Returns:
        The report. A case that failed or whose engine is missing is in `skipped`.

    Raises:
        BackendUnavailable: `backends` contains an unknown name.
    """
    cores = machine.usable_cores()
    threads = threads or (tuple(dict.fromkeys((1, cores))) if device == "cpu" else (1,))
    planned = [
        case for count in threads for case in cases.enumerate_cases(models, backends, device, count)
    ]
    reference = cases.find_reference(models)
    if keras and reference is not None:
        planned += [
            BenchmarkCase(reference, call, device, cores) for call in cases.KERAS_CALLS[device]
        ]
    host = machine.describe()
    skipped: list[SkippedCase] = []
    entries = _open(models, planned, threads[0], skipped)
    runner = InterleavedRunner(settings, external_pythons, skipped, progress)
    runner.repeat(entries)
    runner.repeat_noisy(entries)
    runner.start([e for e in entries if e.case.threads == threads[0] and not _is_reference(e)])
    entries = [e for e in entries if e.runs]
    # `cli_startup` and `folder_throughput` use this Python only, not the external ones.
    external = {interpreter.backend for interpreter in external_pythons}
    cli_cases = [
        e.case
        for e in entries
        if not _is_reference(e)
        and e.case.threads == 1
        and device == "cpu"
        and e.case.backend not in external
    ]
    # If `settings.starts` is 0, the commands and LiteRT's tool are not measured either.
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
        roofline_case = BenchmarkCase("", "matrix product", "cpu", 1)  # the name in messages
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
    """Read the artifact of each case and choose the scenarios of the case.

    Args:
        models: the folder of the artifacts.
        planned: the cases.
        first_threads: the first number of threads. An artifact that cannot be read is reported for
            this number only.
        skipped: a case whose artifact cannot be read is appended to this list.
    """
    entries = []
    for case in planned:
        try:
            opened = artifact.read(models / case.artifact)
        except ArtifactError as error:
            if case.threads == first_threads or case.is_keras:
                skipped.append(SkippedCase(case, FAILED, str(error)))
            continue
        scenarios: tuple[str, ...] = (messages.SINGLE, messages.OFFLINE)
        if not case.is_keras and case.device == "cpu":
            scenarios = (
                messages.SCENARIOS if case.threads == 1 else (*scenarios, messages.MANY_SCORES)
            )
        entries.append(CaseState(case, scenarios, opened))
    return entries


def _is_reference(entry: CaseState) -> bool:
    """Return whether a case is the Keras reference."""
    return entry.case.is_keras


def _one_per_engine(planned: list[BenchmarkCase]) -> list[BenchmarkCase]:
    """Return the last case of each engine.

    In the order of `cases.enumerate_cases`, an int8 artifact comes after the float artifact.
    """
    return list({case.backend: case for case in planned}.values())


def _results(entry: CaseState) -> list[LatencyResult]:
    """Return one result for each scenario that was measured for a case."""
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
    """Parse the value of --threads, such as "1,2,4".

    Args:
        text: the value; None if the option is not given.
        quick: True if --quick is given; without --threads, the run is then limited to one thread.

    Returns:
        The numbers of threads; empty for the default of `measure`.

    Raises:
        EdgeError: the text is not a list of numbers from 1, separated by commas.
    """
    if text is None:
        return (1,) if quick else ()
    try:
        counts = tuple(int(part) for part in text.split(","))
    except ValueError:
        counts = (0,)
    if min(counts) < 1:
        raise EdgeError(f"--threads takes numbers from 1, such as 1,2,4, not {text!r}")
    return counts


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Return the settings that the options of `add_arguments` select.

    Options that are not given have the values of `QUICK` with --quick, otherwise of `FULL`.

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
        raise EdgeError(
            "--repetitions and --min-count take numbers from 1, and --min-seconds takes 0 or more"
        )
    return settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the latency benchmark, which `digit-edge benchmark` has too."""
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
        help=f"number of processes per case (default: {default.repetitions})",
    )
    parser.add_argument(
        "--min-seconds",
        type=float,
        metavar="S",
        help=f"minimum duration per case and scenario in seconds (default: {default.min_seconds})",
    )
    parser.add_argument(
        "--min-count",
        type=int,
        metavar="N",
        help=f"minimum number of calls per case and scenario (default: {default.min_count})",
    )
