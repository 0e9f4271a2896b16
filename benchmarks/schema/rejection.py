"""The results of the rejection benchmark (out-of-distribution rejection), and its targets.

The benchmark measures how many negatives and how many test digits a model rejects. Missed targets
are shown in the report but do not fail the run.
"""

from dataclasses import dataclass, field

from benchmarks.harness.cases import BenchmarkCase, SkippedCase, failure_reasons
from benchmarks.harness.serialize import NonNegative, Positive, json_key

# Targets:
MIN_AUROC = 0.98  # of each kind of negatives against the test digits
MAX_DIGITS_REJECTED_SHARE = 0.01  # of the test digits, 0 to 1
MAX_COST_NS = 3_000  # of the decision for one image, without preprocessing and inference


@dataclass(frozen=True)
class KindResult:
    """The result for one kind of images.

    Attributes:
        kind: the name of the kind.
        is_digit: whether these are digits, which should not be rejected.
        n: number of images.
        rejected: number of images that were rejected.
        rejected_by_confidence: number of images with a confidence below the threshold.
        auroc: area under the ROC curve of the rejection score: the probability that a test digit
            scores higher than one of these images, with ties counted half. 1 is perfect, 0.5 is
            chance.
        auroc_of_confidence: the same for the confidence, which counts as −∞ for blank images.
    """

    kind: str
    is_digit: bool = field(metadata=json_key("known"))
    n: Positive
    rejected: NonNegative = field(metadata=json_key("refused"))
    rejected_by_confidence: NonNegative = field(metadata=json_key("refused_by_confidence"))
    auroc: float
    auroc_of_confidence: float


@dataclass(frozen=True)
class RejectionResult:
    """The result of one case.

    Attributes:
        case: the artifact, engine, device and threads.
        version: the version of the engine.
        digest: the digest of the artifact.
        has_rejection_model: whether the artifact contains a rejection model; without one, images
            are rejected by confidence alone.
        threshold: images with a lower score are rejected.
        digits: number of test digits.
        digits_rejected: number of test digits that were rejected.
        digits_rejected_by_confidence: number of test digits with a confidence below the threshold.
        cost_ns: time of the decision for one image, the fastest of several series; preprocessing
            and inference are not included.
        kinds: the result for each kind of images.
        batch_cost_ns: time of the decision per image, for all test digits in one call; 0 if not
            measured.
    """

    case: BenchmarkCase = field(metadata=json_key("row"))
    version: str
    digest: str
    has_rejection_model: bool = field(metadata=json_key("has_rule"))
    threshold: float
    digits: Positive
    digits_rejected: NonNegative = field(metadata=json_key("digits_refused"))
    digits_rejected_by_confidence: NonNegative = field(
        metadata=json_key("digits_refused_by_confidence")
    )
    cost_ns: float
    kinds: tuple[KindResult, ...]
    batch_cost_ns: float = 0.0


@dataclass(frozen=True)
class RejectionReport:
    """The report of a run; true unless a case failed.

    Attributes:
        schema_version: the version of this format.
        created: date and time in UTC, ISO 8601.
        dataset: the name of the data set of the test digits.
        dataset_sha256: its digest.
        results: the cases that were measured.
        skipped: the cases that were not measured, with the reasons.
    """

    schema_version: int
    created: str
    dataset: str
    dataset_sha256: str
    results: tuple[RejectionResult, ...]
    skipped: tuple[SkippedCase, ...] = field(metadata=json_key("unmeasured"))

    def __post_init__(self) -> None:
        if len({tuple(kind.kind for kind in result.kinds) for result in self.results}) > 1:
            raise ValueError("the results are not of the same kinds of images")

    def __bool__(self) -> bool:
        return not self.failures

    @property
    def failures(self) -> tuple[str, ...]:
        """The reasons why the run fails; empty if it passes. A missing engine is not a failure."""
        return tuple(failure_reasons(self.results, self.skipped))
