"""Latency, throughput, start-up and memory of each artefact: python -m benchmarks.latency."""

import argparse
import dataclasses
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import commands, destination, host, jobs, litert_program, many, processes, rows
from benchmarks.jobs import LatencyAnswer, LatencyJob, Peak, PeakJob, Series, StartUp
from benchmarks.rows import FAILED, Interpreter, Row, Unmeasured
from benchmarks.timing import (
    QUICK,
    SCHEMA_VERSION,
    LatencyReport,
    LatencyResult,
    Settings,
    StartResult,
    drift,
)
from runtime import artefact, files
from runtime.artefact import Artefact
from runtime.errors import CHECK_FAILED, ArtefactError, EdgeError, exit_status

# Size of the matrices and seconds: large enough for full speed, small enough for the cache.
_PEAK = (768, 0.5)
# What the summary shows. Each is measured alone, so that it can be measured again alone.
_SHOWN = (jobs.SINGLE, jobs.OFFLINE)


@dataclass
class _Entry:
    """A row, what is asked of it, and what it has answered so far."""

    row: Row
    scenarios: tuple[str, ...]
    model: Artefact
    version: str = ""
    fallback: str = ""
    batch: int = 0
    bare_batch: int = 0
    runs: dict[str, list[Series]] = field(default_factory=dict)
    starts: list[StartUp] = field(default_factory=list)


def measure(
    models: Path,
    settings: Settings,
    *,
    backends: tuple[str, ...] = (),
    device: str = "cpu",
    threads: tuple[int, ...] = (),
    interpreters: tuple[Interpreter, ...] = (),
    keras: bool = True,
    progress: Callable[[str], None] = lambda line: None,
) -> LatencyReport:
    """Time each artefact in each engine, each repetition in a process of its own, in turns.

    Args:
        models: the folder with digits.keras and what was exported from it.
        backends: engines' names; all of them by default.
        device: "cpu" or "gpu".
        threads: by default 1 and as many as there are cores; with "gpu" 1.
        interpreters: other Pythons, for engines that are not installed in this one.
        keras: whether to time the original too.
        progress: is told what is being done.

    Raises:
        BackendUnavailable: `backends` names one that does not exist.
    """
    cores = host.usable_cores()
    threads = threads or (tuple(dict.fromkeys((1, cores))) if device == "cpu" else (1,))
    planned = [row for count in threads for row in rows.plan(models, backends, device, count)]
    if keras:
        planned += [Row(rows.REFERENCE, call, device, cores) for call in rows.KERAS_CALLS[device]]
    before = host.describe()
    unmeasured: list[Unmeasured] = []
    entries = _open(models, planned, threads[0], unmeasured)
    _repeat(entries, settings, interpreters, unmeasured, progress)
    _measure_noisy_again(entries, settings, interpreters, unmeasured, progress)
    started = [e for e in entries if e.row.threads == threads[0] and _is_engine(e)]
    _start_again(started, settings, interpreters, unmeasured, progress)
    entries = [e for e in entries if e.runs]
    # Another Python would be compared with this one's start.
    others = {interpreter.backend for interpreter in interpreters}
    compared = [
        e.row
        for e in entries
        if _is_engine(e) and e.row.threads == 1 and device == "cpu" and e.row.backend not in others
    ]
    compared = _one_per_engine(compared) if settings.starts else []
    measured, failed = commands.measure(models, compared, settings.starts, progress)
    of_files, unread = many.measure(models, compared, settings, progress)
    results = tuple(result for entry in entries for result in _results(entry))
    programs, without = litert_program.measure(
        models, results if settings.starts else (), settings, interpreters, progress
    )
    peak = None
    if entries:  # else there is nothing to set beside it
        progress("the processor's peak")
        peak = processes.ask_peak(PeakJob(Row("", "matrix product", "cpu", 1), *_PEAK))
    return LatencyReport(
        schema_version=SCHEMA_VERSION,
        host=before,
        host_after=host.describe(),
        settings=settings,
        results=results,
        starts=tuple(StartResult(e.row, tuple(e.starts)) for e in entries),
        commands=tuple(measured),
        programs=tuple(programs),
        files=tuple(of_files),
        unmeasured=tuple(unmeasured + failed + unread + without),
        peak=peak if isinstance(peak, Peak) else None,
    )


def _open(
    models: Path, planned: list[Row], first_threads: int, unmeasured: list[Unmeasured]
) -> list[_Entry]:
    entries = []
    for row in planned:
        try:
            opened = artefact.read(models / row.artefact)
        except ArtefactError as error:
            if row.threads == first_threads or row.artefact == rows.REFERENCE:
                unmeasured.append(Unmeasured(row, FAILED, str(error)))
            continue
        scenarios: tuple[str, ...] = (jobs.SINGLE, jobs.OFFLINE)
        if row.artefact != rows.REFERENCE and row.device == "cpu":
            scenarios = jobs.SCENARIOS if row.threads == 1 else (*scenarios, jobs.MANY_SCORES)
        entries.append(_Entry(row, scenarios, opened))
    return entries


def _repeat(
    entries: list[_Entry],
    settings: Settings,
    interpreters: tuple[Interpreter, ...],
    unmeasured: list[Unmeasured],
    progress: Callable[[str], None],
) -> None:
    """Run every row, `repetitions` times over, so that a drifting machine hits all alike."""
    for repetition in range(settings.repetitions):
        # Backwards every other time: no row is always the one behind the same neighbour.
        for number, entry in enumerate(entries[:: -1 if repetition % 2 else 1], 1):
            if _given_up(entry, unmeasured):
                continue
            progress(
                f"repetition {repetition + 1} of {settings.repetitions}, "
                f"row {number} of {len(entries)}: {entry.row}"
            )
            answer = _ask(entry, entry.scenarios, settings, interpreters)
            if isinstance(answer, Unmeasured):
                unmeasured.append(answer)
                continue
            for series in answer.series:
                entry.runs.setdefault(series.scenario, []).append(series)
                if series.scenario == jobs.OFFLINE:
                    entry.batch = series.batch
                elif series.scenario == jobs.MANY_BARE:
                    entry.bare_batch = series.batch
    _forget(entries, unmeasured, settings.repetitions)


def _measure_noisy_again(
    entries: list[_Entry],
    settings: Settings,
    interpreters: tuple[Interpreter, ...],
    unmeasured: list[Unmeasured],
    progress: Callable[[str], None],
) -> None:
    """Measure anew what the summary shows and is too noisy; keep the steadier repetitions.

    Which are kept is decided by how steady they are alone, never by how fast.
    """
    for number in range(settings.again):
        noisy = [
            (entry, dataclasses.replace(entry, scenarios=asked, runs={}))
            for entry in entries
            if (asked := tuple(s for s in _SHOWN if _drift(entry, s) > settings.max_drift))
        ]
        _repeat(
            [again for _, again in noisy],
            settings,
            interpreters,
            unmeasured,
            lambda line, number=number: progress(f"too noisy, again {number + 1}: {line}"),
        )
        for entry, again in noisy:
            for scenario, runs in again.runs.items():
                if drift(runs) < _drift(entry, scenario):
                    entry.runs[scenario] = runs
    _forget(entries, unmeasured, settings.repetitions)


def _drift(entry: _Entry, scenario: str) -> float:
    return drift(entry.runs[scenario]) if scenario in entry.runs else 1.0


def _start_again(
    entries: list[_Entry],
    settings: Settings,
    interpreters: tuple[Interpreter, ...],
    unmeasured: list[Unmeasured],
    progress: Callable[[str], None],
) -> None:
    for number in range(settings.starts):
        for entry in entries:
            if _given_up(entry, unmeasured):
                continue
            progress(f"start {number + 1} of {settings.starts}: {entry.row}")
            answer = _ask(entry, (), settings, interpreters)
            if isinstance(answer, Unmeasured):
                unmeasured.append(answer)
    _forget(entries, unmeasured, settings.repetitions)


def _ask(
    entry: _Entry,
    scenarios: tuple[str, ...],
    settings: Settings,
    interpreters: tuple[Interpreter, ...],
) -> LatencyAnswer | Unmeasured:
    job = LatencyJob(
        row=entry.row,
        model=str(entry.model.path.resolve()),
        scenarios=scenarios,
        min_seconds=settings.min_seconds / settings.repetitions,
        min_count=math.ceil(settings.min_count / settings.repetitions),
        batch=entry.batch,
        images=settings.images,
        bare_batch=entry.bare_batch,
    )
    answer = processes.ask_latency(job, interpreters)
    if isinstance(answer, LatencyAnswer):
        entry.version, entry.fallback = answer.version, answer.fallback
        entry.starts.append(answer.start)
    return answer


def _given_up(entry: _Entry, unmeasured: list[Unmeasured]) -> bool:
    """Whether the row, or the same with other threads, could not be measured already."""
    same = dataclasses.replace(entry.row, threads=0)
    return any(dataclasses.replace(u.row, threads=0) == same for u in unmeasured)


def _forget(entries: list[_Entry], unmeasured: list[Unmeasured], repetitions: int) -> None:
    """Drop what rows measured before they failed, or were given up because the same with other
    threads failed: a row has all its repetitions or none.
    """
    failed = {u.row for u in unmeasured}
    for entry in entries:
        if entry.row in failed or any(len(runs) < repetitions for runs in entry.runs.values()):
            entry.runs.clear()


def _is_engine(entry: _Entry) -> bool:
    return entry.row.artefact != rows.REFERENCE


def _one_per_engine(planned: list[Row]) -> list[Row]:
    """The last row of each engine: the int8 artefact's, where there is one."""
    return list({row.backend: row for row in planned}.values())


def _results(entry: _Entry) -> list[LatencyResult]:
    return [
        LatencyResult(
            schema_version=SCHEMA_VERSION,
            row=entry.row,
            version=entry.version,
            precision=entry.model.spec.precision,
            digest=entry.model.spec.digest,
            size_bytes=len(entry.model.data),
            scenario=scenario,
            runs=tuple(runs),
            fallback=entry.fallback,
        )
        for scenario, runs in entry.runs.items()
    ]


def parse_threads(text: str | None, quick: bool = False) -> tuple[int, ...]:
    """`1,2,4`, as given to --threads; where it is not given none, or 1 if it shall be quick."""
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
    settings = dataclasses.replace(QUICK if arguments.quick else Settings(), **chosen)
    if min(settings.repetitions, settings.min_count) < 1 or settings.min_seconds < 0:
        raise EdgeError("--repetitions and --min-count take 1 or more, --min-seconds 0 or more")
    return settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that `python -m benchmarks` shares."""
    default = Settings()
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


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 3 where a row fails."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    rows.add_arguments(parser)
    add_arguments(parser)
    parser.add_argument("--no-keras", action="store_true", help="leave the original out")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args(argv)
    from benchmarks.records import to_json
    from benchmarks.views import terminal

    if arguments.json is not None:
        destination.check_file(arguments.json)
    report = measure(
        arguments.models,
        settings_of(arguments),
        backends=tuple(arguments.backend),
        device=arguments.device,
        threads=parse_threads(arguments.threads, arguments.quick),
        interpreters=tuple(map(rows.parse_interpreter, arguments.python)),
        keras=not arguments.no_keras,
        progress=terminal.tell,
    )
    terminal.clear()
    terminal.print_latency(report)
    if arguments.json is not None:
        files.write(arguments.json, to_json(report))
    return 0 if report else CHECK_FAILED


if __name__ == "__main__":
    sys.exit(exit_status(main))
