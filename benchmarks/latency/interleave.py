"""Interleaves the repetitions of all cases of the latency benchmark.

`benchmarks.latency.run` uses this module. A case is an artifact in an engine, on a device, with a
number of threads. A scenario is a kind of call that is timed, such as one image per call. A machine
becomes slower or faster during a benchmark, for example when it gets warm. Interleaving spreads
this drift over all cases equally. Each repetition of a case runs in a new subprocess. Results that
are too noisy are measured again.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.harness import messages, subprocesses
from benchmarks.harness.cases import BenchmarkCase, ExternalPython, SkippedCase
from benchmarks.harness.messages import LatencyRequest, LatencyResponse, StartUp, TimingSeries
from benchmarks.schema.latency import Settings, drift
from runtime.model.artifact import Artifact

# The scenarios of the report's summary. Only these are measured again if they are too noisy. The
# other scenarios are timed in turns with each other, so noise affects both sides of a comparison.
_RETRIED = (messages.SINGLE, messages.OFFLINE)  # single calls, and batches of the fastest size


@dataclass
class CaseState:
    """A case and its measurements so far.

    Attributes:
        case: the artifact, engine, device and threads.
        scenarios: the scenarios to time.
        model: the artifact.
        version: the version of the engine; empty before the first repetition.
        fallback: the part of the model that ran on the CPU instead of the device; empty if none.
        batch: the fastest batch size of the scenario OFFLINE; 0 before the first repetition.
        bare_batch: the fastest batch size of the scenario MANY_BARE; 0 before the first repetition.
        runs: for each scenario, by name, one series per repetition.
        starts: the cold starts of all subprocesses of the case.
    """

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
        """Return the drift of a scenario: the ratio of medians within or between its repetitions.

        `benchmarks.schema.latency.drift` computes the ratio. It is at least 1; 1 means no drift.
        The result is 1 if the scenario was not measured.
        """
        return drift(self.runs[scenario]) if scenario in self.runs else 1.0


@dataclass(frozen=True)
class InterleavedRunner:
    """Runs the subprocesses of all cases in turns.

    A case that fails is appended to `skipped`. The case is then not run again, with any number of
    threads.

    Attributes:
        settings: duration and number of the measurements.
        external_pythons: Pythons for engines that are not installed in this one.
        skipped: the cases that failed, with the reasons.
        progress: called with a text for each step.
    """

    settings: Settings
    external_pythons: tuple[ExternalPython, ...]
    skipped: list[SkippedCase]
    progress: Callable[[str], None]

    def repeat(self, entries: Sequence[CaseState], prefix: str = "") -> None:
        """Time all scenarios of every case, `settings.repetitions` times.

        Args:
            entries: the cases; their measurements are added to them.
            prefix: the beginning of each text for `progress`.
        """
        repetitions = self.settings.repetitions
        for repetition in range(repetitions):
            # The order is reversed every other time: each case then has different predecessors.
            for number, entry in enumerate(entries[:: -1 if repetition % 2 else 1], 1):
                self.progress(
                    f"{prefix}repetition {repetition + 1} of {repetitions}, "
                    f"case {number} of {len(entries)}: {entry.case}"
                )
                for series in self._measure(entry, entry.scenarios):
                    entry.runs.setdefault(series.scenario, []).append(series)
                    if series.scenario == messages.OFFLINE:
                        entry.batch = series.batch
                    elif series.scenario == messages.MANY_BARE:
                        entry.bare_batch = series.batch
        self._clear_incomplete(entries)

    def repeat_noisy(self, entries: Sequence[CaseState]) -> None:
        """Measure scenarios of the summary again if their drift exceeds `settings.max_drift`.

        All repetitions of a scenario are replaced if the new repetitions drift less. The choice
        depends only on the drift, never on the speed. There are at most `settings.max_retries`
        tries.

        Args:
            entries: the cases; their measurements are replaced.
        """
        max_drift = self.settings.max_drift
        for number in range(self.settings.max_retries):
            retries = [
                (entry, dataclasses.replace(entry, scenarios=noisy, runs={}))
                for entry in entries
                if (noisy := tuple(s for s in _RETRIED if entry.drift(s) > max_drift))
            ]
            self.repeat([retry for _, retry in retries], f"too noisy, retry {number + 1}: ")
            for entry, retry in retries:
                for scenario, runs in retry.runs.items():
                    if retry.drift(scenario) < entry.drift(scenario):
                        entry.runs[scenario] = runs
        self._clear_incomplete(entries)

    def start(self, entries: Sequence[CaseState]) -> None:
        """Measure the cold start of every case, `settings.starts` times.

        Args:
            entries: the cases; their cold starts are added to them.
        """
        for number in range(self.settings.starts):
            for entry in entries:
                self.progress(f"start {number + 1} of {self.settings.starts}: {entry.case}")
                self._measure(entry, ())
        self._clear_incomplete(entries)

    def _measure(self, entry: CaseState, scenarios: tuple[str, ...]) -> tuple[TimingSeries, ...]:
        """Run one subprocess of a case; return its timings, or () if the case has failed."""
        if self._has_failed(entry):
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
        response = subprocesses.request_latency(job, self.external_pythons)
        if not isinstance(response, LatencyResponse):
            self.skipped.append(response)
            return ()
        entry.version, entry.fallback = response.version, response.fallback
        entry.starts.append(response.start)
        return response.series

    def _has_failed(self, entry: CaseState) -> bool:
        """Return whether this case has failed before, with this or another number of threads."""
        # Both numbers of threads are set to 0, because the comparison must ignore them.
        case = dataclasses.replace(entry.case, threads=0)
        return any(dataclasses.replace(s.case, threads=0) == case for s in self.skipped)

    def _clear_incomplete(self, entries: Sequence[CaseState]) -> None:
        """Delete the timings of incomplete cases.

        A case is incomplete if it failed, or if the same case failed with another number of
        threads.
        """
        failed = {skipped.case for skipped in self.skipped}
        for entry in entries:
            incomplete = any(len(runs) < self.settings.repetitions for runs in entry.runs.values())
            if entry.case in failed or incomplete:
                entry.runs.clear()
