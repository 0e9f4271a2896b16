"""Opens the Keras model to export, and prepares it for the converters."""

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

INPUT_NAME, OUTPUT_NAME = "pixels", "scores"
# What Keras and zipfile raise on what is no whole model; RuntimeError of a zip's unknown version.
_REFUSALS = (ValueError, TypeError, KeyError, OSError, RuntimeError, zipfile.BadZipFile)


@dataclass(frozen=True)
class KerasModel:
    """A trained model: its artifact, and the Keras model in it."""

    artifact: Artifact
    model: "keras.Model"

    def scores(self, pixels: Pixels) -> Scores:
        """The softmax, (N, classes) float32, of pixels (N, 28, 28, 1) uint8.

        Of a sequence model: the logits, (N, columns, classes), of pixels (N, 32, width, 1).
        """
        scores = scores_of(self.model, pixels)
        return scores[:, 0] if self.artifact.spec.kind == SEQUENCE else scores


def open_source(path: str | os.PathLike[str]) -> KerasModel:
    """Open a `.keras` artifact.

    Raises:
        ArtifactError: the file is missing, damaged, without a spec, or no model Keras can build.
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise ArtifactError(f"{path} is no Keras model: give the .keras file that train wrote")
    opened = artifact.read(path)
    return KerasModel(opened, load_keras(path))


def load_keras(path: Path) -> "keras.Model":
    """Build the model in a `.keras` file.

    Raises:
        ArtifactError: Keras cannot build it.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # quiet: what TensorFlow says of oneDNN and CUDA when it is first imported
    with interrupt.at_once(), suppress_native_output(2):
        import keras
    try:
        # Deferred: an exception in the middle would leave Keras's temporary files behind.
        with interrupt.deferred(), atomic_write.temporary_folder():
            return keras.saving.load_model(path, compile=False)
    except _REFUSALS as error:
        raise ArtifactError(
            f"Keras cannot open {path} ({error}): copy it again, or train it again"
        ) from error


def scores_of(model: "keras.Model", pixels: Pixels) -> Scores:
    """The softmax, (N, classes) float32, that a Keras model gives for pixels (N, 28, 28, 1)."""
    scaled = np.divide(pixels, 255, dtype=np.float32)
    return np.asarray(model.predict(scaled, batch_size=500, verbose=0))


def serving_function(model: "keras.Model") -> "tf.types.experimental.GenericFunction":
    """The model as a function: pixels from 0 to 1 (batch, 28, 28, 1) → scores (batch, classes).

    Of a sequence model: (batch, 32, width, 1) → (batch, columns, classes).

    Keras's Flatten asks for the batch size at run time (SHAPE, STRIDED_SLICE, PACK), which splits
    the TFLite graph in two XNNPACK partitions. A reshape to the constant [-1, n] is the same, keeps
    one partition and leaves the batch free.
    """
    import keras
    import tensorflow as tf

    class Reshape(keras.layers.Layer):
        def call(self, features: tf.Tensor) -> tf.Tensor:
            return tf.reshape(features, [-1, math.prod(features.shape[1:])])

    plain = keras.models.clone_model(
        model,
        clone_function=lambda layer: (
            Reshape(name=layer.name)
            if isinstance(layer, keras.layers.Flatten)
            else layer.__class__.from_config(layer.get_config())
        ),
    )
    plain.set_weights(model.get_weights())
    shape = [None, *model.input_shape[1:]]
    signature = [tf.TensorSpec(shape, tf.float32, name=INPUT_NAME)]

    @tf.function(input_signature=signature, autograph=False)
    def scores(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        found = plain(pixels, training=False)
        # Of a sequence model: (batch, 1, columns, classes).
        return {OUTPUT_NAME: tf.squeeze(found, 1) if found.shape.rank == 4 else found}

    # Keep the variables alive as long as the function that reads them.
    scores.model = plain
    return scores
