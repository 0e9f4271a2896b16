"""Opens the Keras reference model as a backend, to measure it like the artifacts.

`benchmarks.worker` calls `open_artifact` in a subprocess. This module also counts the
multiply-accumulates and activations of the model, for the roofline of the reports. The roofline is
the largest speed that the processor's arithmetic and memory allow.
"""

import importlib
import math
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from benchmarks.harness.cases import KERAS_CALLS
from runtime.backends import Pixels, Scores
from runtime.backends.checks import check_pixels
from runtime.backends.codec import Array, Codec, Tensor
from runtime.errors import ArtifactError, BackendUnavailable
from runtime.model.artifact import Artifact
from runtime.system.atomic_write import temporary_folder
from runtime.system.native_output import suppress_native_output

_BATCH_IMAGES = 256  # images per call of the model; more are split into several calls
_STDERR = 2  # file descriptor of standard error, which TensorFlow's C++ code writes to


class KerasBackend:
    """The Keras model, run by `model.predict` or as a `tf.function`.

    Attributes:
        name: the way to call the model, one of `cases.KERAS_CALLS`: "keras" (`model.predict` on
            TensorFlow), "keras tf.function", or "keras jax" (`model.predict` on JAX).
        version: the version of Keras.
        device: "cpu" or "gpu".
        spec: the spec of the artifact.
        macs: multiply-accumulates of the convolutions and dense layers for one image.
        parameters: number of weights.
        activations: number of values that the layers compute for one image.
        fallback: always empty: the model is never run on the CPU if a GPU was requested. The other
            engines report here the part of a model that runs on the CPU.

    Args:
        artifact: the .keras artifact.
        name: the way to call the model.
        version: the version of Keras.
        device: "cpu" or "gpu".
        predict: returns the model's output for its input.
        codec: converts the input and the output.
        macs: number of multiply-accumulates.
        parameters: number of weights.
        activations: number of computed values.
    """

    fallback = ""

    def __init__(
        self,
        artifact: Artifact,
        name: str,
        version: str,
        device: str,
        predict: Callable[[Array], Array],
        codec: Codec,
        macs: int,
        parameters: int,
        activations: int,
    ) -> None:
        self.name = name
        self.version = version
        self.device = device
        self.spec = artifact.spec
        self.macs = macs
        self.parameters = parameters
        self.activations = activations
        self._predict = predict
        self._codec = codec

    def scores(self, pixels: Pixels) -> Scores:
        """Return the softmax scores, (N, classes) float32.

        Args:
            pixels: (N, 28, 28, 1) uint8, at least one image, with 0 for background and 255 for ink.

        Raises:
            ImageError: `pixels` has another shape or dtype.
        """
        check_pixels(pixels, self.spec.input_shape)
        size = self._codec.batch or len(pixels)
        batches = (pixels[start : start + size] for start in range(0, len(pixels), size))
        return np.concatenate(
            [self._codec.decode(self._predict(self._codec.encode(b)), len(b)) for b in batches]
        )


def import_keras(name: str, device: str) -> None:
    """Import Keras on TensorFlow or JAX, with the log output of TensorFlow suppressed.

    The environment variable KERAS_BACKEND is overwritten. Only the first call in a process selects
    the framework, because Keras reads the variable once.

    Args:
        name: one of `cases.KERAS_CALLS`; "keras jax" selects JAX, the others TensorFlow.
        device: "cpu" hides all GPUs from the framework; "gpu" leaves them visible.

    Raises:
        BackendUnavailable: Keras, TensorFlow or JAX is not installed.
    """
    from train.keras_import import keras_import  # here, as devices without Keras lack `train`

    with_jax = name == "keras jax"
    os.environ["KERAS_BACKEND"] = "jax" if with_jax else "tensorflow"
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    try:
        with keras_import():
            importlib.import_module("jax" if with_jax else "tensorflow")
            importlib.import_module("keras")
    except ImportError as error:
        remedy = (
            'pip install keras "jax[cuda13]"' if with_jax else ('pip install "digit-edge[train]"')
        )
        raise BackendUnavailable(f"{error.name} is not installed ({error}): {remedy}") from error


def _check_gpu(name: str) -> None:
    """Check that the framework of Keras finds a GPU.

    Args:
        name: one of `cases.KERAS_CALLS`; "keras jax" checks JAX, the others TensorFlow.

    Raises:
        BackendUnavailable: the framework finds no GPU.
    """
    if name == "keras jax":
        jax = importlib.import_module("jax")
        try:
            jax.devices("gpu")
        except RuntimeError as error:
            raise BackendUnavailable(
                "JAX finds no GPU; JAX needs an NVIDIA GPU, its driver, and "
                'pip install "jax[cuda13]"'
            ) from error
        return
    import tensorflow as tf

    with suppress_native_output(_STDERR):
        gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        raise BackendUnavailable(
            "TensorFlow finds no GPU; TensorFlow needs an NVIDIA GPU, its driver, and "
            'pip install "tensorflow[and-cuda]"'
        )


def open_artifact(
    artifact: Artifact, name: str = "keras", threads: int = 1, device: str = "cpu"
) -> KerasBackend:
    """Open a .keras artifact.

    Args:
        artifact: a .keras artifact from `artifact.read`, which checks the digest.
        name: one of `cases.KERAS_CALLS`; see `KerasBackend.name`.
        threads: number of TensorFlow's threads inside one operation, at least 1. The
            number takes effect for the first model of a process only, and not for JAX.
        device: "cpu" or "gpu".

    Raises:
        BackendUnavailable: Keras or its framework is not installed, `name` is unknown, or no GPU is
            found.
        ArtifactError: Keras cannot load the model, or the shapes of the model differ from the spec.
    """
    calls = KERAS_CALLS["gpu"]
    if name not in calls:
        raise BackendUnavailable(f"no way {name!r} to call Keras: choose one of {', '.join(calls)}")
    import_keras(name, device)
    if device != "cpu":
        _check_gpu(name)
    import keras

    if name != "keras jax":
        import tensorflow as tf

        with suppress(RuntimeError):  # raised if TensorFlow has already run in this process
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
    try:
        with suppress_native_output(_STDERR), temporary_folder() as folder:
            copy = folder / "model.keras"  # of the bytes whose digest was checked
            copy.write_bytes(artifact.data)
            model = keras.saving.load_model(copy, compile=False)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise ArtifactError(
            f"Keras cannot load {artifact.path} ({str(error).splitlines()[0]}): "
            "train the model again"
        ) from error
    codec = Codec(
        artifact,
        [Tensor(tuple(model.input_shape), str(model.inputs[0].dtype))],
        [Tensor(tuple(model.output_shape), str(model.outputs[0].dtype))],
    )
    if name != "keras tf.function":

        def predict(images: Array) -> Array:
            scores: Array = model.predict(images, batch_size=_BATCH_IMAGES, verbose=0)
            return scores

    else:
        traced = tf.function(
            lambda images: model(images, training=False),
            input_signature=[tf.TensorSpec(model.input_shape, model.inputs[0].dtype)],
        )

        def predict(images: Array) -> Array:
            starts = range(0, len(images), _BATCH_IMAGES)
            batches = (images[start : start + _BATCH_IMAGES] for start in starts)
            return np.concatenate([traced(batch).numpy() for batch in batches])

    macs = sum(map(_macs, model.layers))
    version, parameters = keras.__version__, model.count_params()
    activations = sum(map(_activations, model.layers))
    return KerasBackend(
        artifact, name, version, device, predict, codec, macs, parameters, activations
    )


def _macs(layer: Any) -> int:
    """Return a layer's multiply-accumulates for one image: output positions × kernel weights.

    The result is 0 for a layer without a kernel. The formula is wrong for transposed and grouped
    convolutions; the model has no such layers.
    """
    if not hasattr(layer, "kernel"):
        return 0
    positions = math.prod(layer.output.shape[1:-1])
    macs: int = positions * math.prod(layer.kernel.shape)
    return macs


def _activations(layer: Any) -> int:
    """Return the number of values that a layer computes for one image.

    The result is 0 for a layer that is neither a convolution, a dense layer nor a pooling layer.
    """
    computes = hasattr(layer, "kernel") or hasattr(layer, "pool_size")
    values: int = math.prod(layer.output.shape[1:])
    return values if computes else 0
