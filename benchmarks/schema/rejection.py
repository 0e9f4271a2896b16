"""Results of the rejection benchmark."""

from dataclasses import dataclass, field

from benchmarks.harness.cases import BenchmarkCase, SkippedCase, failure_reasons
from benchmarks.harness.serialize import json_key

MIN_AUROC, MAX_DIGITS_REJECTED, MAX_COST_NS = 0.98, 0.01, 3_000


@dataclass(frozen=True)
class KindResult:
    """What became of one kind of images.

    Attributes:
        is_digit: these are digits: refusing them is the fault.
        rejected: how many of the `n` were not accepted.
        rejected_by_confidence: how many the confidence alone would have refused, at its threshold.
        auroc: of the score against that of the test digits: how often a test digit scores higher
            than one of these, ties counted half. 1 is perfect, 0.5 a coin.
        auroc_of_confidence: of the confidence alone, minus infinity where all pixels are alike.
    """

    kind: str
    is_digit: bool = field(metadata=json_key("known"))
    n: int
    rejected: int = field(metadata=json_key("refused"))
    rejected_by_confidence: int = field(metadata=json_key("refused_by_confidence"))
    auroc: float
    auroc_of_confidence: float


@dataclass(frozen=True)
class RejectionResult:
    """A row's decisions.

    Attributes:
        has_rejection_model: whether the artifact carries a rule; else the confidence decides.
        threshold: of the score.
        digits, digits_rejected: test images, and how many were not accepted.
        digits_rejected_by_confidence: how many the confidence alone would have refused.
        cost_ns: of one decision, scores and pixels being there: the least of several series.
        kinds: what became of the images of each kind.
        batch_cost_ns: the cost for an image of the test set, judged at once; 0: not measured.
    """

    case: BenchmarkCase = field(metadata=json_key("row"))
    version: str
    digest: str
    has_rejection_model: bool = field(metadata=json_key("has_rule"))
    threshold: float
    digits: int
    digits_rejected: int = field(metadata=json_key("digits_refused"))
    digits_rejected_by_confidence: int = field(metadata=json_key("digits_refused_by_confidence"))
    cost_ns: float
    kinds: tuple[KindResult, ...]
    batch_cost_ns: float = 0.0


@dataclass(frozen=True)
class RejectionReport:
    """Every case; true if all that could run did. Targets are reported and fail nothing."""

    schema_version: int
    created: str
    dataset: str
    dataset_sha256: str
    results: tuple[RejectionResult, ...]
    skipped: tuple[SkippedCase, ...] = field(metadata=json_key("unmeasured"))

    def __bool__(self) -> bool:
        return not self.failures

    @property
    def failures(self) -> tuple[str, ...]:
        """The reasons why the run fails; empty if it passes. A missing engine is not a failure."""
        return tuple(failure_reasons(self.results, self.skipped))
