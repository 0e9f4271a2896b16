"""Results of the robustness benchmark."""

from dataclasses import dataclass, field

import numpy as np

from benchmarks.harness.cases import BenchmarkCase, SkippedCase, failure_reasons
from benchmarks.harness.serialize import json_key
from benchmarks.harness.statistics import wilson_interval

MIDDLE = 2


SCHEMA_VERSION = 1
# The targets that the figures are reported against.
MIN_MEAN, MIN_EACH, MIN_CROSS_DATASET = 0.97, 0.90, 0.975
# Whether a model saw a corruption when it was trained.
USED, UNUSED, UNKNOWN = "used", "not used", "unknown"


@dataclass(frozen=True)
class AccuracyCount:
    """How many of `n` images were read rightly."""

    correct: int
    n: int

    @property
    def accuracy(self) -> float:
        """From 0 to 1."""
        return self.correct / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Of the accuracy, 95 %."""
        return wilson_interval(self.correct, self.n)


@dataclass(frozen=True)
class CorruptionCurve:
    """Readings at the five strengths of a corruption; `training` is USED, UNUSED or UNKNOWN."""

    corruption: str
    training: str
    strengths: tuple[str, ...]
    readings: tuple[AccuracyCount, ...]

    @property
    def middle(self) -> AccuracyCount:
        """At the strength that targets are set for."""
        return self.readings[MIDDLE]


@dataclass(frozen=True)
class RobustnessResult:
    """A row's readings of the test set as it is, and corrupted."""

    case: BenchmarkCase = field(metadata=json_key("row"))
    version: str
    digest: str
    clean: AccuracyCount
    curves: tuple[CorruptionCurve, ...]

    @property
    def mean(self) -> float:
        """Accuracy, the mean over the corruptions at the middle strength."""
        return float(np.mean([curve.middle.accuracy for curve in self.curves]))

    @property
    def worst(self) -> CorruptionCurve:
        """The corruption that costs most at the middle strength."""
        return min(self.curves, key=lambda curve: curve.middle.accuracy)


@dataclass(frozen=True)
class CrossDatasetResult:
    """A case's accuracy on scikit-learn's digits; a target only if it was not trained on them."""

    case: BenchmarkCase = field(metadata=json_key("row"))
    folder: str
    version: str
    digest: str
    trained_on: str
    reading: AccuracyCount


@dataclass(frozen=True)
class RobustnessReport:
    """Every case; true if all that could run did. Targets are reported and fail nothing."""

    schema_version: int
    created: str
    dataset: str
    dataset_sha256: str
    n: int
    results: tuple[RobustnessResult, ...]
    cross_dataset: tuple[CrossDatasetResult, ...] = field(metadata=json_key("other_hands"))
    skipped: tuple[SkippedCase, ...] = field(metadata=json_key("unmeasured"))

    def __bool__(self) -> bool:
        return not self.failures

    @property
    def failures(self) -> tuple[str, ...]:
        """The reasons why the run fails; empty if it passes. A missing engine is not a failure."""
        return tuple(failure_reasons(self.results, self.skipped))
