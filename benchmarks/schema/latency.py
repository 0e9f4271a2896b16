"""The results of the latency benchmark, the statistics derived from them, and their validity.

The raw samples are stored; percentiles, throughput and drift are computed from them. A result that
is too short or too noisy is INVALID.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.harness import messages, statistics
from benchmarks.harness.cases import BenchmarkCase, SkippedCase, failure_reasons
from benchmarks.harness.machine import Host
from benchmarks.harness.messages import Roofline, StartUp, TimingSeries
from benchmarks.harness.serialize import NonEmpty, NonNegative, Positive, Precision, json_key

SCHEMA_VERSION = 1  # of the JSON format of the report
# For each percentile the number of samples it needs; with fewer it is not reported.
_MIN_SAMPLES = {50: 1, 90: 10, 99: 100}
# Samples in half of a repetition, for its median to be compared with that of the other half.
_MIN_HALF_SAMPLES = 10
_ROUNDING_S = 1e-6  # a duration may be shorter than its minimum by this


@dataclass(frozen=True)
class Settings:
    """The duration and number of the measurements, and the limit of noise.

    Attributes:
        repetitions: processes per case, which run in turns with those of the other cases.
        min_seconds: minimum duration of each scenario, all repetitions together.
        min_count: minimum number of calls of each scenario, all repetitions together.
        starts: number of additional processes for the cold start.
        images: number of arrays of the scenarios in `messages.MANY`, and of files in a folder.
        max_drift: a result with a larger drift is INVALID; see `drift`.
        max_retries: how often single calls and the fastest batch are measured again if their drift
            is too large.
    """

    repetitions: Positive = 3
    min_seconds: float = 2.4
    min_count: int = 100
    starts: int = 8
    max_drift: float = 1.2
    images: Positive = 10_000
    max_retries: int = field(default=0, metadata=json_key("again"))

    @property
    def retry_note(self) -> str:
        """A remark on retries, for a sentence about INVALID results; empty without retries."""
        return (
            f" (single calls and the fastest batch: in {self.max_retries + 1} tries)"
            if self.max_retries
            else ""
        )


FULL = Settings(max_retries=3)  # the default
# --quick
QUICK = Settings(repetitions=1, min_seconds=0.15, min_count=15, starts=3, images=1_000)


@dataclass(frozen=True)
class LatencyResult:
    """The timings of one case in one scenario.

    Attributes:
        case: the artifact, engine, device and threads.
        version: the version of the engine.
        precision: "float32", "float16" or "int8".
        digest: the digest of the artifact.
        scenario: one of the scenarios in `messages`.
        runs: a series of samples for each repetition.
        fallback: the part of the model that ran on the CPU instead of the device; empty if none.
    """

    case: BenchmarkCase = field(metadata=json_key("row"))
    version: str
    precision: Precision
    digest: str
    scenario: str
    runs: NonEmpty[TimingSeries]
    fallback: str = ""

    @property
    def batch(self) -> int:
        """Images per call."""
        return self.runs[0].batch

    @property
    def count(self) -> int:
        """Number of timed calls in all repetitions."""
        return sum(run.count for run in self.runs)

    @property
    def seconds(self) -> float:
        """Total duration of these calls."""
        return sum(run.total_ns for run in self.runs) / 1e9

    @property
    def images_per_second(self) -> float:
        """Throughput: the images of all calls divided by their total duration."""
        return self.batch * self.count / self.seconds

    def percentile_ns(self, q: int) -> float | None:
        """Return a percentile of the duration of a call, over the samples of all repetitions.

        Args:
            q: 50, 90 or 99.

        Returns:
            The percentile; None if there are too few samples for it.
        """
        samples = [sample for run in self.runs for sample in run.samples_ns]
        return statistics.percentile(samples, q) if len(samples) >= _MIN_SAMPLES[q] else None

    @property
    def mean_ns(self) -> float:
        """The mean duration of a call."""
        return sum(run.total_ns for run in self.runs) / self.count

    @property
    def p50_ns(self) -> float:
        """The median duration of a call."""
        return statistics.percentile([s for run in self.runs for s in run.samples_ns], 50)

    @property
    def medians_ns(self) -> tuple[float, ...]:
        """The median duration of a call in each repetition."""
        return tuple(statistics.percentile(run.samples_ns, 50) for run in self.runs)

    @property
    def drift(self) -> float:
        """The drift of the repetitions; see the function `drift`."""
        return drift(self.runs)

    def problems(self, settings: Settings) -> tuple[str, ...]:
        """Return the reasons why the result is INVALID; empty if it is valid."""
        problems = []
        if self.seconds < settings.min_seconds - _ROUNDING_S:
            problems.append(f"too short: {self.seconds:.2g} s of {settings.min_seconds:.2g} s")
        if self.count < settings.min_count and self.scenario not in messages.MANY:
            problems.append(f"too few calls: {self.count} of {settings.min_count}")
        if self.drift > settings.max_drift:
            problems.append(f"too noisy: medians differ by a factor of {self.drift:.2f}")
        if self.fallback:
            problems.append(f"not all on {self.case.device}: {self.fallback}")
        return tuple(problems)


def drift(runs: Sequence[TimingSeries]) -> float:
    """Return the largest ratio of two medians that should be equal; 1 means no drift.

    The medians compared are those of any two repetitions, and those of the first and the second
    half of each repetition.
    """
    medians = [statistics.percentile(run.samples_ns, 50) for run in runs]
    ratios = [max(medians) / min(medians)]
    for run in runs:
        half = len(run.samples_ns) // 2
        if half >= _MIN_HALF_SAMPLES:
            first = statistics.percentile(run.samples_ns[:half], 50)
            second = statistics.percentile(run.samples_ns[half:], 50)
            ratios.append(max(first, second) / min(first, second))
    return max(ratios)


@dataclass(frozen=True)
class StartResult:
    """The cold starts of all processes of one case."""

    case: BenchmarkCase = field(metadata=json_key("row"))
    starts: NonEmpty[StartUp]

    @property
    def median(self) -> StartUp:
        """The median of each phase and of the memory."""
        return StartUp(
            *(
                math.ceil(np.median([getattr(start, phase) for start in self.starts]))
                for phase in ("process_ns", "import_ns", "load_ns", "first_ns", "peak_bytes")
            )
        )

    @property
    def total_ns(self) -> float:
        """The median time from the start of the process to the end of the first prediction."""
        return float(np.median([start.total_ns for start in self.starts]))


@dataclass(frozen=True)
class CliStartupResult:
    """The cold start of `digit-edge classify digit.png`, and that of a process that only imports.

    Attributes:
        case: the artifact and its engine.
        command_ns: time until the first line of output of the command, for each start.
        imports_ns: the same of a process that imports NumPy, Pillow and the engine.
        command_bytes: peak resident memory of the command, the median of the starts.
        imports_bytes: the same of the process that only imports.
    """

    case: BenchmarkCase = field(metadata=json_key("row"))
    command_ns: NonEmpty[Positive]
    imports_ns: NonEmpty[Positive]
    command_bytes: NonNegative
    imports_bytes: NonNegative

    @property
    def ratio(self) -> float:
        """The median time of the command divided by that of the imports."""
        return float(np.median(self.command_ns) / np.median(self.imports_ns))


@dataclass(frozen=True)
class BenchmarkToolResult:
    """The figures of LiteRT's own benchmark tool for an artifact.

    Attributes:
        case: the case of ours with the same artifact, timed with LiteRT.
        runs: number of calls, all repetitions together.
        means_ns: the mean of each repetition, computed from the throughput in its results.
        medians_ns: the median of each repetition, which the tool rounds to 0.01 ms.
    """

    case: BenchmarkCase = field(metadata=json_key("row"))
    runs: int
    means_ns: NonEmpty[float]
    medians_ns: NonEmpty[float]


@dataclass(frozen=True)
class FolderThroughputResult:
    """The duration of `digit-edge classify FOLDER` for many PNG files of 28×28 pixels.

    Attributes:
        case: the artifact and its engine.
        files: number of files.
        jobs: number of processes of the command, and of the program that only decodes.
        command_ns: duration of the command from its start to its end, for each repetition.
        decoding_ns: the same of a program that only decodes the files.
    """

    case: BenchmarkCase = field(metadata=json_key("row"))
    files: Positive
    jobs: Positive
    command_ns: NonEmpty[Positive]
    decoding_ns: NonEmpty[Positive]

    def __post_init__(self) -> None:
        if len(self.command_ns) != len(self.decoding_ns):
            raise ValueError("command_ns and decoding_ns have different lengths")

    @property
    def ratio(self) -> float:
        """The throughput of the command divided by that of decoding, the median of the repetitions.

        1 would mean that classifying costs nothing.
        """
        return float(np.median(np.divide(self.decoding_ns, self.command_ns)))


@dataclass(frozen=True)
class LatencyReport:
    """The report of a run on one machine; true unless a case failed.

    Attributes:
        schema_version: the version of this format.
        host: the machine before the run.
        host_after: the same machine after the run.
        settings: the settings of the run.
        results: the timings of each case and scenario.
        starts: the cold starts of each case.
        commands: the cold start of the command `digit-edge classify`, for each engine.
        skipped: the cases that were not measured, with the reasons.
        peak: the roofline of one core; None if it was not measured.
        programs: the figures of LiteRT's own benchmark tool.
        files: the throughput of the command with a folder of files, for each engine.
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
        """The reasons why the run fails; empty if it passes.

        A missing engine or device and INVALID results are not failures.
        """
        return tuple(failure_reasons(self.results, self.skipped))

    def find(self, case: BenchmarkCase, scenario: str) -> LatencyResult | None:
        """Return the result of a case in a scenario; None if it was not measured."""
        matches = (r for r in self.results if r.case == case and r.scenario == scenario)
        return next(matches, None)

    def best(self, artifact: str, backend: str, scenario: str) -> LatencyResult | None:
        """Return the result with the highest throughput on the CPU, with any number of threads."""
        matches = [
            r
            for r in self.results
            if (r.case.artifact, r.case.backend, r.case.device) == (artifact, backend, "cpu")
            and r.scenario == scenario
        ]
        return max(matches, key=lambda r: r.images_per_second, default=None)

    def overhead(self, case: BenchmarkCase) -> float | None:
        """Return the time of `Classifier.classify` divided by that of the bare engine.

        Both are medians of the same process, and the ratio is the median of the processes. It is
        None if the two were not measured together.
        """
        classify, bare = self.find(case, messages.CLASSIFY), self.find(case, messages.BARE)
        if classify is None or bare is None or len(classify.runs) != len(bare.runs):
            return None
        return float(np.median(np.divide(classify.medians_ns, bare.medians_ns)))
