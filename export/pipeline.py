"""Exports a Keras model: converts it, verifies the artifact in the device's engine, and writes it.

The device's engine is LiteRT for .tflite and onnxruntime for .onnx. `export.cli` and the notebook
main.ipynb call `export`.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from export.keras_model import served_shapes
from export.verify import Signature, Verification, verify
from runtime.backends import Backend, open_backend
from runtime.errors import ArtifactError, ConversionError, ParityError
from runtime.model import artifact
from runtime.model.artifact import Artifact
from runtime.model.spec import (
    INTERFACE_SCHEMA,
    GoldenOutputs,
    Metrics,
    ModelSpec,
    Quantization,
    QuantizationParams,
)
from runtime.system import interrupt

if TYPE_CHECKING:
    from export.calibration import Calibration
    from export.keras_model import KerasModel
    from train.data.splits import DataSet, Split


class ExportTarget(NamedTuple):
    """A file format and its functions: `export.tflite.TARGET` or `export.onnx.TARGET`.

    Attributes:
        name: name of the format in messages, such as "TFLite".
        suffix: suffix of the file name, such as ".tflite".
        convert: converts a model to the bytes of a file: int8 with calibration images, otherwise
            float32.
        describe: returns the names and shapes of the input and the output of a file's bytes.
        quantization: returns (parameters of the input, parameters of the output) of a file's bytes.
            The second item is None if the output is not quantized. None instead of a tuple if the
            input is not quantized.
        add_metadata: adds the format's own metadata to a file's bytes.
        convert_float16: converts a model to the bytes of a file with float16 weights; None if the
            format has no such files.
    """

    name: str
    suffix: str
    convert: "Callable[[KerasModel, Calibration | None], bytes]"
    describe: Callable[[bytes], Signature]
    quantization: Callable[[bytes], tuple[QuantizationParams, QuantizationParams | None] | None]
    add_metadata: Callable[[bytes, ModelSpec], bytes] = lambda model, _: model
    convert_float16: "Callable[[KerasModel], bytes] | None" = None


def export(
    source: "KerasModel",
    target: ExportTarget,
    data: "DataSet",
    out: Path,
    calibration: "Calibration | None" = None,
    on_verified: Callable[[Verification], None] = lambda _: None,
    float16: bool = False,
) -> Artifact:
    """Convert a model, and write the artifact if its scores match the model's.

    The device's engine runs the artifact on the test images; Keras runs the model.

    Args:
        source: the model to export.
        target: the format to export to.
        data: the data set of the model. The scores of its test images are compared.
        out: the file to write. If the artifact fails a check, an existing file stays unchanged.
        calibration: images for int8 quantization; None exports float32.
        on_verified: called with the results of all checks, also if a check failed.
        float16: export float16 weights; without calibration.

    Returns:
        The written artifact.

    Raises:
        ParityError: the artifact does not match the Keras model, or has another precision than
            requested; nothing is written.
        ConversionError: the converter or the engine does not support the model.
        BackendUnavailable: the device's engine is not installed.
        EdgeError: `out` cannot be written.
    """
    model, spec, candidate = convert(source, target, out, calibration, float16)
    verification = verify(
        target.describe(model),
        candidate.scores,
        source.scores(data.test.pixels),
        data.test,
        served_shapes(source.model),
        spec.precision,
    )
    on_verified(verification)
    verification.raise_if_failed(out)
    golden = source.artifact.spec.golden
    spec = dataclasses.replace(
        spec,
        metrics=Metrics(
            train_accuracy=_accuracy(candidate, data.train),
            n_train=len(data.train),
            test_accuracy=_accuracy(candidate, data.test),
            n_test=len(data.test),
        ),
        golden=golden and GoldenOutputs(golden.pixels, candidate.scores(golden.pixels)),
    )
    return artifact.write(out, model, spec)


def convert(
    source: "KerasModel",
    target: ExportTarget,
    out: Path,
    calibration: "Calibration | None",
    float16: bool = False,
) -> tuple[bytes, ModelSpec, Backend]:
    """Convert a model, and open the result with the engine of the device.

    Args:
        source: the model to convert.
        target: the format to convert to.
        out: the path of the artifact; it is not written.
        calibration: images for int8 quantization; None converts to float32 or float16.
        float16: convert to float16 weights.

    Returns:
        The bytes of the bare model; its spec, without golden outputs; the engine that opened it.

    Raises:
        ParityError: the converter ignored the requested precision.
        ConversionError: the converter or the engine does not support the model, or the format.
        BackendUnavailable: the device's engine is not installed.
    """
    if float16 and target.convert_float16 is None:
        raise ConversionError(f"{target.name} artifacts are float32 or int8, not float16")
    with interrupt.deferred():  # converters call Python from C++, which can lose an exception
        if float16 and target.convert_float16 is not None:
            model = target.convert_float16(source)
        else:
            model = target.convert(source, calibration)
    params = target.quantization(model)
    if (params is None) != (calibration is None):
        raise ParityError(
            f"{out} is not written: the {target.name} converter ignored the requested precision; "
            "convert with the pinned versions of the libraries"
        )
    quantization = None
    if params is not None and calibration is not None:
        quantization = Quantization(*params, calibration.dataset, calibration.counts)
    spec = dataclasses.replace(
        source.artifact.spec,
        precision="int8" if quantization is not None else "float16" if float16 else "float32",
        quantization=quantization,
        source_sha256=source.artifact.spec.digest,
        golden=None,
    )
    if float16:
        spec = dataclasses.replace(spec, schema_version=INTERFACE_SCHEMA)
    has_int8_input = calibration is not None and not calibration.has_float_io
    if spec.interface is not None and has_int8_input and target.suffix == ".tflite":
        spec = dataclasses.replace(
            spec, interface=dataclasses.replace(spec.interface, dtype="int8")
        )
    model = target.add_metadata(model, spec)
    try:
        return model, spec, open_backend(Artifact(out, model, spec))
    except ArtifactError as error:
        raise ConversionError(str(error)) from error


def _accuracy(backend: Backend, split: "Split") -> float:
    return float(np.mean(backend.scores(split.pixels).argmax(axis=1) == split.labels))
