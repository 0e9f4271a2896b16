"""Results of the rejection benchmark."""

from dataclasses import dataclass, field

from benchmarks.harness.cases import BenchmarkCase, SkippedCase, failure_reasons
from benchmarks.harness.serialize import json_key

MIN_AUROC, MAX_DIGITS_REFUSED, MAX_COST_NS = 0.98, 0.01, 3_000


@dataclass(frozen=True)
class KindResult:
    """What became of one kind of images.

    Attributes:
        is_digit: these are digits: refusing them is the fault.
        refused: how many of the `n` were not accepted.
        refused_by_confidence: how many the confidence alone would have refused, at its threshold.
        auroc: of the score against that of the test digits: how often a test digit scores higher
            than one of these, ties counted half. 1 is perfect, 0.5 a coin.
        auroc_of_confidence: of the confidence alone, minus infinity where all pixels are alike.
    """

    kind: str
    is_digit: bool = field(metadata=json_key("known"))
    n: int
    refused: int
    refused_by_confidence: int
    auroc: float
    auroc_of_confidence: float


@dataclass(frozen=True)
class Rejection:
    """A row's decisions.

    Attributes:
        has_rule: whether the artifact carries a rule; else the confidence decides.
        threshold: of the score.
        digits, digits_refused: test images, and how many were not accepted.
        digits_refused_by_confidence: how many the confidence alone would have refused.
        cost_ns: of one decision, scores and pixels being there: the least of several series.
        kinds: what became of the images of each kind.
        batch_cost_ns: the cost for an image of the test set, judged at once; 0: not measured.
    """

    case: BenchmarkCase = field(metadata=json_key("row"))
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
    unmeasured: tuple[SkippedCase, ...]

    def __bool__(self) -> bool:
        return not self.failures

    @property
    def failures(self) -> tuple[str, ...]:
        """Why the run fails; empty where it passes. An absent engine is no failure."""
        return tuple(failure_reasons(self.results, self.unmeasured))
