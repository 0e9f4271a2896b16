"""Interleaves the repetitions of all cases, so that a drift of the machine affects all alike."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.harness import messages, subprocesses
from benchmarks.harness.cases import BenchmarkCase, ExternalPython, SkippedCase
from benchmarks.harness.messages import LatencyRequest, LatencyResponse, StartUp, TimingSeries
from benchmarks.schema.latency import Settings, drift
from runtime.model.artifact import Artifact

# What the summary shows. Each is measured alone, so that it can be measured again alone.
_SHOWN = (messages.SINGLE, messages.OFFLINE)


@dataclass
class CaseState:
    """A row, what is asked of it, and what it has answered so far."""

    case: BenchmarkCase
    scenarios: tuple[str, ...]
    model: Artifact
    version: str = ""
    fallback: str = ""
    batch: int = 0
    bare_batch: int = 0
    runs: dict[str, list[TimingSeries]] = field(default_factory=dict)
    starts: list[StartUp] = field(default_factory=list)

    def drift(self, scenario: str) -> float:
        """See `schema.latency.drift`; 1 (no drift) if it was not measured."""
        return drift(self.runs[scenario]) if scenario in self.runs else 1.0


@dataclass(frozen=True)
class InterleavedRunner:
    """Asks the rows' processes; a row that fails is added to `unmeasured`, and asked no more."""

    settings: Settings
    external_pythons: tuple[ExternalPython, ...]
    skipped: list[SkippedCase]
    progress: Callable[[str], None]

    def repeat(self, entries: Sequence[CaseState], why: str = "") -> None:
        """Time every row, `repetitions` times over."""
        repetitions = self.settings.repetitions
        for repetition in range(repetitions):
            # Backwards every other time: no row is always the one behind the same neighbor.
            for number, entry in enumerate(entries[:: -1 if repetition % 2 else 1], 1):
                self.progress(
                    f"{why}repetition {repetition + 1} of {repetitions}, "
                    f"row {number} of {len(entries)}: {entry.case}"
                )
                for series in self._ask(entry, entry.scenarios):
                    entry.runs.setdefault(series.scenario, []).append(series)
                    if series.scenario == messages.OFFLINE:
                        entry.batch = series.batch
                    elif series.scenario == messages.MANY_BARE:
                        entry.bare_batch = series.batch
        self._forget_failed(entries)

    def repeat_noisy(self, entries: Sequence[CaseState]) -> None:
        """Time anew what the summary shows and is too noisy; keep the steadier repetitions.

        Which are kept is decided by how steady they are alone, never by how fast.
        """
        for number in range(self.settings.max_retries):
            noisy = [
                (entry, dataclasses.replace(entry, scenarios=asked, runs={}))
                for entry in entries
                if (asked := tuple(s for s in _SHOWN if entry.drift(s) > self.settings.max_drift))
            ]
            self.repeat(
                [max_retries for _, max_retries in noisy], f"too noisy, again {number + 1}: "
            )
            for entry, max_retries in noisy:
                for scenario, runs in max_retries.runs.items():
                    if max_retries.drift(scenario) < entry.drift(scenario):
                        entry.runs[scenario] = runs
        self._forget_failed(entries)

    def start(self, entries: Sequence[CaseState]) -> None:
        """Start every row `starts` times more, and have it answer once."""
        for number in range(self.settings.starts):
            for entry in entries:
                self.progress(f"start {number + 1} of {self.settings.starts}: {entry.case}")
                self._ask(entry, ())
        self._forget_failed(entries)

    def _ask(self, entry: CaseState, scenarios: tuple[str, ...]) -> tuple[TimingSeries, ...]:
        if self._given_up(entry):
            return ()
        settings = self.settings
        job = LatencyRequest(
            case=entry.case,
            model=str(entry.model.path.resolve()),
            scenarios=scenarios,
            min_seconds=settings.min_seconds / settings.repetitions,
            min_count=math.ceil(settings.min_count / settings.repetitions),
            batch=entry.batch,
            images=settings.images,
            bare_batch=entry.bare_batch,
        )
        answer = subprocesses.request_latency(job, self.external_pythons)
        if not isinstance(answer, LatencyResponse):
            self.skipped.append(answer)
            return ()
        entry.version, entry.fallback = answer.version, answer.fallback
        entry.starts.append(answer.start)
        return answer.series

    def _given_up(self, entry: CaseState) -> bool:
        """Whether the row, or the same with other threads, could not be measured already."""
        same = dataclasses.replace(entry.case, threads=0)
        return any(dataclasses.replace(u.case, threads=0) == same for u in self.skipped)

    def _forget_failed(self, entries: Sequence[CaseState]) -> None:
        """Drop what rows measured before they failed, or were given up because the same with
        other threads failed: a row has all its repetitions or none.
        """
        failed = {u.case for u in self.skipped}
        for entry in entries:
            short = any(len(runs) < self.settings.repetitions for runs in entry.runs.values())
            if entry.case in failed or short:
                entry.runs.clear()
