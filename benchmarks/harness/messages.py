"""Defines the messages between a benchmark and the subprocess that runs one of its cases.

`subprocesses` sends a request as JSON, and `benchmarks.worker` returns a response as JSON. Several
of these classes are also part of the published reports: do not change their strings and JSON keys.
"""

import itertools
from dataclasses import dataclass, field

from benchmarks.harness.cases import BenchmarkCase
from benchmarks.harness.serialize import NonEmpty, NonNegative, Positive, json_key

# Scenarios of the latency benchmark, by their names in the reports. "Single stream" and "offline"
# are terms of MLPerf Inference.
SINGLE = "single stream"  # the backend, one image a call
OFFLINE = "offline"  # the backend, one batch of images a call, of the fastest size
PNG = "png to label"  # Classifier.classify of a PNG file
PNG_PREPROCESSING = "png preprocessing"  # decoding and preprocessing of the same file, no model
JPEG = "jpeg to label"  # Classifier.classify of a JPEG file of 1024×768 pixels
JPEG_PREPROCESSING = "jpeg preprocessing"  # decoding and preprocessing of the same file, no model
CLASSIFY = "classify an array"  # Classifier.classify of a 28×28 array
BARE = "bare engine"  # the engine without this project's code, one image a call
MANY_SCORES = "scores of many arrays"  # Classifier.scores of `Settings.images` arrays
MANY_CLASSIFY = "classify_batch of many arrays"  # Classifier.classify_batch of the same arrays
MANY_BARE = "bare engine, its best batch"  # the engine alone, in batches of the fastest size

# Scenarios that can be requested. Some are timed in turns with others, which are returned too:
# PNG and JPEG with their preprocessing, CLASSIFY with BARE, MANY_SCORES with the rest of MANY.
SCENARIOS = (SINGLE, OFFLINE, PNG, JPEG, CLASSIFY, MANY_SCORES)
MANY = (MANY_SCORES, MANY_CLASSIFY, MANY_BARE)


@dataclass(frozen=True)
class PredictRequest:
    """Request to run an artifact on images and to write its scores to a file.

    Attributes:
        case: the artifact, engine, device and threads.
        model: path of the artifact.
        pixels: path of a .npy file, (N, 28, 28, 1) uint8.
        scores: path of the .npy file to write, (N, classes) float32.
    """

    case: BenchmarkCase = field(metadata=json_key("row"))
    model: str
    pixels: str
    scores: str


@dataclass(frozen=True)
class PredictResponse:
    """The response to a PredictRequest; the scores are in the file that it names.

    Attributes:
        version: the version of the engine.
        batch_difference: largest absolute difference between the scores of a few images predicted
            one by one and in one batch.
        macs: multiply-accumulates of a Keras model's convolutions and dense layers for one image;
            0 for artifacts.
        parameters: number of weights of a Keras model; 0 for artifacts.
        activations: number of values that a Keras model's layers compute for one image; 0 for
            artifacts.
    """

    version: str
    batch_difference: float
    macs: int = 0
    parameters: int = 0
    activations: int = 0


@dataclass(frozen=True)
class RooflineRequest:
    """Request to measure the roofline of one core.

    Attributes:
        case: the name of the measurement in error messages.
        size: rows and columns of the matrices that are multiplied.
        seconds: duration of each of the measurements.
    """

    case: BenchmarkCase = field(metadata=json_key("row"))
    size: int
    seconds: float


@dataclass(frozen=True)
class Roofline:
    """The roofline of one core: its peak compute and memory rates; 0 if not measured.

    Attributes:
        float32: multiply-accumulates per second in a float32 matrix product.
        int8: multiply-accumulates per second in an int8 matrix product.
        memory: bytes per second, read plus written, in a copy larger than the caches.
    """

    float32: float
    int8: float
    memory: float = 0.0


@dataclass(frozen=True)
class LatencyRequest:
    """Request to time scenarios in one process.

    Attributes:
        case: the artifact, engine, device and threads.
        model: path of the artifact.
        scenarios: some of `SCENARIOS`; none to measure the start-up alone.
        min_seconds: minimum duration of each scenario.
        min_count: minimum number of calls of each scenario.
        batch: batch size of OFFLINE; 0 to search for the fastest.
        images: number of arrays of the scenarios in MANY.
        bare_batch: batch size of MANY_BARE; 0 to search for the fastest.
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
    """The phases of one cold start, from the start of the process to the first prediction.

    Attributes:
        process_ns: from the start of the process until Python runs the first line of the worker.
        import_ns: import of NumPy and the engine.
        load_ns: check and opening of the artifact.
        first_ns: the first prediction.
        peak_bytes: peak resident memory after the first prediction.
    """

    process_ns: Positive
    import_ns: NonNegative
    load_ns: NonNegative
    first_ns: NonNegative
    peak_bytes: NonNegative

    @property
    def total_ns(self) -> int:
        """Time from the start of the process to the end of the first prediction."""
        return self.process_ns + self.import_ns + self.load_ns + self.first_ns


@dataclass(frozen=True)
class TimingSeries:
    """The timed calls of one scenario in one process.

    Attributes:
        scenario: the name of the scenario.
        batch: images per call.
        count: number of calls.
        total_ns: the sum of the durations of all calls.
        slowest_ns: the duration of the slowest call.
        samples_ns: durations of at most `MAX_SAMPLES` calls in the order they were made. The
            series is divided into `MAX_SAMPLES` equal intervals and one call of each is drawn at
            random, which preserves the distribution and any drift.
    """

    scenario: str
    batch: Positive
    count: Positive
    total_ns: Positive
    slowest_ns: Positive
    samples_ns: NonEmpty[Positive]


MAX_SAMPLES = 500  # of a TimingSeries; bounds the size of report.json


@dataclass(frozen=True)
class LatencyResponse:
    """The response to a LatencyRequest.

    Attributes:
        version: the version of the engine.
        start: the cold start of the process.
        series: the timings of the requested scenarios.
        fallback: the part of the model that ran on the CPU instead of the device; empty if none.
    """

    version: str
    start: StartUp
    series: tuple[TimingSeries, ...]
    fallback: str = ""


@dataclass(frozen=True)
class ExplainRequest:
    """Request to trace a float and an int8 artifact of one format layer by layer.

    Attributes:
        case: the int8 artifact and its engine.
        plain: path of the float artifact.
        int8: path of the int8 artifact.
        pixels: path of a .npy file, (N, 28, 28, 1) uint8.
        scores: path of a .npy file with the scores of the Keras reference for these pixels.
    """

    case: BenchmarkCase = field(metadata=json_key("row"))
    plain: str
    int8: str
    pixels: str
    scores: str


@dataclass(frozen=True)
class ErrorSource:
    """One step from Keras to the int8 artifact, and the change of the scores that it causes.

    Attributes:
        name: the step.
        detail: a description of the step.
        max_difference: largest absolute change of a score.
        mean_difference: mean absolute change of the scores.
        flips: number of predictions that change.
    """

    name: str
    detail: str
    max_difference: float
    mean_difference: float
    flips: int


# Operators that compute with weights: the first three are TFLite's, the others ONNX's.
_WEIGHTED_OPERATORS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "Conv", "Gemm", "MatMul")


@dataclass(frozen=True)
class Layer:
    """The int8 output of one operator compared with its float output.

    Attributes:
        name: the name of the layer.
        operator: the type of the operator, as TFLite or ONNX calls it.
        snr_db: signal-to-noise ratio in decibels; None if the two outputs are equal.
        saturation: share of the values at an end of the int8 range, 0 to 1.
        range_used: share of the 256 int8 codes from the lowest to the highest in use, 0 to 1.
        channels: number of channels of the output.
        silent_channels: number of channels that are 0 for every image.
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
        """Whether the operator has weights, as convolutions and dense layers do."""
        return self.operator in _WEIGHTED_OPERATORS


@dataclass(frozen=True)
class LintFinding:
    """The result of one check of an artifact's graph. It is informational: it never fails a run.

    Attributes:
        artifact: the file name of the artifact.
        check: the name of the check.
        fine: whether the check passed.
        detail: a description of the result.
    """

    artifact: str = field(metadata=json_key("artefact"))
    check: str
    fine: bool
    detail: str


@dataclass(frozen=True)
class Explanation:
    """The trace of an int8 artifact: the source of its differences from the Keras reference.

    Attributes:
        n: number of images traced.
        steps: the steps from Keras to the int8 artifact.
        layers: the layers of the int8 artifact, in the order they are computed.
        findings: the checks of the graph.
        artifact: the file name of the int8 artifact.
        engine: the engine that ran it.
    """

    n: int
    steps: tuple[ErrorSource, ...]
    layers: tuple[Layer, ...]
    findings: tuple[LintFinding, ...]
    artifact: str = field(metadata=json_key("artefact"))
    engine: str

    @property
    def worst(self) -> Layer | None:
        """The weighted layer with the largest loss of SNR from the previous weighted layer."""
        weighted = [(layer, layer.snr_db) for layer in self.layers if layer.weighted]
        losses = [
            (before_db - after_db, layer)
            for (_, before_db), (layer, after_db) in itertools.pairwise(weighted)
            if before_db is not None and after_db is not None
        ]
        return max(losses, key=lambda loss: loss[0])[1] if losses else None
