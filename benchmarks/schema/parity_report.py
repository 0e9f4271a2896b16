"""ParityReport: the outcome of a parity run."""

from dataclasses import dataclass, field

from benchmarks.harness.cases import BenchmarkCase, SkippedCase, failure_reasons
from benchmarks.harness.messages import Explanation
from benchmarks.harness.serialize import json_key
from benchmarks.schema.parity import AccuracyMetrics, ParityResult

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class TestImage:
    """A test image, for the flips to be looked at: its pixels, row by row."""

    index: int
    pixels: tuple[int, ...]


@dataclass(frozen=True)
class ParityReport:
    """Every case against the reference; true if all that could run passed.

    Attributes:
        dataset, dataset_sha256, n: what was classified.
        class_names: in the order of the scores.
        reference: the reference's file; `reference_version` its Keras.
        reference_digest, reference_bytes: of that file.
        trained_on: the data the reference was trained on, where they are not those classified.
        macs, parameters, activations: multiply-accumulates for one image, weights, and values
            computed for one image, of the reference.
        reference_metrics: how the reference predicts.
        results, skipped: the rows.
        pictures: the images of the flips the reference was surest of.
        device_results, device_skipped: the rows of a device, where one was asked too.
        explanations: where the differences of int8 come from, for each format, if that was asked.
    """

    schema_version: int
    dataset: str
    dataset_sha256: str
    n: int
    class_names: tuple[str, ...]
    reference: BenchmarkCase
    reference_version: str
    reference_digest: str
    reference_bytes: int
    trained_on: str
    macs: int
    parameters: int
    reference_metrics: AccuracyMetrics = field(metadata=json_key("original"))
    results: tuple[ParityResult, ...]
    skipped: tuple[SkippedCase, ...] = field(metadata=json_key("unmeasured"))
    pictures: tuple[TestImage, ...]
    explanations: tuple[Explanation, ...] = ()
    activations: int = 0
    device_results: tuple[ParityResult, ...] = ()
    device_skipped: tuple[SkippedCase, ...] = field(
        default=(), metadata=json_key("device_unmeasured")
    )

    def __bool__(self) -> bool:
        return not self.failures

    @property
    def failures(self) -> tuple[str, ...]:
        """The reasons why the run fails; empty if it passes. A missing engine is not a failure."""
        failures = [f"{r.case}: {why}" for r in self.results for why in r.failures]
        failures += failure_reasons(self.results, self.skipped)
        if self.device_results or self.device_skipped:
            there = [f"{r.case}: {why}" for r in self.device_results for why in r.failures]
            there += failure_reasons(self.device_results, self.device_skipped)
            failures += [f"on the device: {why}" for why in there]
        return tuple(failures)
