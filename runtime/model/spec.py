"""`ModelSpec`: the metadata that an artifact (a model file of this project) contains.

The spec describes labels, input shape, quantization, data set, metrics, golden outputs and the
rejection model. `train` and `export` create specs. `runtime.model.artifact` writes a spec as JSON
into a model file and reads it. The engines in `runtime.backends` compare a model with its spec.
"""

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
from runtime.model.interface import Interface
from runtime.model.rejection import RejectionModel
from runtime.preprocess.form import FORMS, INK, MAX_SIDE_PX, MNIST_FORM, PHOTO, Form

SCHEMA_VERSION = 1  # version of the JSON format
INTERFACE_SCHEMA = 2  # version of a spec with an interface or float16, which older programs reject
FORM_SCHEMA = 3  # version of a spec with another form than 28x28 ink, which older programs reject
MAX_SCHEMA_VERSION = FORM_SCHEMA  # specs with a higher version are rejected
PRECISIONS = ("float32", "float16", "int8")
# Exceptions of parsing a text that is not a spec; `from_json` converts them to ArtifactError.
_MALFORMED = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,  # of an infinite number
    RecursionError,
)


@dataclass(frozen=True)
class Dataset:
    """A data set.

    Attributes:
        name: for example "mnist".
        sha256: SHA-256 of the content, in hex.
    """

    name: str
    sha256: str


@dataclass(frozen=True)
class Metrics:
    """Accuracies of the model.

    Attributes:
        train_accuracy: share of correct predictions, 0 to 1, on training images.
        n_train: number of training images.
        test_accuracy: share of correct predictions, 0 to 1, on test images.
        n_test: number of test images.
    """

    train_accuracy: float
    n_train: int
    test_accuracy: float
    n_test: int


@dataclass(frozen=True)
class QuantizationParams:
    """Affine quantization: real value = scale × (quantized value − zero_point)."""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class Quantization:
    """The quantization of an int8 model.

    Attributes:
        input: quantization of the pixels.
        output: quantization of the scores; None if the model returns float scores.
        calibration: the data set from which the scales were derived.
        calibration_counts: number of calibration images of each label; empty in older files and in
            models made with other tools.
    """

    input: QuantizationParams
    output: QuantizationParams | None
    calibration: Dataset
    calibration_counts: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class GoldenOutputs:
    """Golden inputs, and the scores that an engine must reproduce for these inputs.

    Attributes:
        pixels: (N, 28, 28, 1) uint8; of a sequence model, (N, 32, width, 1).
        scores: (N, classes) float32, the scores that the artifact returned at export; of a sequence
            model, the logits (N, columns, classes).
    """

    pixels: npt.NDArray[np.uint8]
    scores: npt.NDArray[np.float32]


# Kinds of models.
CLASSES = "classes"  # an image of a fixed size → one softmax
SEQUENCE = "sequence"  # a line of any width → the logits of each of its columns, for CTC

_MAX_SCORE = 1.05  # a quantized probability may exceed 1 by a few steps
_EXPORT = "export the model again"  # the remedy in error messages

# Field → JSON key, for fields that were renamed after the first files were published. The files
# keep the old keys.
_JSON_KEYS = {"confidence_threshold": "accept_confidence", "rejection_model": "acceptance"}


@dataclass(frozen=True)
class ModelSpec:
    """The metadata of a model file.

    Attributes:
        name: the model's name.
        labels: names of the classes, in the order of the scores; at least two, all different.
        input_shape: shape of one image, (28, 28, 1); of a line of a sequence model, (32, None, 1).
        precision: number format of the weights, one of `PRECISIONS`.
        temperature: the divisor of the logits (temperature scaling). The weights of the model's
            last layer are already divided by this number.
        confidence_threshold: a prediction with a lower confidence, 0 to 1, is rejected. Not used if
            there is a rejection model.
        source_sha256: SHA-256 of the Keras file that was exported; empty for a Keras file.
        dataset: the training data.
        metrics: the accuracies of this model; None if they are unknown.
        golden: golden inputs and outputs; None if the file has none.
        quantization: scales and zero points of an int8 model; None for a float32 model.
        provenance: (key, text) pairs: recipe, seed, versions.
        rejection_model: decides which images are not digits; None if the model was not trained by
            this project, or has other classes than the ten digits.
        kind: `CLASSES` or `SEQUENCE`. The last label of a sequence model is CTC's blank.
        interface: input and output of a model that other tools made; None if they are those of the
            models of this project.
        form: how images become the model's pixels, one of `runtime.preprocess.form.FORMS`. Specs
            without this field take ink.
        schema_version: version of the JSON format, at most `MAX_SCHEMA_VERSION`. `to_json` writes
            at least the version that the form needs.
        digest: SHA-256 of the file in hex, set by `artifact.read`; empty before.
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
    interface: Interface | None = None
    form: str = INK
    schema_version: int = SCHEMA_VERSION
    digest: str = field(default="", compare=False)

    @property
    def fixed_shape(self) -> tuple[int, ...]:
        """The sizes of `input_shape` that are not free: all of them, except for lines."""
        return tuple(size for size in self.input_shape if size is not None)

    @property
    def pixel_form(self) -> Form:
        """The form of the pixels of a model of kind `CLASSES`."""
        height, width, channels = self.fixed_shape
        return Form(self.form, (height, width, channels))

    def to_json(self) -> str:
        """Return the spec without the digest as a JSON object; golden pixels are base64."""
        values = dataclasses.asdict(self)
        record = {_JSON_KEYS.get(name, name): value for name, value in values.items()}
        del record["digest"]
        if self.kind == CLASSES:
            del record["kind"]
        if self.interface is None:
            del record["interface"]
        if self.kind == CLASSES and self.pixel_form != MNIST_FORM:
            record["schema_version"] = max(self.schema_version, FORM_SCHEMA)
        else:
            del record["form"]
        if self.golden is not None:
            record["golden"] = {
                "pixels": base64.b64encode(self.golden.pixels.tobytes()).decode(),
                # JSON writes a float32 with the digits of a double, so reading returns it exactly.
                "scores": self.golden.scores.tolist(),
            }
        record["provenance"] = dict(self.provenance)
        if self.rejection_model is not None:
            record["acceptance"] = self.rejection_model.to_record()
        return json.dumps(record, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes, digest: str = "") -> "ModelSpec":
        """Parse and check a spec.

        Args:
            text: the result of `to_json`.
            digest: SHA-256 of the file that contains the text.

        Raises:
            ArtifactError: the text is not a spec, contradicts itself, or has a newer schema.
        """
        try:
            record = json.loads(text)
            version = record["schema_version"]
            if version > MAX_SCHEMA_VERSION:
                raise ArtifactError(
                    f"the model's spec has schema {version}, but this program reads schemas up to "
                    f"{MAX_SCHEMA_VERSION}: upgrade digit-edge"
                )
            with np.errstate(over="ignore"):  # `check` rejects numbers beyond float32
                spec = _from_record(record, digest)
        except _MALFORMED as error:
            raise ArtifactError(
                f"the model's spec cannot be read ({error!r}): export the model again"
            ) from error
        check(spec)
        return spec


def _from_record(record: dict[str, Any], digest: str) -> ModelSpec:
    if not isinstance(record["labels"], list):
        raise TypeError("labels are not a list")
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
    rejection_model, interface = record.get("acceptance"), record.get("interface")
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
        interface=None if interface is None else Interface.from_record(interface),
        form=record.get("form", INK),
        schema_version=int(record["schema_version"]),
        digest=digest,
    )


def check(spec: ModelSpec) -> None:
    """Check a spec.

    Raises:
        ArtifactError: a field has an invalid value, or two fields contradict each other.
    """
    for key, text in _texts(spec):
        if not isinstance(text, str):
            raise ArtifactError(f"the model's {key} {text!r} is not a text: {_EXPORT}")
        if not _is_utf8(text):
            raise ArtifactError(f"the model's {key} {text!a} is not UTF-8: {_EXPORT}")
    for key, number in _numbers(spec):
        if not _is_finite(number):
            raise ArtifactError(f"the model's {key} {number!r} is not a finite number: {_EXPORT}")
    labels = spec.labels
    if len(labels) < 2:
        raise ArtifactError(f"the model's spec has fewer than two labels: {_EXPORT}")
    if len(set(labels)) < len(labels) or not all(label.isprintable() and label for label in labels):
        raise ArtifactError(
            "the model's labels are not distinct, printable and non-empty: correct the labels"
        )
    if spec.precision not in PRECISIONS:
        raise ArtifactError(
            f"the model's precision {spec.precision!r} is none of {', '.join(PRECISIONS)}: "
            f"{_EXPORT}"
        )
    if spec.kind not in (CLASSES, SEQUENCE):
        raise ArtifactError(f"the model's kind {spec.kind!r} is unknown: upgrade digit-edge")
    if spec.input_shape.count(None) != (spec.kind == SEQUENCE):
        raise ArtifactError(
            f"the input shape {spec.input_shape} is not that of a {spec.kind} model: {_EXPORT}"
        )
    if spec.kind == CLASSES:
        _check_form(spec)
    if spec.interface is not None:
        spec.interface.check()
    if spec.quantization is not None:
        counts = spec.quantization.calibration_counts
        if counts and (len(counts) != len(labels) or not all(isinstance(n, int) for n in counts)):
            raise ArtifactError(f"the spec needs one calibration count for each label: {_EXPORT}")
    if spec.golden is not None and len(spec.golden.pixels) != len(spec.golden.scores):
        raise ArtifactError(
            f"the number of golden inputs ({len(spec.golden.pixels)}) and golden scores "
            f"({len(spec.golden.scores)}) differs: {_EXPORT}"
        )
    if spec.golden is not None and spec.golden.scores.shape[-1:] != (len(labels),):
        raise ArtifactError(f"the golden outputs need one score for each label: {_EXPORT}")
    if spec.golden is not None and not np.isfinite(spec.golden.scores).all():
        raise ArtifactError(
            "a golden score of the model is not finite: train or export the model again"
        )
    if (
        spec.golden is not None
        and spec.kind == CLASSES
        and not ((spec.golden.scores >= 0) & (spec.golden.scores <= _MAX_SCORE)).all()
    ):
        raise ArtifactError(
            "the model's golden scores are not probabilities, so it does not end in a softmax: run "
            "digit-edge export-spec on the file again"
        )


def _check_form(spec: ModelSpec) -> None:
    """Raise ArtifactError if the form is unknown, or the input shape is not one of the form."""
    if spec.form not in FORMS:
        raise ArtifactError(
            f"the model's form {spec.form!r} is none of {', '.join(FORMS)}: upgrade digit-edge"
        )
    shape = spec.input_shape
    channels = (1, 3) if spec.form == PHOTO else (1,)
    if (
        len(shape) != 3
        or not all(1 <= (side or 0) <= MAX_SIDE_PX for side in shape[:2])
        or shape[2] not in channels
    ):
        raise ArtifactError(
            f"the input shape {shape} is not that of an image of the form {spec.form}: at most "
            f"{MAX_SIDE_PX} pixels a side and {' or '.join(map(str, channels))} channels: {_EXPORT}"
        )


def _texts(spec: ModelSpec) -> Iterator[tuple[str, object]]:
    """Yield (name for messages, value) of the fields that must be texts."""
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
    """Yield (name for messages, value) of the fields that must be finite numbers."""
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
    # math.isfinite would raise OverflowError for a long integer.
    return isinstance(number, int | float) and -math.inf < number < math.inf
