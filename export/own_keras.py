"""Makes the spec of a model made with other tools, and opens such a Keras model for export.

`export.spec` writes the spec into a file; `export.cli` exports a Keras model without a spec.
"""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from export.find_interface import Examples, Found, Options, find, golden_pixels, photo_form
from export.keras_model import HDF5_SUFFIXES, KerasModel, check_keras_file, load_keras, tensors
from runtime.backends import Pixels, Scores
from runtime.backends.checks import is_pixel_minus_128
from runtime.backends.codec import Tensor
from runtime.errors import printable
from runtime.model import artifact
from runtime.model.artifact import Artifact
from runtime.model.interface import Interface
from runtime.model.spec import (
    INTERFACE_SCHEMA,
    SCHEMA_VERSION,
    Dataset,
    GoldenOutputs,
    ModelSpec,
)
from runtime.preprocess.form import MNIST_FORM, PHOTO, Form
from train.save import to_bytes

if TYPE_CHECKING:
    import keras

# Name and digest of the training data and the calibration data, for the spec of such a model.
UNKNOWN = Dataset("unknown", "")
# Largest factor of a Keras Rescaling layer that takes pixels from 0 to 255.
_MAX_PIXEL_FACTOR = 0.02


def open_bare_keras(
    path: Path,
    labels: tuple[str, ...],
    options: Options | None = None,
    examples: Examples | None = None,
    on_found: Callable[[Found], None] = lambda _: None,
) -> KerasModel:
    """Open a Keras model without a spec, and make its spec; no file is written.

    The arguments are those of `export.spec.add_spec`.

    Raises:
        ArtifactError: as `export.spec.add_spec`.
    """
    data, model = _load_bare(path)
    source, result = tensors(path, model)
    form = MNIST_FORM if options is None else options.form
    spec = base_spec(path, labels, form)

    def run(interface: Interface, pixels: Pixels) -> Scores:
        reading = Artifact(path, data, dataclasses.replace(spec, interface=interface))
        return KerasModel(reading, model).scores(pixels)

    found = find(str(path), source, result, labels, run, options, examples, _pixel_scale(model))
    on_found(found)
    spec = with_interface(spec, found.interface, source, result, ".keras")
    pixels = golden_pixels(form)
    scores = KerasModel(Artifact(path, data, spec), model).scores(pixels)
    spec = dataclasses.replace(spec, golden=GoldenOutputs(pixels, scores))
    return KerasModel(Artifact(path, data, spec), model)


def form_of_keras(path: Path, name: str | None) -> Form:
    """Return the form of a Keras model without a spec.

    Args:
        path: the model's file.
        name: the value of --form.

    Raises:
        ArtifactError: Keras cannot open the model, or it takes no images.
    """
    if name != PHOTO:
        return MNIST_FORM
    return photo_form(str(path), *tensors(path, _load_bare(path)[1]))


def _load_bare(path: Path) -> tuple[bytes, "keras.Model"]:
    """Return the bytes of a `.keras` file of a model without a spec, and the model."""
    check_keras_file(path)
    if path.suffix in HDF5_SUFFIXES:
        model = load_keras(path, path.read_bytes())
        return to_bytes(model), model
    data = artifact.read_bare(path)
    return data, load_keras(path, data)


def base_spec(path: Path, labels: tuple[str, ...], form: Form = MNIST_FORM) -> ModelSpec:
    """Return the spec of a float32 model without an interface and golden outputs."""
    return ModelSpec(
        name=path.stem,
        labels=labels,
        input_shape=form.shape,
        precision="float32",
        temperature=1.0,
        confidence_threshold=0.0,
        source_sha256="",
        dataset=UNKNOWN,
        metrics=None,
        golden=None,
        provenance=(("made", "elsewhere"),),
        form=form.name,
    )


def with_interface(
    spec: ModelSpec, interface: Interface, source: Tensor, result: Tensor, suffix: str
) -> ModelSpec:
    """Return the spec with the interface, or without it if it is that of this project's models.

    Args:
        spec: the spec without an interface.
        interface: the interface that was found.
        source: the model's input.
        result: the model's output.
        suffix: of the model's file, such as `.tflite`.
    """
    shape = spec.pixel_form.shape
    own = Interface((None, *shape), shape)
    int8 = dataclasses.replace(own, dtype="int8")
    # An int8 .tflite file of this project has an int8 input, an int8 .onnx file a float one.
    is_float = interface == own and (spec.precision != "int8" or suffix != ".tflite")
    is_own = result.dtype in ("float32", source.dtype) and (
        is_float or (interface == int8 and is_pixel_minus_128(source.quantization))
    )
    if is_own and result.shape[-1] != 1:
        return dataclasses.replace(spec, interface=None, schema_version=SCHEMA_VERSION)
    return dataclasses.replace(spec, interface=interface, schema_version=INTERFACE_SCHEMA)


def print_found(path: Path, found: Found) -> None:
    """Print the interface that was found, and on stderr why it is doubtful."""
    print(printable(f"{path}: {found.note}"))
    if found.warning:
        sys.stdout.flush()
        print("warning:", printable(found.warning), file=sys.stderr)


def _pixel_scale(model: "keras.Model") -> float | None:
    """Return 255 if the model begins with a Rescaling layer for pixels from 0 to 255."""
    import keras

    for layer in model.layers[:3]:
        if isinstance(layer, keras.layers.Rescaling):
            factor = layer.scale
            if isinstance(factor, int | float) and 0 < abs(factor) <= _MAX_PIXEL_FACTOR:
                return 255.0
    return None
