"""The results of the robustness benchmark: accuracy on corrupted images and another data set.

Missed targets are shown in the report but do not fail the run.
"""

from dataclasses import dataclass, field

import numpy as np

from benchmarks.harness.cases import BenchmarkCase, SkippedCase, failure_reasons
from benchmarks.harness.serialize import NonEmpty, NonNegative, Positive, json_key
from benchmarks.harness.statistics import wilson_interval

SCHEMA_VERSION = 1  # of the JSON format of the report
STRENGTHS = 5  # of each corruption, from weak to strong
MIDDLE = 2  # index of the middle strength, which the targets are set for

# Targets, all of the accuracy, 0 to 1:
MIN_MEAN_ACCURACY = 0.97  # mean over the corruptions at the middle strength
MIN_CORRUPTION_ACCURACY = 0.90  # for each corruption at the middle strength
MIN_CROSS_DATASET_ACCURACY = 0.975  # on scikit-learn's digits, which are from other writers

# Values of `CorruptionCurve.training`:
USED = "used"  # the model was trained with this corruption
UNUSED = "not used"  # it was not
UNKNOWN = "unknown"  # the artifact does not record how it was trained


@dataclass(frozen=True)
class AccuracyCount:
    """The number of images that were predicted correctly, `correct` of `n`."""

    correct: NonNegative
    n: Positive

    def __post_init__(self) -> None:
        if self.correct > self.n:
            raise ValueError(f"{self.correct} of {self.n} predictions are correct")

    @property
    def accuracy(self) -> float:
        """The share of correct predictions, 0 to 1."""
        return self.correct / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the accuracy (Wilson)."""
        return wilson_interval(self.correct, self.n)


@dataclass(frozen=True)
class CorruptionCurve:
    """The accuracy at the five strengths of a corruption.

    Attributes:
        corruption: the name of the corruption.
        training: whether the model was trained with it: USED, UNUSED or UNKNOWN.
        strengths: a description of each strength, from weak to strong.
        readings: the accuracy at each strength.
    """

    corruption: str
    training: str
    strengths: tuple[str, ...]
    readings: tuple[AccuracyCount, ...]

    def __post_init__(self) -> None:
        if {len(self.strengths), len(self.readings)} != {STRENGTHS}:
            raise ValueError(f"strengths and readings do not have {STRENGTHS} items each")

    @property
    def middle(self) -> AccuracyCount:
        """The accuracy at the middle strength, which the targets are set for."""
        return self.readings[MIDDLE]


@dataclass(frozen=True)
class RobustnessResult:
    """The accuracy of a case on the clean and on the corrupted test set.

    Attributes:
        case: the artifact, engine, device and threads.
        version: the version of the engine.
        digest: the digest of the artifact.
        clean: the accuracy on the test set without corruption.
        curves: the accuracy for each corruption.
    """

    case: BenchmarkCase = field(metadata=json_key("row"))
    version: str
    digest: str
    clean: AccuracyCount
    curves: NonEmpty[CorruptionCurve]

    @property
    def mean(self) -> float:
        """The mean accuracy over the corruptions at the middle strength."""
        return float(np.mean([curve.middle.accuracy for curve in self.curves]))

    @property
    def worst(self) -> CorruptionCurve:
        """The corruption with the lowest accuracy at the middle strength."""
        return min(self.curves, key=lambda curve: curve.middle.accuracy)


@dataclass(frozen=True)
class CrossDatasetResult:
    """The accuracy of a case on scikit-learn's digits.

    The target applies only to models that were not trained on them.

    Attributes:
        case: the artifact, engine, device and threads.
        folder: the folder of the artifact.
        version: the version of the engine.
        digest: the digest of the artifact.
        trained_on: the name of the data set that the model was trained on.
        reading: the accuracy.
    """

    case: BenchmarkCase = field(metadata=json_key("row"))
    folder: str
    version: str
    digest: str
    trained_on: str
    reading: AccuracyCount


@dataclass(frozen=True)
class RobustnessReport:
    """The report of a run; true unless a case failed.

    Attributes:
        schema_version: the version of this format.
        created: date and time in UTC, ISO 8601.
        dataset: the name of the data set.
        dataset_sha256: its digest.
        n: number of test images.
        results: the accuracy of each case on clean and corrupted images.
        cross_dataset: the accuracy of each case on scikit-learn's digits.
        skipped: the cases that were not measured, with the reasons.
    """

    schema_version: int
    created: str
    dataset: str
    dataset_sha256: str
    n: int
    results: tuple[RobustnessResult, ...]
    cross_dataset: tuple[CrossDatasetResult, ...] = field(metadata=json_key("other_hands"))
    skipped: tuple[SkippedCase, ...] = field(metadata=json_key("unmeasured"))

    def __post_init__(self) -> None:
        if len({tuple(c.corruption for c in result.curves) for result in self.results}) > 1:
            raise ValueError("the results are not of the same corruptions")

    def __bool__(self) -> bool:
        return not self.failures

    @property
    def failures(self) -> tuple[str, ...]:
        """The reasons why the run fails; empty if it passes. A missing engine is not a failure."""
        return tuple(failure_reasons(self.results, self.skipped))
