"""The Keras model every artifact came from, as one more backend."""

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

_BATCH = 256


class KerasBackend:
    """A Keras model, asked through `model.predict` or through a `tf.function` of it."""

    fallback = ""

    def __init__(
        self,
        artifact: Artifact,
        name: str,
        version: str,
        device: str,
        answer: Callable[[Scores], Scores],
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
        self._answer = answer

    def scores(self, pixels: Pixels) -> Scores:
        """The softmax, (N, classes) float32, of pixels (N, 28, 28, 1) uint8.

        Raises:
            ImageError: `pixels` has another shape or dtype.
        """
        check_pixels(pixels, self.spec.input_shape)
        return self._answer(np.divide(pixels, 255, dtype=np.float32))


def import_keras(name: str, device: str) -> None:
    """Import Keras on TensorFlow or JAX, as `name` of `cases.KERAS_CALLS` says, without remarks.

    The first import of a process decides; KERAS_BACKEND in the environment does not.

    Raises:
        BackendUnavailable: Keras, or what it computes with, is not installed.
    """
    with_jax = name == "keras jax"
    os.environ["KERAS_BACKEND"] = "jax" if with_jax else "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    try:
        with (
            interrupt.at_once(),
            suppress_native_output(2),
        ):  # TensorFlow's remarks about the processor, from C++
            if with_jax:
                import jax  # noqa: F401
            else:
                import tensorflow  # noqa: F401
            import keras  # noqa: F401
    except ImportError as error:
        remedy = (
            'pip install keras "jax[cuda13]"' if with_jax else ('pip install "digit-edge[train]"')
        )
        raise BackendUnavailable(f"{error.name} is not installed ({error}): {remedy}") from error


def _check_gpu(name: str) -> None:
    """Raise a BackendUnavailable where what Keras computes with sees no GPU."""
    if name == "keras jax":
        import jax

        try:
            jax.devices("gpu")
        except RuntimeError as error:
            raise BackendUnavailable(
                "JAX sees no GPU: it needs an NVIDIA card, its driver, and "
                'pip install "jax[cuda13]"'
            ) from error
        return
    import tensorflow as tf

    with suppress_native_output(2):
        gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        raise BackendUnavailable(
            "TensorFlow sees no GPU: it needs an NVIDIA card, its driver, and "
            'pip install "tensorflow[and-cuda]"'
        )


def open_artifact(
    artifact: Artifact, name: str = "keras", threads: int = 1, device: str = "cpu"
) -> KerasBackend:
    """Open a .keras artifact, whose digest `artifact.read` has checked.

    Args:
        name: one of `cases.KERAS_CALLS`.
        threads: TensorFlow's, inside one operation; the first model of a process chooses them.

    Raises:
        BackendUnavailable: Keras or the device is not there.
        ArtifactError: Keras refuses the model.
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

        with suppress(RuntimeError):  # TensorFlow has computed in this process already
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
    try:
        with suppress_native_output(2):
            model = keras.saving.load_model(artifact.path, compile=False)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise ArtifactError(
            f"Keras refuses {artifact.path} ({str(error).splitlines()[0]}): train it again"
        ) from error
    check_model(artifact, [model.input_shape], [model.output_shape])
    if name != "keras tf.function":

        def answer(images: Scores) -> Scores:
            scores: Scores = model.predict(images, batch_size=_BATCH, verbose=0)
            return scores

    else:
        traced = tf.function(
            lambda images: model(images, training=False),
            input_signature=[tf.TensorSpec((None, *artifact.spec.input_shape), tf.float32)],
        )

        def answer(images: Scores) -> Scores:
            starts = range(0, len(images), _BATCH)
            return np.concatenate([traced(images[at : at + _BATCH]).numpy() for at in starts])

    macs = sum(map(_macs, model.layers))
    version, parameters = keras.__version__, model.count_params()
    activations = sum(map(_activations, model.layers))
    return KerasBackend(artifact, name, version, device, answer, macs, parameters, activations)


def _macs(layer: Any) -> int:
    """Multiply-accumulates of a layer for one image: each weight, at each output position.

    0 for layers without a kernel. Those of a transposed or grouped convolution are not counted so.
    """
    if not hasattr(layer, "kernel"):
        return 0
    positions = math.prod(layer.output.shape[1:-1])
    return positions * math.prod(layer.kernel.shape)


def _activations(layer: Any) -> int:
    """Values that a layer computes for one image; 0 for those that only pass on or reshape."""
    computes = hasattr(layer, "kernel") or hasattr(layer, "pool_size")
    return math.prod(layer.output.shape[1:]) if computes else 0
