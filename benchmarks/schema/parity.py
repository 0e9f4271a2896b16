"""Results of the parity benchmark."""

from dataclasses import dataclass, field

from benchmarks.harness import statistics
from benchmarks.harness.cases import BenchmarkCase
from benchmarks.harness.serialize import json_key
from runtime.model.tolerance import Tolerance

# A flip of an image that the reference was sure of is more than rounding near a boundary.
CONFIDENT_MARGIN = 0.5


@dataclass(frozen=True)
class Flip:
    """A test image that the artifact answers otherwise than the reference.

    `margin` is how far the reference's first answer stood above its second, 0 to 1.
    """

    index: int
    label: int
    reference: int = field(metadata=json_key("original"))
    answer: int
    margin: float


@dataclass(frozen=True)
class CalibrationBin:
    """The answers of one part of the confidence scale: how many, how sure, how often right."""

    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class AccuracyMetrics:
    """How one model answers the test set, without regard to any other.

    `confusion` has a row per true class and a column per answer; `reliability` 15 bins of equal
    width; `calibration_error` is the expected calibration error over them (Guo et al. 2017);
    `negative_log_likelihood` the mean of −ln of the true class's score, in nats, over the images
    without NaN or Inf; None where there is no such image, or the report is older than the figure.
    """

    n: int
    correct: int
    non_finite: int
    confidence: float
    confusion: tuple[tuple[int, ...], ...]
    reliability: tuple[CalibrationBin, ...]
    calibration_error: float
    negative_log_likelihood: float | None = None

    @property
    def accuracy(self) -> float:
        """Share of the images answered rightly."""
        return self.correct / self.n

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """Its 95 % interval (Wilson)."""
        return statistics.wilson_interval(self.correct, self.n)


@dataclass(frozen=True)
class ParityResult:
    """One artifact in one engine against the reference; true where within the tolerance.

    Attributes:
        case: the artifact, engine, device.
        version: the engine's.
        precision: "float32" or "int8": what is judged.
        digest: the artifact's.
        size_bytes: of the file.
        reference, candidate: how each predicts.
        only_reference_correct, only_candidate_correct: how many images only one of the two
            predicts right.
        max_difference, p99_difference, mean_difference: of the scores: the largest; the largest
            of an image, 99 % of the images; over all scores, all of them absolute.
        min_cosine: the least cosine between the scores of an image.
        batch_difference: the largest between images answered alone and in one batch.
        flips: every image answered otherwise.
        tolerance: what it is judged by.
        incompatibilities: what makes the comparison void: another origin, other labels.
    """

    case: BenchmarkCase = field(metadata=json_key("row"))
    version: str
    precision: str
    digest: str
    size_bytes: int
    reference: AccuracyMetrics = field(metadata=json_key("original"))
    candidate: AccuracyMetrics
    only_reference_correct: int = field(metadata=json_key("only_original"))
    only_candidate_correct: int = field(metadata=json_key("only_candidate"))
    max_difference: float
    p99_difference: float
    mean_difference: float
    min_cosine: float
    batch_difference: float
    flips: tuple[Flip, ...]
    tolerance: Tolerance
    incompatibilities: tuple[str, ...] = field(default=(), metadata=json_key("faults"))

    def __bool__(self) -> bool:
        return not self.failures

    @property
    def n(self) -> int:
        """Images compared."""
        return self.candidate.n

    @property
    def agreement(self) -> float:
        """Share of the images with the same first answer."""
        return 1 - len(self.flips) / self.n

    @property
    def accuracy_drop(self) -> float:
        """Accuracy of the reference minus the artifact's; negative if the artifact is better."""
        return (self.only_reference_correct - self.only_candidate_correct) / self.n

    @property
    def drop_interval(self) -> tuple[float, float]:
        """The drop's 95 % interval (Agresti and Min)."""
        return statistics.paired_drop_interval(
            self.only_reference_correct, self.only_candidate_correct, self.n
        )

    @property
    def p_value(self) -> float:
        """McNemar's exact test of equal accuracy."""
        return statistics.mcnemar_exact(self.only_reference_correct, self.only_candidate_correct)

    @property
    def confidence_drift(self) -> float:
        """Mean confidence of the artifact less the reference's."""
        return self.candidate.confidence - self.reference.confidence

    @property
    def confident_flips(self) -> tuple[Flip, ...]:
        """The flips of images that the reference was sure of."""
        return tuple(flip for flip in self.flips if flip.margin > CONFIDENT_MARGIN)

    @property
    def failures(self) -> tuple[str, ...]:
        """The reasons why it fails; empty if it passes."""
        failures = [*self.incompatibilities]
        if self.reference.non_finite:
            failures.append(f"the reference gives {self.reference.non_finite} NaN or Inf")
        if self.candidate.non_finite:
            failures.append(f"{self.candidate.non_finite} scores are NaN or Inf")
        tolerance, precision, n = self.tolerance, self.precision, self.n
        if not tolerance.allows_difference(precision, self.max_difference):
            failures.append(
                f"scores differ by {self.max_difference:.2g}, {tolerance.max_difference:.2g} may be"
            )
        lost = self.only_reference_correct - self.only_candidate_correct
        if not tolerance.allows_lost(precision, lost, n):
            failures.append(
                f"{lost} of {n} answers fewer are right ({100 * self.accuracy_drop:.2f} points), "
                f"{tolerance.max_lost(n)} may be"
            )
        if not tolerance.allows_flips(precision, len(self.flips), n):
            failures.append(
                f"{len(self.flips)} of {n} answers differ, {tolerance.max_flips(n)} may"
            )
        if not tolerance.allows_batch_difference(precision, self.batch_difference):
            failures.append(
                f"images are answered otherwise in a batch than alone, by up to "
                f"{self.batch_difference:.2g}; "
                f"{tolerance.max_batch_difference(precision):.2g} may be"
            )
        return tuple(failures)

    @property
    def minimum_tolerance(self) -> Tolerance:
        """The strictest tolerance that would have passed, NaN and faults aside."""
        return Tolerance(
            max_difference=max(self.max_difference, self.batch_difference),
            max_drop=max(0, self.only_reference_correct - self.only_candidate_correct) / self.n,
            min_agreement=self.agreement,
        )
