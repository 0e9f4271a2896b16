"""The Keras model every artefact came from, as one more backend."""

import math
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from runtime.artefact import Artefact
from runtime.backends import Pixels, Scores, check_model, check_pixels
from runtime.errors import ArtefactError, BackendUnavailable
from runtime.quiet import quiet

# How a Keras user would ask the model: `model.predict`, or the model wrapped in a tf.function.
CALLS = ("keras", "keras tf.function")
_BATCH = 256


class KerasBackend:
    """A Keras model, asked through `model.predict` or through a `tf.function` of it."""

    def __init__(
        self,
        artefact: Artefact,
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
        self.spec = artefact.spec
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


def import_keras(device: str) -> None:
    """Import Keras and TensorFlow without their remarks; the device is chosen for the process.

    Raises:
        BackendUnavailable: Keras or TensorFlow is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    try:
        with quiet(2):  # TensorFlow's remarks about the processor, from C++
            import keras  # noqa: F401
            import tensorflow  # noqa: F401
    except ImportError as error:
        raise BackendUnavailable(
            f'Keras is not installed ({error}): pip install "digit-edge[train]"'
        ) from error


def open(
    artefact: Artefact, name: str = "keras", threads: int = 1, device: str = "cpu"
) -> KerasBackend:
    """Open a .keras artefact, whose digest `artefact.read` has checked.

    Args:
        name: one of `CALLS`.
        threads: TensorFlow's, inside one operation; the first model of a process chooses them.

    Raises:
        BackendUnavailable: Keras or the device is not there.
        ArtefactError: Keras refuses the model.
    """
    if name not in CALLS:
        raise BackendUnavailable(f"no way {name!r} to call Keras: choose among {', '.join(CALLS)}")
    import_keras(device)
    import keras
    import tensorflow as tf

    with quiet(2):
        gpus = tf.config.list_physical_devices("GPU")
    if device != "cpu" and not gpus:
        raise BackendUnavailable(
            "TensorFlow sees no GPU: it needs an NVIDIA card, its driver, and "
            'pip install "tensorflow[and-cuda]"'
        )
    with suppress(RuntimeError):  # TensorFlow has computed in this process already
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    try:
        with quiet(2):
            model = keras.saving.load_model(artefact.path, compile=False)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise ArtefactError(
            f"Keras refuses {artefact.path} ({str(error).splitlines()[0]}): train it again"
        ) from error
    check_model(artefact, [model.input_shape], [model.output_shape])
    if name == "keras":

        def answer(images: Scores) -> Scores:
            scores: Scores = model.predict(images, batch_size=_BATCH, verbose=0)
            return scores

    else:
        traced = tf.function(
            lambda images: model(images, training=False),
            input_signature=[tf.TensorSpec((None, *artefact.spec.input_shape), tf.float32)],
        )

        def answer(images: Scores) -> Scores:
            starts = range(0, len(images), _BATCH)
            return np.concatenate([traced(images[at : at + _BATCH]).numpy() for at in starts])

    macs = sum(map(_macs, model.layers))
    version, parameters = keras.__version__, model.count_params()
    activations = sum(map(_activations, model.layers))
    return KerasBackend(artefact, name, version, device, answer, macs, parameters, activations)


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
