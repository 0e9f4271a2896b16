"""Results of the latency benchmark, the figures derived from them, and their validity."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.harness import messages, statistics
from benchmarks.harness.cases import BenchmarkCase, SkippedCase, failure_reasons
from benchmarks.harness.machine import Host
from benchmarks.harness.messages import Roofline, StartUp, TimingSeries
from benchmarks.harness.serialize import json_key

SCHEMA_VERSION = 1
# Fewer samples than this have no 90th or 99th percentile worth the name.
_MIN_SAMPLES = {50: 1, 90: 10, 99: 100}
_MIN_HALF = 10


@dataclass(frozen=True)
class Settings:
    """How long and how often is measured, and what is too noisy.

    Attributes:
        repetitions: processes a row, in turns with the other rows.
        min_seconds: of each scenario, all repetitions together.
        min_count: calls of each scenario, all repetitions together.
        starts: extra processes that are only started, for the start-up figures.
        images: how many arrays, and how many files, are many.
        max_drift: the ratio of two medians, of the halves of a repetition or of two repetitions,
            past which a result is INVALID.
        max_retries: how often single calls and the fastest batch are measured anew where too noisy.
    """

    repetitions: int = 3
    min_seconds: float = 2.4
    min_count: int = 100
    starts: int = 8
    max_drift: float = 1.2
    images: int = 10_000
    max_retries: int = field(default=0, metadata=json_key("again"))

    @property
    def retry_note(self) -> str:
        """What a sentence about INVALID results adds: what was measured again, and how often."""
        return (
            f" (single calls and the fastest batch: in {self.max_retries + 1} tries)"
            if self.max_retries
            else ""
        )


FULL = Settings(max_retries=3)
QUICK = Settings(repetitions=1, min_seconds=0.15, min_count=15, starts=3, images=1_000)


@dataclass(frozen=True)
class LatencyResult:
    """One artifact in one engine in one scenario.

    Attributes:
        case: the artifact, engine, device, threads.
        version: the engine's.
        precision: "float32" or "int8".
        digest: the artifact's.
        scenario: one of those in `jobs`.
        runs: a series of samples for each repetition.
        fallback: what of the model ran on the CPU and not on the row's device; empty where nothing.
    """

    case: BenchmarkCase = field(metadata=json_key("row"))
    version: str
    precision: str
    digest: str
    scenario: str
    runs: tuple[TimingSeries, ...]
    fallback: str = ""

    @property
    def batch(self) -> int:
        """Images a call."""
        return self.runs[0].batch

    @property
    def count(self) -> int:
        """Calls timed."""
        return sum(run.count for run in self.runs)

    @property
    def seconds(self) -> float:
        """What those calls took."""
        return sum(run.total_ns for run in self.runs) / 1e9

    @property
    def images_per_second(self) -> float:
        """Images over time, all calls together."""
        return self.batch * self.count / self.seconds

    def percentile_ns(self, q: int) -> float | None:
        """The 50th, 90th or 99th percentile of a call, of all repetitions together.

        None where there are too few samples for it.
        """
        samples = [sample for run in self.runs for sample in run.samples_ns]
        return statistics.percentile(samples, q) if len(samples) >= _MIN_SAMPLES[q] else None

    @property
    def mean_ns(self) -> float:
        """The mean call."""
        return sum(run.total_ns for run in self.runs) / self.count

    @property
    def p50_ns(self) -> float:
        """The median call."""
        return statistics.percentile([s for run in self.runs for s in run.samples_ns], 50)

    @property
    def medians_ns(self) -> tuple[float, ...]:
        """The median call of each repetition."""
        return tuple(statistics.percentile(run.samples_ns, 50) for run in self.runs)

    @property
    def drift(self) -> float:
        """The largest ratio of two medians: of a repetition's halves, or of two repetitions."""
        return drift(self.runs)

    def problems(self, settings: Settings) -> tuple[str, ...]:
        """Why the result is INVALID; empty where it is VALID."""
        problems = []
        # Each repetition ends at the first call past its share: rounding apart, never short.
        if self.seconds < settings.min_seconds - 1e-6:
            problems.append(f"too short: {self.seconds:.2g} s of {settings.min_seconds:.2g} s")
        if self.count < settings.min_count and self.scenario not in messages.MANY:
            problems.append(f"too few: {self.count} calls of {settings.min_count}")
        if self.drift > settings.max_drift:
            problems.append(f"too noisy: medians differ by a factor of {self.drift:.2f}")
        if self.fallback:
            problems.append(f"not all on {self.case.device}: {self.fallback}")
        return tuple(problems)


def drift(runs: Sequence[TimingSeries]) -> float:
    """The largest ratio of two medians: of a repetition's halves, or of two repetitions."""
    medians = [statistics.percentile(run.samples_ns, 50) for run in runs]
    ratios = [max(medians) / min(medians)]
    for run in runs:
        half = len(run.samples_ns) // 2
        if half >= _MIN_HALF:
            first = statistics.percentile(run.samples_ns[:half], 50)
            second = statistics.percentile(run.samples_ns[half:], 50)
            ratios.append(max(first, second) / min(first, second))
    return max(ratios)


@dataclass(frozen=True)
class StartResult:
    """The starts of one row's processes."""

    case: BenchmarkCase = field(metadata=json_key("row"))
    starts: tuple[StartUp, ...]

    @property
    def median(self) -> StartUp:
        """Phase by phase, and the memory."""
        return StartUp(
            *(
                math.ceil(np.median([getattr(start, phase) for start in self.starts]))
                for phase in ("process_ns", "import_ns", "load_ns", "first_ns", "peak_bytes")
            )
        )

    @property
    def total_ns(self) -> float:
        """The median time from the start of the process to the first answer."""
        return float(np.median([start.total_ns for start in self.starts]))


@dataclass(frozen=True)
class CliStartupResult:
    """`python -m runtime digit.png` beside a process that only imports what it needs.

    Attributes:
        case: the artifact and its engine.
        command_ns, imports_ns: from the start of the process to its first line of output.
        command_bytes, imports_bytes: the largest resident size, the median of the runs.
    """

    case: BenchmarkCase = field(metadata=json_key("row"))
    command_ns: tuple[int, ...]
    imports_ns: tuple[int, ...]
    command_bytes: int
    imports_bytes: int

    @property
    def ratio(self) -> float:
        """The median of the command over that of the imports."""
        return float(np.median(self.command_ns) / np.median(self.imports_ns))


@dataclass(frozen=True)
class BenchmarkToolResult:
    """What LiteRT's own benchmark program says of a file, from each repetition.

    Attributes:
        case: the row of ours that opens the same file in the same engine.
        runs: calls, all repetitions together.
        means_ns: from the throughput that it prints.
        medians_ns: as it prints them, rounded to hundredths of a millisecond.
    """

    case: BenchmarkCase = field(metadata=json_key("row"))
    runs: int
    means_ns: tuple[float, ...]
    medians_ns: tuple[float, ...]


@dataclass(frozen=True)
class FolderThroughputResult:
    """`python -m runtime FOLDER` over many PNG files of 28×28, beside a program that decodes them.

    Attributes:
        case: the artifact and its engine.
        files, jobs: how many files, and processes of either program.
        command_ns, decoding_ns: from the start of the process to its end.
    """

    case: BenchmarkCase = field(metadata=json_key("row"))
    files: int
    jobs: int
    command_ns: tuple[int, ...]
    decoding_ns: tuple[int, ...]

    @property
    def ratio(self) -> float:
        """The command's files a second over the decoder's: the median of the turns."""
        return float(np.median(np.divide(self.decoding_ns, self.command_ns)))


@dataclass(frozen=True)
class LatencyReport:
    """Every row of a run on one machine; true where none failed.

    `host` is the machine before the run, `host_after` the same machine after it; `peak` is what one
    core of it can do at most.
    """

    schema_version: int
    host: Host
    host_after: Host
    settings: Settings
    results: tuple[LatencyResult, ...]
    starts: tuple[StartResult, ...]
    commands: tuple[CliStartupResult, ...]
    skipped: tuple[SkippedCase, ...] = field(metadata=json_key("unmeasured"))
    peak: Roofline | None
    programs: tuple[BenchmarkToolResult, ...] = ()
    files: tuple[FolderThroughputResult, ...] = ()

    def __bool__(self) -> bool:
        return not self.failures

    @property
    def failures(self) -> tuple[str, ...]:
        """Why the run fails; an absent engine or device and a noisy machine are no failure."""
        return tuple(failure_reasons(self.results, self.skipped))

    def find(self, case: BenchmarkCase, scenario: str) -> LatencyResult | None:
        """The result of a row in a scenario."""
        wanted = (r for r in self.results if r.case == case and r.scenario == scenario)
        return next(wanted, None)

    def best(self, artifact: str, backend: str, scenario: str) -> LatencyResult | None:
        """The fastest result of an artifact in an engine on the CPU, whatever the threads."""
        found = [
            r
            for r in self.results
            if (r.case.artifact, r.case.backend, r.case.device) == (artifact, backend, "cpu")
            and r.scenario == scenario
        ]
        return max(found, key=lambda r: r.images_per_second, default=None)

    def overhead(self, case: BenchmarkCase) -> float | None:
        """`classify` of an array over the bare engine, in one process; the median of them."""
        ours, bare = self.find(case, messages.CLASSIFY), self.find(case, messages.BARE)
        if ours is None or bare is None:
            return None
        return float(np.median(np.divide(ours.medians_ns, bare.medians_ns)))
