"""The report of the parity benchmark: the accuracy of all cases, and the Keras reference's."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.harness.cases import BenchmarkCase, SkippedCase, failure_reasons
from benchmarks.harness.messages import Explanation
from benchmarks.harness.serialize import NonEmpty, NonNegative, Positive, json_key
from benchmarks.schema.parity import AccuracyMetrics, AccuracyResult, ParityResult

SCHEMA_VERSION = 1  # of the JSON format of the report


@dataclass(frozen=True)
class TestImage:
    """The pixels of a flipped test image, so that reports can show it.

    Attributes:
        index: the index of the image in the test set.
        pixels: values from 0 to 255, row by row; 784 of a digit.
        shape: height, width and channels; empty for a square gray image.
    """

    index: NonNegative
    pixels: NonEmpty[NonNegative]
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        side = math.isqrt(len(self.pixels))
        size = math.prod(self.shape) if self.shape else side * side
        if size != len(self.pixels) or max(self.pixels) > 255:
            raise ValueError("the pixels are not a square of values from 0 to 255")


@dataclass(frozen=True)
class SeriesAccuracy:
    """The accuracy of the reference or an artifact on one series of writers.

    Attributes:
        case: the artifact and its engine.
        series: "hsf_0", "hsf_4", or "all".
        writers: number of writers.
        n: number of images.
        correct: number of correct predictions.
        low: lower bound of the accuracy's 95 % interval over writers (cluster bootstrap), 0 to 1.
        high: its upper bound.
    """

    case: BenchmarkCase
    series: str
    writers: Positive
    n: Positive
    correct: NonNegative
    low: float
    high: float


@dataclass(frozen=True)
class ParityReport:
    """The report of a run; true if all cases that could run passed.

    Attributes:
        schema_version: the version of this format.
        dataset: the name of the data set of the test images.
        dataset_sha256: its digest.
        n: number of test images.
        class_names: the names of the classes, in the order of the scores.
        reference: the case of the Keras reference; None if the folder has none. The other fields of
            the reference are then empty.
        reference_version: the version of Keras.
        reference_digest: the digest of the reference.
        reference_bytes: the size of its file.
        trained_on: the data set that the reference was trained on; empty if it is the same one.
        macs: multiply-accumulates of the reference for one image.
        parameters: number of weights of the reference.
        activations: number of values that the reference computes for one image.
        reference_metrics: the accuracy metrics of the reference.
        results: the cases that were compared.
        skipped: the cases that were not, with the reasons.
        pictures: the flipped images with the largest margins of the reference.
        device_results: the cases that were compared on the machine of --on.
        device_skipped: the cases that were not compared there, with the reasons.
        alone: the cases that have no reference, because other tools made them.
        explanations: for each format, the source of the int8 artifact's differences; filled by
            --explain.
        series: the accuracy on each series of writers; empty if the writers are unknown.
    """

    schema_version: int
    dataset: str
    dataset_sha256: str
    n: Positive
    class_names: NonEmpty[str]
    reference: BenchmarkCase | None
    reference_version: str
    reference_digest: str
    reference_bytes: NonNegative
    trained_on: str
    macs: NonNegative
    parameters: NonNegative
    reference_metrics: AccuracyMetrics | None = field(metadata=json_key("original"))
    results: tuple[ParityResult, ...]
    skipped: tuple[SkippedCase, ...] = field(metadata=json_key("unmeasured"))
    pictures: tuple[TestImage, ...]
    explanations: tuple[Explanation, ...] = ()
    activations: NonNegative = 0
    alone: tuple[AccuracyResult, ...] = ()
    device_results: tuple[ParityResult, ...] = ()
    device_skipped: tuple[SkippedCase, ...] = field(
        default=(), metadata=json_key("device_unmeasured")
    )
    series: tuple[SeriesAccuracy, ...] = ()

    def __post_init__(self) -> None:
        classes = len(self.class_names)
        results = (*self.results, *self.device_results)
        alone = (result.candidate for result in self.alone)
        for metrics in (self.reference_metrics, *alone, *(result.candidate for result in results)):
            if metrics is not None and len(metrics.confusion) != classes:
                raise ValueError(f"a confusion matrix is not of {classes} classes")
        flips = (flip for result in results for flip in result.flips)
        if any(max(flip.label, flip.reference, flip.answer) >= classes for flip in flips):
            raise ValueError(f"a flip is not of {classes} classes")

    def __bool__(self) -> bool:
        return not self.failures

    @property
    def measured(self) -> tuple[ParityResult | AccuracyResult, ...]:
        """All cases of this machine: those with a reference, then those without."""
        return (*self.results, *self.alone)

    @property
    def failures(self) -> tuple[str, ...]:
        """The reasons why the run fails; empty if it passes. A missing engine is not a failure."""
        failures = _failures(self.measured, self.skipped)
        if self.device_results or self.device_skipped:
            remote = _failures(self.device_results, self.device_skipped)
            failures += [f"on the device: {reason}" for reason in remote]
        return tuple(failures)


def _failures(
    results: Sequence[ParityResult | AccuracyResult], skipped: Sequence[SkippedCase]
) -> list[str]:
    """Return the reasons why the cases of one machine fail."""
    failures = [f"{result.case}: {reason}" for result in results for reason in result.failures]
    return failures + failure_reasons(results, skipped)
