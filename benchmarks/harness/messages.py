"""Requests to the process of a benchmark case, and its responses; both travel as JSON."""

import itertools
from dataclasses import dataclass, field

from benchmarks.harness.cases import BenchmarkCase
from benchmarks.harness.serialize import json_key

SINGLE = "single stream"
OFFLINE = "offline"
PNG = "png to label"
PNG_PREPROCESSING = "png preprocessing"
JPEG = "jpeg to label"
JPEG_PREPROCESSING = "jpeg preprocessing"
CLASSIFY = "classify an array"
BARE = "bare engine"
MANY_SCORES = "scores of many arrays"
MANY_CLASSIFY = "classify_batch of many arrays"
MANY_BARE = "bare engine, its best batch"

# What can be asked for; PNG, JPEG and CLASSIFY measure their counterpart in the same loop,
# MANY_SCORES the two that follow it.
SCENARIOS = (SINGLE, OFFLINE, PNG, JPEG, CLASSIFY, MANY_SCORES)
MANY = (MANY_SCORES, MANY_CLASSIFY, MANY_BARE)


@dataclass(frozen=True)
class PredictRequest:
    """Answer `pixels`, a .npy file of (N, 28, 28, 1) uint8; the scores go into `scores`."""

    case: BenchmarkCase = field(metadata=json_key("row"))
    model: str
    pixels: str
    scores: str


@dataclass(frozen=True)
class PredictResponse:
    """Which engine gave the scores.

    `batch_difference` is the largest difference between what a few images are answered alone and in
    one batch. `macs`, `parameters` and `activations` are those of a Keras model, 0 of others:
    multiply-accumulates of its convolutions and dense layers for one image, weights, and the values
    that its layers compute for one image.
    """

    version: str
    batch_difference: float
    macs: int = 0
    parameters: int = 0
    activations: int = 0


@dataclass(frozen=True)
class RooflineRequest:
    """Measure matrix products of `size` × `size`, for `seconds` each."""

    case: BenchmarkCase = field(metadata=json_key("row"))
    size: int
    seconds: float


@dataclass(frozen=True)
class Roofline:
    """What one core reaches at most; 0: not measured.

    Attributes:
        float32, int8: multiply-accumulates a second, in a matrix product.
        memory: bytes a second, read and written, copying more than the caches hold.
    """

    float32: float
    int8: float
    memory: float = 0.0


@dataclass(frozen=True)
class LatencyRequest:
    """Time `scenarios`, each for at least `min_seconds` and `min_count` calls.

    `batch` is that of the offline scenario, 0 to look for the fastest; `images` how many arrays
    are many, `bare_batch` the bare engine's batch for them, 0 to look for the fastest.
    """

    case: BenchmarkCase = field(metadata=json_key("row"))
    model: str
    scenarios: tuple[str, ...]
    min_seconds: float
    min_count: int
    batch: int
    images: int = 0
    bare_batch: int = 0


@dataclass(frozen=True)
class StartUp:
    """One start of a process, phase by phase, and its largest resident size after one answer.

    The phases: `process` until Python runs our first line; `import` of NumPy and the engine;
    `load`, which checks and opens the artifact; the `first` answer.
    """

    process_ns: int
    import_ns: int
    load_ns: int
    first_ns: int
    peak_bytes: int

    @property
    def total_ns(self) -> int:
        """From the start of the process to the first answer."""
        return self.process_ns + self.import_ns + self.load_ns + self.first_ns


@dataclass(frozen=True)
class TimingSeries:
    """The calls of one scenario in one process.

    Attributes:
        batch: images a call.
        count: calls.
        total_ns: their sum.
        slowest_ns: the longest.
        samples_ns: at most `MAX_SAMPLES` of them, in order of time: one drawn at random from each
            of as many equal stretches, which keeps the distribution and its drift.
    """

    scenario: str
    batch: int
    count: int
    total_ns: int
    slowest_ns: int
    samples_ns: tuple[int, ...]


MAX_SAMPLES = 500


@dataclass(frozen=True)
class LatencyResponse:
    """How the process started, and what it timed; `fallback` as that of a `Backend`."""

    version: str
    start: StartUp
    series: tuple[TimingSeries, ...]
    fallback: str = ""


@dataclass(frozen=True)
class ExplainRequest:
    """Trace two artifacts of one format, float and int8, over `pixels`; `scores` are Keras's."""

    case: BenchmarkCase = field(metadata=json_key("row"))
    plain: str
    int8: str
    pixels: str
    scores: str


@dataclass(frozen=True)
class ErrorSource:
    """One step from Keras to the int8 artifact, and the change of the scores that it causes."""

    name: str
    detail: str
    max_difference: float
    mean_difference: float
    flips: int


# TFLite's operators with weights, and ONNX's.
_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "Conv", "Gemm", "MatMul")


@dataclass(frozen=True)
class Layer:
    """An operator's int8 output beside its float one.

    Attributes:
        snr_db: signal-to-noise ratio in decibels; None where the two are equal.
        saturation: share of the values at an end of the int8 range.
        range_used: share of the 256 codes between the lowest and the highest that occur.
        channels, silent_channels: those of the output, and those that are 0 for every image.
    """

    name: str
    operator: str
    snr_db: float | None
    saturation: float
    range_used: float
    channels: int
    silent_channels: int

    @property
    def weighted(self) -> bool:
        """Whether it computes with weights; the others pass on, choose or normalize."""
        return self.operator in _WEIGHTED


@dataclass(frozen=True)
class LintFinding:
    """One check of an artifact's graph; a remark, never a failure."""

    artifact: str = field(metadata=json_key("artefact"))
    check: str
    fine: bool
    detail: str


@dataclass(frozen=True)
class Explanation:
    """Where the differences of the int8 `artifact` in `engine` come from, over `n` images."""

    n: int
    steps: tuple[ErrorSource, ...]
    layers: tuple[Layer, ...]
    findings: tuple[LintFinding, ...]
    artifact: str = field(metadata=json_key("artefact"))
    engine: str

    @property
    def worst(self) -> Layer | None:
        """The weighted layer that loses most against the weighted one before it."""
        known = [(layer, layer.snr_db) for layer in self.layers if layer.weighted]
        losses = [
            (before - after, layer)
            for (_, before), (layer, after) in itertools.pairwise(known)
            if before is not None and after is not None
        ]
        return max(losses, key=lambda loss: loss[0])[1] if losses else None
