"""Opens the Keras reference model as a backend, so that it is measured like the artifacts.

Also counts the model's multiply-accumulates and activations, for the roofline of the reports.
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
from runtime.backends.checks import check_model, check_pixels
from runtime.errors import ArtifactError, BackendUnavailable
from runtime.model.artifact import Artifact
from runtime.system import interrupt
from runtime.system.native_output import suppress_native_output

_BATCH_IMAGES = 256  # images of one call of the model; more are split into several calls


class KerasBackend:
    """The Keras model, run by `model.predict` or as a `tf.function`.

    Attributes:
        name: one of `cases.KERAS_CALLS`.
        version: the version of Keras.
        device: "cpu" or "gpu".
        spec: the spec of the artifact.
        macs: multiply-accumulates of the convolutions and dense layers for one image.
        parameters: number of weights.
        activations: number of values that the layers compute for one image.
        fallback: always empty; the reference is never run on the CPU in place of a GPU.
    """

    fallback = ""

    def __init__(
        self,
        artifact: Artifact,
        name: str,
        version: str,
        device: str,
        predict: Callable[[Scores], Scores],
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

    def scores(self, pixels: Pixels) -> Scores:
        """Return the softmax scores, (N, classes) float32, of pixels (N, 28, 28, 1) uint8.

        Raises:
            ImageError: `pixels` has another shape or dtype.
        """
        check_pixels(pixels, self.spec.input_shape)
        return self._predict(np.divide(pixels, 255, dtype=np.float32))


def import_keras(name: str, device: str) -> None:
    """Import Keras on TensorFlow or JAX, with the log output of TensorFlow suppressed.

    Only the first call of a process selects the framework. It overrides KERAS_BACKEND.

    Args:
        name: one of `cases.KERAS_CALLS`; "keras jax" selects JAX, the others TensorFlow.
        device: "cpu" hides all GPUs from the framework.

    Raises:
        BackendUnavailable: Keras, TensorFlow or JAX is not installed.
    """
    with_jax = name == "keras jax"
    os.environ["KERAS_BACKEND"] = "jax" if with_jax else "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    try:
        # TensorFlow's C++ code logs remarks about the processor to file descriptor 2.
        with interrupt.at_once(), suppress_native_output(2):
            importlib.import_module("jax" if with_jax else "tensorflow")
            importlib.import_module("keras")
    except ImportError as error:
        remedy = (
            'pip install keras "jax[cuda13]"' if with_jax else ('pip install "digit-edge[train]"')
        )
        raise BackendUnavailable(f"{error.name} is not installed ({error}): {remedy}") from error


def _check_gpu(name: str) -> None:
    """Raise BackendUnavailable if TensorFlow or JAX, whichever Keras runs on, finds no GPU."""
    if name == "keras jax":
        jax = importlib.import_module("jax")
        try:
            jax.devices("gpu")
        except RuntimeError as error:
            raise BackendUnavailable(
                "JAX finds no GPU: it needs an NVIDIA card, its driver, and "
                'pip install "jax[cuda13]"'
            ) from error
        return
    import tensorflow as tf

    with suppress_native_output(2):
        gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        raise BackendUnavailable(
            "TensorFlow finds no GPU: it needs an NVIDIA card, its driver, and "
            'pip install "tensorflow[and-cuda]"'
        )


def open_artifact(
    artifact: Artifact, name: str = "keras", threads: int = 1, device: str = "cpu"
) -> KerasBackend:
    """Open a .keras artifact.

    Args:
        artifact: a .keras artifact from `artifact.read`, which has checked its digest.
        name: one of `cases.KERAS_CALLS`.
        threads: TensorFlow's threads inside one operation; the first model of a process sets them.
        device: "cpu" or "gpu".

    Raises:
        BackendUnavailable: Keras is not installed, or the device is missing.
        ArtifactError: Keras cannot load the model.
    """
    calls = KERAS_CALLS["gpu"]
    if name not in calls:
        raise BackendUnavailable(f"no way {name!r} to call Keras: choose among {', '.join(calls)}")
    import_keras(name, device)
    if device != "cpu":
        _check_gpu(name)
    import keras

    if name != "keras jax":
        import tensorflow as tf

        with suppress(RuntimeError):  # raised if TensorFlow was used before in this process
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
    try:
        with suppress_native_output(2):
            model = keras.saving.load_model(artifact.path, compile=False)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise ArtifactError(
            f"Keras cannot load {artifact.path} ({str(error).splitlines()[0]}): train it again"
        ) from error
    check_model(artifact, [model.input_shape], [model.output_shape])
    if name != "keras tf.function":

        def predict(images: Scores) -> Scores:
            scores: Scores = model.predict(images, batch_size=_BATCH_IMAGES, verbose=0)
            return scores

    else:
        traced = tf.function(
            lambda images: model(images, training=False),
            input_signature=[tf.TensorSpec((None, *artifact.spec.input_shape), tf.float32)],
        )

        def predict(images: Scores) -> Scores:
            starts = range(0, len(images), _BATCH_IMAGES)
            batches = (images[start : start + _BATCH_IMAGES] for start in starts)
            return np.concatenate([traced(batch).numpy() for batch in batches])

    macs = sum(map(_macs, model.layers))
    version, parameters = keras.__version__, model.count_params()
    activations = sum(map(_activations, model.layers))
    return KerasBackend(artifact, name, version, device, predict, macs, parameters, activations)


def _macs(layer: Any) -> int:
    """Return a layer's multiply-accumulates for one image: output positions × kernel weights.

    A layer without a kernel has 0. The formula is wrong for transposed and grouped convolutions,
    which the model does not have.
    """
    if not hasattr(layer, "kernel"):
        return 0
    positions = math.prod(layer.output.shape[1:-1])
    macs: int = positions * math.prod(layer.kernel.shape)
    return macs


def _activations(layer: Any) -> int:
    """Return the number of values a layer computes for one image; 0 if it only moves data."""
    computes = hasattr(layer, "kernel") or hasattr(layer, "pool_size")
    values: int = math.prod(layer.output.shape[1:])
    return values if computes else 0
