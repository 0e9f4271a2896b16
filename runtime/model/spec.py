"""ModelSpec: what a model file says of itself."""

import base64
import dataclasses
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.errors import ArtifactError
from runtime.model.rejection import RejectionModel

SCHEMA_VERSION = 1
# What reading a text raises that is no spec; an infinite number is an OverflowError.
_MALFORMED = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)


@dataclass(frozen=True)
class Dataset:
    """A data set's name and the SHA-256 of its content."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Metrics:
    """Accuracies from 0 to 1 of this very model, on `n_train` and `n_test` images."""

    train_accuracy: float
    n_train: int
    test_accuracy: float
    n_test: int


@dataclass(frozen=True)
class QuantizationParams:
    """real value = scale × (quantized value − zero_point)."""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class Quantization:
    """How an int8 model's input and output are quantized, and on what that was calibrated.

    `output` is None where the scores are float: their softmax is not quantized.
    `calibration_counts` says how many of the images were of each label; files made before it, or
    elsewhere, leave it empty.
    """

    input: QuantizationParams
    output: QuantizationParams | None
    calibration: Dataset
    calibration_counts: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class GoldenOutputs:
    """Known answers: pixels (N, 28, 28, 1) uint8 and the scores (N, classes) float32 they gave.

    Of a sequence model: (N, 32, width, 1) and the logits (N, columns, classes).
    """

    pixels: npt.NDArray[np.uint8]
    scores: npt.NDArray[np.float32]


# Kinds of models.
CLASSES = "classes"  # an image of a fixed size → one softmax
SEQUENCE = "sequence"  # a line of any width → the logits of each of its columns, for CTC

# Names of fields that were changed since files with these keys were published.
_JSON_KEYS = {"confidence_threshold": "accept_confidence", "rejection_model": "acceptance"}


@dataclass(frozen=True)
class ModelSpec:
    """What a model file says of itself.

    Attributes:
        name: the model's name.
        labels: one per class, in the order of the scores.
        input_shape: of one image, (28, 28, 1); of a line of a sequence model, (32, None, 1).
        precision: "float32" or "int8".
        quantization: for int8 models.
        temperature: what the logits were divided by; it is folded into the last layer already.
        confidence_threshold: a prediction with a lower confidence is rejected, unless there is a
            rejection model, which decides instead.
        source_sha256: SHA-256 of the Keras file this was exported from; empty for that file itself.
        dataset: what it was trained on.
        metrics: what it reached.
        provenance: how it was made, (key, text) pairs: recipe, seed, versions.
        rejection_model: the rejection model, of models of the ten digits alone.
        golden: inputs and the answers this very artifact gave when it was made.
        kind: `CLASSES` or `SEQUENCE`. The last label of a sequence model is CTC's blank.
        digest: SHA-256 of the file, filled in by `artifact.read`.
    """

    name: str
    labels: tuple[str, ...]
    input_shape: tuple[int | None, ...]
    precision: str
    temperature: float
    confidence_threshold: float
    source_sha256: str
    dataset: Dataset
    metrics: Metrics | None
    golden: GoldenOutputs | None
    quantization: Quantization | None = None
    provenance: tuple[tuple[str, str], ...] = ()
    rejection_model: RejectionModel | None = None
    kind: str = CLASSES
    schema_version: int = SCHEMA_VERSION
    digest: str = field(default="", compare=False)

    @property
    def fixed_shape(self) -> tuple[int, ...]:
        """The sizes of `input_shape` that are not free: all of them, except for lines."""
        return tuple(size for size in self.input_shape if size is not None)

    def to_json(self) -> str:
        """JSON text, without the digest; arrays as base64 (pixels) and numbers (scores)."""
        values = dataclasses.asdict(self)
        record = {_JSON_KEYS.get(name, name): value for name, value in values.items()}
        del record["digest"]
        if self.kind == CLASSES:
            del record["kind"]
        if self.golden is not None:
            record["golden"] = {
                "pixels": base64.b64encode(self.golden.pixels.tobytes()).decode(),
                # repr of a float32's double is exact both ways.
                "scores": self.golden.scores.tolist(),
            }
        record["provenance"] = dict(self.provenance)
        if self.rejection_model is not None:
            record["acceptance"] = self.rejection_model.to_record()
        return json.dumps(record, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes, digest: str = "") -> "ModelSpec":
        """The inverse of `to_json`.

        Raises:
            ArtifactError: the text is no spec, or one of a newer schema.
        """
        try:
            record = json.loads(text)
            version = record["schema_version"]
            if version > SCHEMA_VERSION:
                raise ArtifactError(
                    f"its spec has schema {version}, this program reads up to {SCHEMA_VERSION}: "
                    "upgrade digit-edge"
                )
            with np.errstate(over="ignore"):  # what float32 cannot hold is refused below
                spec = _from_record(record, digest)
        except _MALFORMED as error:
            raise ArtifactError(
                f"its spec cannot be read ({error!r}): export the model again"
            ) from error
        check(spec)
        return spec


def _from_record(record: dict[str, Any], digest: str) -> ModelSpec:
    if not isinstance(record["labels"], list):
        raise TypeError("its labels are no list")
    labels = tuple(record["labels"])
    shape = tuple(None if n is None else int(n) for n in record["input_shape"])
    golden = quantization = metrics = None
    if record["golden"] is not None:
        pixels = np.frombuffer(base64.b64decode(record["golden"]["pixels"]), np.uint8)
        scores = np.array(record["golden"]["scores"], np.float32)
        if None in shape:
            sizes = [-1 if n is None else n for n in shape]
            golden = GoldenOutputs(pixels.reshape(len(scores), *sizes), scores)
        else:
            golden = GoldenOutputs(pixels.reshape(-1, *shape), scores.reshape(-1, len(labels)))
    if record["metrics"] is not None:
        metrics = Metrics(**record["metrics"])
    if record["quantization"] is not None:
        output = record["quantization"]["output"]
        quantization = Quantization(
            input=QuantizationParams(**record["quantization"]["input"]),
            output=None if output is None else QuantizationParams(**output),
            calibration=Dataset(**record["quantization"]["calibration"]),
            calibration_counts=tuple(record["quantization"].get("calibration_counts", ())),
        )
    rejection_model = record.get("acceptance")
    return ModelSpec(
        name=record["name"],
        labels=labels,
        input_shape=shape,
        precision=record["precision"],
        temperature=float(record["temperature"]),
        confidence_threshold=float(record["accept_confidence"]),
        source_sha256=record["source_sha256"],
        dataset=Dataset(**record["dataset"]),
        metrics=metrics,
        golden=golden,
        quantization=quantization,
        provenance=tuple((str(k), str(v)) for k, v in record["provenance"].items()),
        rejection_model=None
        if rejection_model is None
        else RejectionModel.from_record(rejection_model),
        kind=record.get("kind", CLASSES),
        schema_version=int(record["schema_version"]),
        digest=digest,
    )


def check(spec: ModelSpec) -> None:
    """Raise ArtifactError if a spec contradicts itself."""
    for key, text in _texts(spec):
        if not isinstance(text, str):
            raise ArtifactError(f"its {key} {text!r} is no text: export it again")
        if not _is_utf8(text):
            raise ArtifactError(f"its {key} {text!a} is not UTF-8: export it again")
    for key, number in _numbers(spec):
        if not _is_finite(number):
            raise ArtifactError(f"its {key} {number!r} is no finite number: export it again")
    labels = spec.labels
    if len(labels) < 2:
        raise ArtifactError("its spec names fewer than two labels: export it again")
    if len(set(labels)) < len(labels) or not all(label.isprintable() and label for label in labels):
        raise ArtifactError("its labels are not distinct, printable and non-empty: mend the labels")
    if spec.precision not in ("float32", "int8"):
        raise ArtifactError(f"its precision {spec.precision!r} is neither float32 nor int8")
    if spec.kind not in (CLASSES, SEQUENCE):
        raise ArtifactError(f"its kind {spec.kind!r} is unknown: upgrade digit-edge")
    if spec.input_shape.count(None) != (spec.kind == SEQUENCE):
        raise ArtifactError(f"its input shape {spec.input_shape} is not of a {spec.kind} model")
    if spec.quantization is not None:
        counts = spec.quantization.calibration_counts
        if counts and (len(counts) != len(labels) or not all(isinstance(n, int) for n in counts)):
            raise ArtifactError("its calibration counts are not one a label: export it again")
    if spec.golden is not None and len(spec.golden.pixels) != len(spec.golden.scores):
        raise ArtifactError("its golden inputs and scores are not as many: export it again")
    if spec.golden is not None and spec.golden.scores.shape[-1:] != (len(labels),):
        raise ArtifactError("its golden scores are not one a label: export it again")
    if spec.golden is not None and not np.isfinite(spec.golden.scores).all():
        raise ArtifactError("its golden scores are not all finite: train or export it again")


def _texts(spec: ModelSpec) -> Iterator[tuple[str, object]]:
    """What of a spec is text and checked nowhere else, and what a message calls it."""
    yield "name", spec.name
    yield "source_sha256", spec.source_sha256
    for label in spec.labels:
        yield "label", label
    yield "dataset's name", spec.dataset.name
    yield "dataset's sha256", spec.dataset.sha256
    if spec.quantization is not None:
        yield "calibration's name", spec.quantization.calibration.name
        yield "calibration's sha256", spec.quantization.calibration.sha256
    for key, text in spec.provenance:
        yield "provenance", key
        yield "provenance", text


def _numbers(spec: ModelSpec) -> Iterator[tuple[str, object]]:
    """What of a spec is one number, and what a message calls it."""
    yield "temperature", spec.temperature
    yield "accept_confidence", spec.confidence_threshold
    if spec.metrics is not None:
        yield from dataclasses.asdict(spec.metrics).items()
    if spec.quantization is not None:
        for name in ("input", "output"):
            params = getattr(spec.quantization, name)
            if params is not None:
                yield f"{name}'s scale", params.scale
                yield f"{name}'s zero_point", params.zero_point


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def _is_finite(number: object) -> bool:
    # Not math.isfinite, which raises an OverflowError at a long integer.
    return isinstance(number, int | float) and -math.inf < number < math.inf
