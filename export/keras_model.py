"""Opens the Keras model to export, computes its scores, and prepares it for converters.

`export.cli` opens the artifact; `export.tflite` and `export.onnx` convert the model.
`export.pipeline` compares the result with the scores that Keras computes. The benchmarks also use
this module.
"""

import math
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from runtime.backends import Pixels, Scores
from runtime.backends.codec import Array, Codec, Tensor
from runtime.errors import ArtifactError, first_line, plural
from runtime.model import artifact
from runtime.model.artifact import Artifact
from runtime.model.spec import SEQUENCE
from runtime.system import atomic_write, interrupt
from train.keras_import import keras_import

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

INPUT_NAME = "pixels"  # name of the exported model's input; another name fails the verification
OUTPUT_NAME = "scores"  # name of the exported model's output; another name fails the verification
HDF5_SUFFIXES = (".h5", ".hdf5")  # Keras's format before `.keras`
_BATCH_SIZE = 500  # images that Keras predicts at once; more images are predicted in batches

# The exceptions that Keras, h5py and zipfile raise for a model that they cannot open; each becomes
# an ArtifactError.
_LOAD_ERRORS = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    ImportError,
    OSError,
    RuntimeError,  # zipfile: the archive is encrypted or has an unknown version of the zip format
    zipfile.BadZipFile,
)
# The exceptions of Keras and of the converters for a layer that they do not support.
CONVERSION_ERRORS = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    ImportError,
    OSError,
    RuntimeError,
)


@dataclass(frozen=True)
class KerasModel:
    """A trained model.

    Attributes:
        artifact: the `.keras` file and its spec.
        model: the Keras model built from it.
    """

    artifact: Artifact
    model: "keras.Model"

    def scores(self, pixels: Pixels) -> Scores:
        """Return the softmax scores, float32 (N, classes), of pixels uint8 (N, 28, 28, 1).

        Of a sequence model: the logits, (N, columns, classes), of pixels (N, 32, width, 1).
        """
        spec = self.artifact.spec
        if spec.interface is None:
            scores = scores_of(self.model, pixels)
            return scores[:, 0] if spec.kind == SEQUENCE else scores
        codec = self._codec()
        size = codec.batch or _BATCH_SIZE
        return np.concatenate(
            [
                codec.decode(self._predict(codec.encode(batch)), len(batch))
                for batch in (pixels[n : n + size] for n in range(0, len(pixels), size))
            ]
        )

    def encode(self, pixels: Pixels) -> Array:
        """Return the model's input for pixels uint8 (N, 28, 28, 1)."""
        if self.artifact.spec.interface is None:
            return np.divide(pixels, 255, dtype=np.float32)
        return self._codec().encode(pixels)

    def _codec(self) -> Codec:
        source, result = tensors(self.artifact.path, self.model)
        return Codec(self.artifact, [source], [result])

    def _predict(self, inputs: Array) -> Array:
        try:
            return np.asarray(self.model.predict_on_batch(inputs))
        except _LOAD_ERRORS as error:
            raise ArtifactError(
                f"Keras cannot run {self.artifact.path} with {plural(len(inputs), 'image')} "
                f"({first_line(error)}): use a model of one image with a free batch"
            ) from error


def tensors(path: Path, model: "keras.Model") -> tuple[Tensor, Tensor]:
    """Return the input and the output of a Keras model.

    Raises:
        ArtifactError: the model does not have one input and one output, or was never built.
    """
    # A model with several inputs has a list of shapes, and a model that was not built has none.
    shapes = [getattr(model, f"{name}_shape", None) for name in ("input", "output")]
    if not all(isinstance(shape, tuple) for shape in shapes):
        raise ArtifactError(
            f"{path} has input shape {shapes[0]} and output shape {shapes[1]}: use a model that "
            "takes one image and returns one list of scores, and call it once before saving"
        )
    source, result = model.inputs[0], model.outputs[0]
    return Tensor(tuple(shapes[0] or ()), source.dtype), Tensor(
        tuple(shapes[1] or ()), result.dtype
    )


def open_source(path: str | os.PathLike[str]) -> KerasModel:
    """Open a `.keras` artifact: read its spec, and build the Keras model.

    Args:
        path: the file that `digit-edge train` or `digit-edge export-spec` wrote.

    Raises:
        ArtifactError: the file is missing or damaged, has another suffix, or has no spec; or Keras
            cannot build the model.
    """
    path = Path(path)
    check_keras_file(path)
    opened = artifact.read(path)
    return KerasModel(opened, load_keras(path, opened.data))


def check_keras_file(path: Path) -> None:
    """Check that a file to export exists, and its suffix.

    Raises:
        ArtifactError: the file does not exist, or does not have a format that Keras opens.
    """
    if path.suffix not in (".keras", *HDF5_SUFFIXES):
        remedy = artifact.remedy(path) or "pass the .keras file that digit-edge train wrote"
        raise ArtifactError(f"{path} is not a .keras file: {remedy}")
    if not path.exists():
        raise ArtifactError(
            f"cannot read the model {path}: it does not exist; check the path, or make a model "
            "with digit-edge train"
        )


def load_keras(path: Path, data: bytes) -> "keras.Model":
    """Build the model in a `.keras` or HDF5 file, which need not have a spec.

    Args:
        path: name of the file, for messages.
        data: the content of the file. Keras reads a copy of it, so the model is the one whose
            digest was checked, even if the file has changed since then.

    Raises:
        ArtifactError: Keras cannot build the model.
    """
    with keras_import():
        import keras
    try:
        # Defer Ctrl-C, as an exception inside Keras would leave its temporary files behind.
        with interrupt.deferred(), atomic_write.temporary_folder() as folder:
            copy = folder / f"model{path.suffix}"
            copy.write_bytes(data)
            return keras.saving.load_model(copy, compile=False)
    except _LOAD_ERRORS as error:
        raise ArtifactError(
            f"Keras cannot open {path} ({first_line(error)}): {_load_remedy(error)}"
        ) from error


def _load_remedy(error: BaseException) -> str:
    text = str(error)
    if "ambda" in text:
        return "replace the Lambda layers by layers of Keras, and save the model again"
    if "custom" in text or "registered" in text:
        return (
            "it has a layer of its own: replace it by layers of Keras, or convert the model to "
            ".tflite or .onnx in the program that defines the layer"
        )
    return (
        "copy the file again; if an older Keras made it, save it again there with "
        'model.save("m.keras")'
    )


def scores_of(model: "keras.Model", pixels: Pixels) -> Scores:
    """Return a Keras model's softmax scores, float32 (N, classes).

    Args:
        model: a model whose input is float32 (N, 28, 28, 1) from 0 to 1.
        pixels: uint8 (N, 28, 28, 1), with N at least 1.
    """
    scaled = np.divide(pixels, 255, dtype=np.float32)
    return np.asarray(model.predict(scaled, batch_size=_BATCH_SIZE, verbose=0))


def served_shapes(model: "keras.Model") -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
    """Return the shapes of the input and the output of `serving_function`."""
    output = tuple(model.output_shape)
    return tuple(model.input_shape), output[:1] + output[2:] if len(output) == 4 else output


def serving_function(model: "keras.Model") -> "tf.types.experimental.GenericFunction":
    """Convert a model to a TensorFlow function that the converters read.

    Keras's Flatten layer is replaced by a reshape to the constant shape [-1, n]. Flatten would
    compute its output shape at run time (SHAPE, STRIDED_SLICE, PACK). These operators would split
    the TFLite graph in two for XNNPACK, LiteRT's library of fast kernels. The reshape keeps the
    graph whole and allows any batch size.

    Args:
        model: the Keras model; it is not modified.

    Returns:
        A function. The argument `pixels` is the model's input; of a model of this project, float32
        (batch, 28, 28, 1) from 0 to 1. The function returns {"scores": (batch, classes)}. Of a
        sequence model, the argument is (batch, 32, width, 1), and the scores are (batch, columns,
        classes).
    """
    import keras
    import tensorflow as tf

    class Reshape(keras.layers.Layer):  # type: ignore[misc]  # Keras has no type stubs
        def call(self, features: tf.Tensor) -> tf.Tensor:
            return tf.reshape(features, [-1, math.prod(features.shape[1:])])

    try:
        clone = keras.models.clone_model(
            model,
            clone_function=lambda layer: (
                Reshape(name=layer.name)
                if isinstance(layer, keras.layers.Flatten)
                else layer.__class__.from_config(layer.get_config())
            ),
        )
        clone.set_weights(model.get_weights())
    except CONVERSION_ERRORS:  # Keras cannot copy a subclassed model
        clone = model
    signature = [tf.TensorSpec(model.input_shape, model.inputs[0].dtype, name=INPUT_NAME)]

    def scores(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = clone(pixels, training=False)
        # Of a sequence model: (batch, 1, columns, classes).
        return {OUTPUT_NAME: tf.squeeze(outputs, 1) if outputs.shape.rank == 4 else outputs}

    function = tf.function(scores, input_signature=signature, autograph=False)
    function.model = clone  # for `export.tflite`; also keeps the variables alive
    return function
