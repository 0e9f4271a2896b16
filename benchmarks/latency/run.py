"""Measures latency, throughput, start-up and memory of each artifact, case by case."""

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

# Size of the matrices and seconds: large enough for full speed, small enough for the cache.
_PEAK = (768, 0.5)


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
    """Time each artifact in each engine, each repetition in a new process, interleaved.

    Args:
        models: the folder with digits.keras and its exported artifacts.
        backends: engines' names; all of them by default.
        device: "cpu" or "gpu".
        threads: by default 1 and the number of cores; with "gpu" 1.
        external_pythons: other Pythons, for engines that are not installed in this one.
        keras: whether to time the reference too.
        progress: called with one line for each step.

    Raises:
        BackendUnavailable: `backends` names one that does not exist.
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
    before = machine.describe()
    skipped: list[SkippedCase] = []
    entries = _open(models, planned, threads[0], skipped)
    turns = InterleavedRunner(settings, external_pythons, skipped, progress)
    turns.repeat(entries)
    turns.repeat_noisy(entries)
    turns.start([e for e in entries if e.case.threads == threads[0] and _is_engine(e)])
    entries = [e for e in entries if e.runs]
    # Another Python would be compared with this one's start.
    others = {interpreter.backend for interpreter in external_pythons}
    compared = [
        e.case
        for e in entries
        if _is_engine(e)
        and e.case.threads == 1
        and device == "cpu"
        and e.case.backend not in others
    ]
    compared = _one_per_engine(compared) if settings.starts else []
    measured, failed = cli_startup.measure(models, compared, settings.starts, progress)
    of_files, unread = folder_throughput.measure(models, compared, settings, progress)
    results = tuple(result for entry in entries for result in _results(entry))
    programs, without = litert_benchmark_tool.measure(
        models, results if settings.starts else (), settings, external_pythons, progress
    )
    peak = None
    if entries:  # else there is nothing to set beside it
        progress("the processor's peak")
        peak = subprocesses.request_roofline(
            RooflineRequest(BenchmarkCase("", "matrix product", "cpu", 1), *_PEAK)
        )
    return LatencyReport(
        schema_version=SCHEMA_VERSION,
        host=before,
        host_after=machine.describe(),
        settings=settings,
        results=results,
        starts=tuple(StartResult(e.case, tuple(e.starts)) for e in entries),
        commands=tuple(measured),
        programs=tuple(programs),
        files=tuple(of_files),
        skipped=tuple(skipped + failed + unread + without),
        peak=peak if isinstance(peak, Roofline) else None,
    )


def _open(
    models: Path, planned: list[BenchmarkCase], first_threads: int, skipped: list[SkippedCase]
) -> list[CaseState]:
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


def _is_engine(entry: CaseState) -> bool:
    return entry.case.artifact != cases.REFERENCE


def _one_per_engine(planned: list[BenchmarkCase]) -> list[BenchmarkCase]:
    """Return the last case of each engine: the int8 artifact's, if there is one."""
    return list({case.backend: case for case in planned}.values())


def _results(entry: CaseState) -> list[LatencyResult]:
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
    """Parse `1,2,4` of --threads; without it return an empty tuple, or (1,) for --quick."""
    if text is None:
        return (1,) if quick else ()
    try:
        counts = tuple(int(part) for part in text.split(","))
    except ValueError:
        counts = (0,)
    if min(counts) < 1:
        raise EdgeError(f"--threads takes numbers from 1 on, as 1,2,4, not {text!r}")
    return counts


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The settings that the options of `add_arguments` state."""
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
    """Add the options that `python -m benchmarks` shares."""
    default = FULL
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--threads", help="as 1,2,4 (1 and the number of cores)")
    parser.add_argument("--quick", action="store_true", help="a glance: short, once, less certain")
    parser.add_argument("--repetitions", type=int, help=f"processes a row ({default.repetitions})")
    parser.add_argument(
        "--min-seconds", type=float, help=f"a row and scenario ({default.min_seconds})"
    )
    parser.add_argument(
        "--min-count", type=int, help=f"calls a row and scenario ({default.min_count})"
    )
