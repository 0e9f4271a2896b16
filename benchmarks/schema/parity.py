"""The results of the parity benchmark for one case, the derived statistics, and the verdict."""

from dataclasses import dataclass, field

from benchmarks.harness import statistics
from benchmarks.harness.cases import BenchmarkCase
from benchmarks.harness.serialize import NonEmpty, NonNegative, Positive, Precision, json_key
from runtime.model.tolerance import Tolerance

# Margin of the reference's scores above which a flip is marked ALARM: rounding alone flips only
# images whose two best scores are close.
CONFIDENT_MARGIN = 0.5


@dataclass(frozen=True)
class Flip:
    """A test image that the artifact and the reference predict differently.

    Attributes:
        index: the index of the image in the test set.
        label: the correct class.
        reference: the class predicted by the reference.
        answer: the class predicted by the artifact.
        margin: the reference's largest score minus its second largest, 0 to 1.
    """

    index: NonNegative
    label: NonNegative
    reference: NonNegative = field(metadata=json_key("original"))
    answer: NonNegative
    margin: float


@dataclass(frozen=True)
class CalibrationBin:
    """The predictions within one interval of the confidence.

    Attributes:
        count: number of predictions.
        confidence: their mean confidence; 0 if there are none.
        accuracy: the share of them that is correct; 0 if there are none.
    """

    count: NonNegative
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class AccuracyMetrics:
    """The accuracy and calibration of one model on the test set.

    Attributes:
        n: number of images.
        correct: number of correct predictions.
        non_finite: number of scores that are NaN or infinite.
        confidence: mean confidence of the predictions.
        confusion: the confusion matrix, a row per correct class and a column per predicted class.
        reliability: 15 intervals of equal width of the confidence, from 0 to 1.
        calibration_error: the expected calibration error over these intervals (Guo et al. 2017).
        negative_log_likelihood: the mean of −ln of the correct class's score, in nats, over the
            images with finite scores; None if there are none, and in reports of older versions.
    """

    n: Positive
    correct: NonNegative
    non_finite: NonNegative
    confidence: float
    confusion: NonEmpty[tuple[NonNegative, ...]]
    reliability: NonEmpty[CalibrationBin]
    calibration_error: float
    negative_log_likelihood: float | None = None

    def __post_init__(self) -> None:
        if self.correct > self.n:
            raise ValueError(f"{self.correct} of {self.n} predictions are correct")
        if any(len(counts) != len(self.confusion) for counts in self.confusion):
            raise ValueError("the confusion matrix is not square")

    @property
    def accuracy(self) -> float:
        """The share of correct predictions."""
        return self.correct / self.n

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the accuracy (Wilson)."""
        return statistics.wilson_interval(self.correct, self.n)


@dataclass(frozen=True)
class AccuracyResult:
    """The accuracy of one case that has no reference; true if all scores are finite.

    Attributes:
        case: the artifact, engine, device and threads.
        version: the version of the engine.
        precision: "float32", "float16" or "int8".
        digest: the digest of the artifact.
        size_bytes: the size of the artifact's file.
        candidate: the metrics of the artifact.
        batch_difference: largest absolute difference between the scores of images predicted one by
            one and in one batch.
    """

    case: BenchmarkCase = field(metadata=json_key("row"))
    version: str
    precision: Precision
    digest: str
    size_bytes: Positive
    candidate: AccuracyMetrics
    batch_difference: float

    def __bool__(self) -> bool:
        return not self.failures

    @property
    def failures(self) -> tuple[str, ...]:
        """The reasons why the case fails; empty if it passes."""
        count = self.candidate.non_finite
        return (f"scores that are NaN or Inf: {count}",) if count else ()


@dataclass(frozen=True)
class ParityResult:
    """The comparison of one case with the reference; true if it is within the tolerance.

    Attributes:
        case: the artifact, engine, device and threads.
        version: the version of the engine.
        precision: "float32", "float16" or "int8", which have different limits.
        digest: the digest of the artifact.
        size_bytes: the size of the artifact's file.
        reference: the metrics of the reference.
        candidate: the metrics of the artifact.
        only_reference_correct: number of images that only the reference predicts correctly.
        only_candidate_correct: number of images that only the artifact predicts correctly.
        max_difference: largest absolute difference of a score.
        p99_difference: 99th percentile, over the images, of an image's largest absolute difference.
        mean_difference: mean absolute difference of the scores.
        min_cosine: smallest cosine similarity of an image's two score vectors.
        batch_difference: largest absolute difference between the scores of images predicted one by
            one and in one batch.
        flips: the images that the two predict differently.
        tolerance: the allowed differences.
        incompatibilities: the reasons why the two cannot be compared, such as different labels.
    """

    case: BenchmarkCase = field(metadata=json_key("row"))
    version: str
    precision: Precision
    digest: str
    size_bytes: Positive
    reference: AccuracyMetrics = field(metadata=json_key("original"))
    candidate: AccuracyMetrics
    only_reference_correct: NonNegative = field(metadata=json_key("only_original"))
    only_candidate_correct: NonNegative = field(metadata=json_key("only_candidate"))
    max_difference: float
    p99_difference: float
    mean_difference: float
    min_cosine: float
    batch_difference: float
    flips: tuple[Flip, ...]
    tolerance: Tolerance
    incompatibilities: tuple[str, ...] = field(default=(), metadata=json_key("faults"))

    def __post_init__(self) -> None:
        if max(self.only_reference_correct + self.only_candidate_correct, len(self.flips)) > self.n:
            raise ValueError(f"more predictions differ than there are images, {self.n}")

    def __bool__(self) -> bool:
        return not self.failures

    @property
    def n(self) -> int:
        """The number of images."""
        return self.candidate.n

    @property
    def agreement(self) -> float:
        """The share of equal predictions."""
        return 1 - len(self.flips) / self.n

    @property
    def accuracy_drop(self) -> float:
        """Accuracy of the reference minus the artifact's; negative if the artifact is better."""
        return (self.only_reference_correct - self.only_candidate_correct) / self.n

    @property
    def drop_interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the drop (Agresti and Min)."""
        return statistics.paired_drop_interval(
            self.only_reference_correct, self.only_candidate_correct, self.n
        )

    @property
    def p_value(self) -> float:
        """The p-value of McNemar's exact test of equal accuracy."""
        return statistics.mcnemar_exact(self.only_reference_correct, self.only_candidate_correct)

    @property
    def confidence_drift(self) -> float:
        """Mean confidence of the artifact minus that of the reference."""
        return self.candidate.confidence - self.reference.confidence

    @property
    def confident_flips(self) -> tuple[Flip, ...]:
        """The flips of images with a reference margin above CONFIDENT_MARGIN."""
        return tuple(flip for flip in self.flips if flip.margin > CONFIDENT_MARGIN)

    @property
    def failures(self) -> tuple[str, ...]:
        """The reasons why the case fails; empty if it passes."""
        failures = [*self.incompatibilities]
        if self.reference.non_finite:
            failures.append(
                f"scores of the reference that are NaN or Inf: {self.reference.non_finite}"
            )
        if self.candidate.non_finite:
            failures.append(f"scores that are NaN or Inf: {self.candidate.non_finite}")
        tolerance, precision, n = self.tolerance, self.precision, self.n
        if not tolerance.allows_difference(precision, self.max_difference):
            failures.append(
                f"scores differ by up to {self.max_difference:.2g}; "
                f"{tolerance.max_difference:.2g} is allowed"
            )
        lost = self.only_reference_correct - self.only_candidate_correct
        if not tolerance.allows_lost(precision, lost, n):
            failures.append(
                f"{lost} fewer of {n} predictions are correct ({100 * self.accuracy_drop:.2f} "
                f"points); at most {tolerance.max_lost(n)} allowed"
            )
        if not tolerance.allows_flips(precision, len(self.flips), n):
            failures.append(
                f"{len(self.flips)} of {n} predictions differ; at most {tolerance.max_flips(n)} "
                "allowed"
            )
        if not tolerance.allows_batch_difference(precision, self.batch_difference):
            failures.append(
                f"the scores of an image in a batch differ from those alone by up to "
                f"{self.batch_difference:.2g}; "
                f"{tolerance.max_batch_difference(precision):.2g} is allowed"
            )
        return tuple(failures)

    @property
    def minimum_tolerance(self) -> Tolerance:
        """The strictest tolerance that would pass, ignoring NaN, Inf and incompatibilities."""
        return Tolerance(
            max_difference=max(self.max_difference, self.batch_difference),
            max_drop=max(0, self.only_reference_correct - self.only_candidate_correct) / self.n,
            min_agreement=self.agreement,
        )
