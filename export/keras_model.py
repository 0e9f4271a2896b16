"""Opens the `.keras` artifact to export, computes its scores, and prepares it for converters.

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
from runtime.errors import ArtifactError
from runtime.model import artifact
from runtime.model.artifact import Artifact
from runtime.model.spec import SEQUENCE
from runtime.system import atomic_write, interrupt
from runtime.system.native_output import suppress_native_output

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

INPUT_NAME = "pixels"  # name of the exported model's input; another name fails the verification
OUTPUT_NAME = "scores"  # name of the exported model's output; another name fails the verification
_BATCH_SIZE = 500  # images that Keras predicts at once; more images are predicted in batches

# The exceptions that Keras and zipfile raise for a damaged model; each becomes an ArtifactError.
_LOAD_ERRORS = (
    ValueError,
    TypeError,
    KeyError,
    OSError,
    RuntimeError,  # zipfile: the archive is encrypted or has an unknown version of the zip format
    zipfile.BadZipFile,
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
        scores = scores_of(self.model, pixels)
        return scores[:, 0] if self.artifact.spec.kind == SEQUENCE else scores


def open_source(path: str | os.PathLike[str]) -> KerasModel:
    """Open a `.keras` artifact: read its spec, and build the Keras model.

    Args:
        path: the file that `digit-edge train` wrote.

    Raises:
        ArtifactError: the file is missing or damaged, has another suffix, or has no spec; or Keras
            cannot build the model.
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise ArtifactError(
            f"{path} is not a .keras file: pass the file that digit-edge train wrote"
        )
    opened = artifact.read(path)
    return KerasModel(opened, load_keras(path, opened.data))


def load_keras(path: Path, data: bytes) -> "keras.Model":
    """Build the model in a `.keras` file, which need not have a spec.

    Args:
        path: name of the file, for messages.
        data: the content of the file. Keras reads a copy of it, so the model is the one whose
            digest was checked, even if the file has changed since then.

    Raises:
        ArtifactError: Keras cannot build the model.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # fatal errors only
    # TensorFlow prints messages about oneDNN and CUDA on its first import.
    with interrupt.at_once(), suppress_native_output(2):
        import keras
    try:
        # Defer Ctrl-C, as an exception inside Keras would leave its temporary files behind.
        with interrupt.deferred(), atomic_write.temporary_folder() as folder:
            copy = folder / "model.keras"
            copy.write_bytes(data)
            return keras.saving.load_model(copy, compile=False)
    except _LOAD_ERRORS as error:
        raise ArtifactError(
            f"Keras cannot open {path} ({error}): copy the file again, or train the model again"
        ) from error


def scores_of(model: "keras.Model", pixels: Pixels) -> Scores:
    """Return a Keras model's softmax scores, float32 (N, classes).

    Args:
        model: a model whose input is float32 (N, 28, 28, 1) from 0 to 1.
        pixels: uint8 (N, 28, 28, 1), with N at least 1.
    """
    scaled = np.divide(pixels, 255, dtype=np.float32)
    return np.asarray(model.predict(scaled, batch_size=_BATCH_SIZE, verbose=0))


def serving_function(model: "keras.Model") -> "tf.types.experimental.GenericFunction":
    """Convert a model to a TensorFlow function that the converters read.

    Keras's Flatten layer is replaced by a reshape to the constant shape [-1, n]. Flatten would
    compute its output shape at run time (SHAPE, STRIDED_SLICE, PACK). These operators would split
    the TFLite graph in two for XNNPACK, LiteRT's library of fast kernels. The reshape keeps the
    graph whole and allows any batch size.

    Args:
        model: the Keras model; it is not modified.

    Returns:
        A function. The argument `pixels` is float32 (batch, 28, 28, 1) from 0 to 1. The function
        returns {"scores": float32 (batch, classes)}. Of a sequence model, the argument is
        (batch, 32, width, 1), and the scores are (batch, columns, classes).
    """
    import keras
    import tensorflow as tf

    class Reshape(keras.layers.Layer):  # type: ignore[misc]  # Keras has no type stubs
        def call(self, features: tf.Tensor) -> tf.Tensor:
            return tf.reshape(features, [-1, math.prod(features.shape[1:])])

    clone = keras.models.clone_model(
        model,
        clone_function=lambda layer: (
            Reshape(name=layer.name)
            if isinstance(layer, keras.layers.Flatten)
            else layer.__class__.from_config(layer.get_config())
        ),
    )
    clone.set_weights(model.get_weights())
    shape = [None, *model.input_shape[1:]]
    signature = [tf.TensorSpec(shape, tf.float32, name=INPUT_NAME)]

    def scores(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = clone(pixels, training=False)
        # Of a sequence model: (batch, 1, columns, classes).
        return {OUTPUT_NAME: tf.squeeze(outputs, 1) if outputs.shape.rank == 4 else outputs}

    function = tf.function(scores, input_signature=signature, autograph=False)
    function.model = clone  # for `export.tflite`; also keeps the variables alive
    return function
