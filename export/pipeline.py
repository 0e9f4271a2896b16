"""Converts a Keras model to an artifact and verifies it in the engine of the device."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from export.verify import Signature, Verification, verify
from runtime.backends import Backend, open_backend
from runtime.errors import ParityError
from runtime.model import artifact
from runtime.model.artifact import Artifact
from runtime.model.spec import (
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

DEFAULT_CALIBRATION = 500  # training images


class ExportTarget(NamedTuple):
    """A format to export to, and the functions that know it."""

    name: str
    suffix: str
    convert: "Callable[[KerasModel, Calibration | None], bytes]"
    describe: Callable[[bytes], Signature]
    quantization: Callable[[bytes], tuple[QuantizationParams, QuantizationParams | None] | None]


def export(
    source: "KerasModel",
    target: ExportTarget,
    data: "DataSet",
    out: Path,
    calibration: "Calibration | None" = None,
    on_verified: Callable[[Verification], None] = lambda _: None,
) -> Artifact:
    """Convert, run against the Keras model through the engine of the device, and keep if it passes.

    Args:
        out: the file to write; what was there stays if the new artifact fails.
        calibration: images to quantize with; without them the artifact is float32.
        on_verified: told the outcome of every check, before a failure is raised.

    Raises:
        ParityError: the artifact does not answer as the Keras model does; nothing is written.
        ArtifactError: a converter or the engine refuses the model.
        EdgeError: `out` cannot be written.
    """
    model, spec, candidate = convert(source, target, out, calibration)
    outcome = verify(
        target.describe(model),
        candidate.scores,
        source.scores(data.test.pixels),
        data.test,
        spec.input_shape,
        spec.precision,
    )
    on_verified(outcome)
    outcome.raise_if_failed(out)
    known = source.artifact.spec.golden
    spec = dataclasses.replace(
        spec,
        metrics=Metrics(
            train_accuracy=_accuracy(candidate, data.train),
            n_train=len(data.train),
            test_accuracy=_accuracy(candidate, data.test),
            n_test=len(data.test),
        ),
        golden=known and GoldenOutputs(known.pixels, candidate.scores(known.pixels)),
    )
    return artifact.write(out, model, spec)


def convert(
    source: "KerasModel", target: ExportTarget, out: Path, calibration: "Calibration | None"
) -> tuple[bytes, ModelSpec, Backend]:
    """Convert a model, and open the result with the engine of the device.

    Returns:
        The bare model; its spec, without golden outputs; the engine that holds it.

    Raises:
        ParityError: the converter ignored the precision.
        ArtifactError: a converter or the engine refuses the model.
    """
    with interrupt.deferred():  # converters call back from C++, where an exception can be lost
        model = target.convert(source, calibration)
    affine = target.quantization(model)
    if (affine is None) != (calibration is None):
        raise ParityError(f"{out} is not written: {target.name}'s converter ignored the precision")
    spec = dataclasses.replace(
        source.artifact.spec,
        precision="float32" if affine is None else "int8",
        quantization=affine and Quantization(*affine, calibration.dataset, calibration.counts),
        source_sha256=source.artifact.spec.digest,
        golden=None,
    )
    return model, spec, open_backend(Artifact(out, model, spec))


def _accuracy(backend: Backend, split: "Split") -> float:
    return float(np.mean(backend.scores(split.pixels).argmax(axis=1) == split.labels))
