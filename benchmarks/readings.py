"""What artefacts read rightly, spoilt or of other hands, and what they refuse as no digit."""

from dataclasses import dataclass

import numpy as np

from benchmarks.harness.cases import Row, Unmeasured, why_failed
from benchmarks.harness.statistics import wilson_interval
from benchmarks.robustness.corruptions import MIDDLE

SCHEMA_VERSION = 1

# The targets that the figures are reported against.
MIN_MEAN, MIN_EACH, MIN_OTHER_HANDS = 0.97, 0.90, 0.975
MIN_AUROC, MAX_DIGITS_REFUSED, MAX_COST_NS = 0.98, 0.01, 3_000

# Whether a model saw a corruption when it was trained.
USED, UNUSED, UNKNOWN = "used", "not used", "unknown"


@dataclass(frozen=True)
class Reading:
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
class Curve:
    """Readings at the five strengths of a corruption; `training` is USED, UNUSED or UNKNOWN."""

    corruption: str
    training: str
    strengths: tuple[str, ...]
    readings: tuple[Reading, ...]

    @property
    def middle(self) -> Reading:
        """At the strength that targets are set for."""
        return self.readings[MIDDLE]


@dataclass(frozen=True)
class Result:
    """A row's readings of the test set as it is, and spoilt."""

    row: Row
    version: str
    digest: str
    clean: Reading
    curves: tuple[Curve, ...]

    @property
    def mean(self) -> float:
        """Accuracy, the mean over the corruptions at the middle strength."""
        return float(np.mean([curve.middle.accuracy for curve in self.curves]))

    @property
    def worst(self) -> Curve:
        """The corruption that costs most at the middle strength."""
        return min(self.curves, key=lambda curve: curve.middle.accuracy)


@dataclass(frozen=True)
class OtherHands:
    """A row's reading of scikit-learn's digits; a target only where it was not trained on them."""

    row: Row
    folder: str
    version: str
    digest: str
    trained_on: str
    reading: Reading


@dataclass(frozen=True)
class RobustnessReport:
    """Every row; true where all that could run did. Targets are reported, and fail nothing."""

    schema_version: int
    created: str
    dataset: str
    dataset_sha256: str
    n: int
    results: tuple[Result, ...]
    other_hands: tuple[OtherHands, ...]
    unmeasured: tuple[Unmeasured, ...]

    def __bool__(self) -> bool:
        return not self.failures

    @property
    def failures(self) -> tuple[str, ...]:
        """Why the run fails; empty where it passes. An absent engine is no failure."""
        return tuple(why_failed(self.results, self.unmeasured))


@dataclass(frozen=True)
class KindResult:
    """What became of one kind of images.

    Attributes:
        known: these are digits: refusing them is the fault.
        refused: how many of the `n` were not accepted.
        refused_by_confidence: how many the confidence alone would have refused, at its threshold.
        auroc: of the score against that of the test digits: how often a test digit scores higher
            than one of these, ties counted half. 1 is perfect, 0.5 a coin.
        auroc_of_confidence: of the confidence alone, minus infinity where all pixels are alike.
    """

    kind: str
    known: bool
    n: int
    refused: int
    refused_by_confidence: int
    auroc: float
    auroc_of_confidence: float


@dataclass(frozen=True)
class Rejection:
    """A row's decisions.

    Attributes:
        has_rule: whether the artefact carries a rule; else the confidence decides.
        threshold: of the score.
        digits, digits_refused: test images, and how many were not accepted.
        digits_refused_by_confidence: how many the confidence alone would have refused.
        cost_ns: of one decision, scores and pixels being there: the least of several series.
        kinds: what became of the images of each kind.
        batch_cost_ns: the cost for an image of the test set, judged at once; 0: not measured.
    """

    row: Row
    version: str
    digest: str
    has_rule: bool
    threshold: float
    digits: int
    digits_refused: int
    digits_refused_by_confidence: int
    cost_ns: float
    kinds: tuple[KindResult, ...]
    batch_cost_ns: float = 0.0


@dataclass(frozen=True)
class RejectionReport:
    """Every row; true where all that could run did. Targets are reported, and fail nothing."""

    schema_version: int
    created: str
    dataset: str
    dataset_sha256: str
    results: tuple[Rejection, ...]
    unmeasured: tuple[Unmeasured, ...]

    def __bool__(self) -> bool:
        return not self.failures

    @property
    def failures(self) -> tuple[str, ...]:
        """Why the run fails; empty where it passes. An absent engine is no failure."""
        return tuple(why_failed(self.results, self.unmeasured))
