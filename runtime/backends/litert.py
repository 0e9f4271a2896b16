"""TFLite models in ai-edge-litert, or in tflite-runtime, its predecessor."""

import importlib
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.backends import Backend, Pixels, Scores, install_hint
from runtime.backends.checks import check_model, check_pixels, check_quantization
from runtime.errors import ArtifactError, BackendUnavailable
from runtime.model.artifact import Artifact
from runtime.system.native_output import suppress_native_output

_PACKAGES = {"litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime"}
# Images at once: the activations of more leave the cache, those of fewer leave threads waiting.
_CHUNK = {"float32": 32, "int8": 64}
_TOP_BIT = np.array(128, np.uint8)  # an array: a scalar is converted at each call
_FULL_SCALE = np.array(255, np.float32)


class LiteRTBackend:
    """One interpreter, resized to the batch it is given; calls from several threads take turns."""

    fallback = ""

    def __init__(self, artifact: Artifact, name: str, version: str, interpreter: Any) -> None:
        self.name = name
        self.version = version
        self.device = "cpu"
        self.spec = artifact.spec
        self._interpreter = interpreter
        self._lock = threading.Lock()
        source, result = interpreter.get_input_details(), interpreter.get_output_details()
        check_model(
            artifact, [d["shape"].tolist() for d in source], [d["shape"].tolist() for d in result]
        )
        self._input, self._output = source[0]["index"], result[0]["index"]
        expected = np.int8 if artifact.spec.precision == "int8" else np.float32
        # The scores of an int8 model are float; of older files and other makers they may be int8.
        if source[0]["dtype"] is not expected or result[0]["dtype"] not in (expected, np.float32):
            raise ArtifactError(
                f"{artifact.path} is not the {artifact.spec.precision} its spec says: "
                "export it again"
            )
        self._int8 = expected is np.int8
        self._chunk = _CHUNK[artifact.spec.precision]
        self._real: Scores | None = None
        if self._int8:
            check_quantization(artifact, source[0]["quantization"], result[0]["quantization"])
        if result[0]["dtype"] is np.int8:
            # The score of every output: one look-up instead of three passes. In the order of
            # bytes, so that a negative output finds its own from the end.
            scale, zero_point = result[0]["quantization"]
            values = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.float32)
            self._real = (values - np.float32(zero_point)) * np.float32(scale)
        self._shape: tuple[int, ...] = ()  # of the input for which tensors are allocated
        # The input as the model takes it; reused, as an array a call would cost a microsecond.
        self._staged: npt.NDArray[np.generic]
        self._given: npt.NDArray[np.generic]

    def scores(self, pixels: Pixels) -> Scores:
        """The softmax, (N, classes) float32, of pixels (N, 28, 28, 1) uint8.

        Raises:
            ImageError: `pixels` has another shape or dtype.
        """
        check_pixels(pixels, self.spec.input_shape)
        with self._lock:
            chunk = self._chunk
            if len(pixels) <= chunk:
                return self._run(pixels)
            starts = range(0, len(pixels), chunk)
            return np.concatenate([self._run(pixels[at : at + chunk]) for at in starts])

    def _run(self, pixels: Pixels) -> Scores:
        interpreter = self._interpreter
        if pixels.shape != self._shape:
            self._shape = ()  # should the engine fail below, the next call starts over
            interpreter.resize_tensor_input(self._input, pixels.shape)
            interpreter.allocate_tensors()
            self._staged = np.empty(pixels.shape, np.uint8 if self._int8 else np.float32)
            self._given = self._staged.view(np.int8) if self._int8 else self._staged
            self._shape = pixels.shape
        if self._int8:
            # int8 = pixel − 128: flipping the top bit is that subtraction, modulo 256.
            np.bitwise_xor(pixels, _TOP_BIT, out=self._staged)
        else:
            np.divide(pixels, _FULL_SCALE, out=self._staged)
        interpreter.set_tensor(self._input, self._given)
        interpreter.invoke()
        given: Any = interpreter.get_tensor(self._output)
        scores: Scores = given if self._real is None else self._real.take(given)
        return scores


def devices(name: str) -> tuple[str, ...]:
    """What computes: the CPU; with ai-edge-litert a GPU too."""
    return ("cpu", "gpu") if name == "litert" else ("cpu",)


def open_artifact(artifact: Artifact, name: str, threads: int, device: str) -> Backend:
    """Open a .tflite artifact with ai-edge-litert or tflite-runtime, as `name` says.

    Raises:
        BackendUnavailable: the package or the device is not there.
        ArtifactError: the engine refuses the model.
    """
    package = _PACKAGES[name]
    if device not in devices(name):
        raise BackendUnavailable(
            f"{name} has no {device}: choose {' or '.join(devices(name))}"
            + ("" if name == "litert" else f", or take ai-edge-litert: {install_hint('litert')}")
        )
    try:
        engine = importlib.import_module(f"{package}.interpreter")
        version = importlib.import_module(package).__version__
    except ImportError as error:
        raise BackendUnavailable(
            f"{package} is not installed ({error}): {install_hint(name)}"
        ) from error
    except OSError as error:  # its libraries: no memory to map them, or of another machine
        raise BackendUnavailable(
            f"{package} cannot be loaded ({error}): free memory, or install it again"
        ) from error
    if device == "gpu":
        from runtime.backends import litert_gpu

        return litert_gpu.open_artifact(artifact, version)
    try:
        with suppress_native_output(2):  # "INFO: Created TensorFlow Lite XNNPACK delegate for CPU."
            interpreter = engine.Interpreter(model_content=artifact.data, num_threads=threads)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ArtifactError(f"{name} refuses {artifact.path} ({error}): export it again") from error
    except SystemError as error:  # what tflite-runtime says under NumPy 2
        raise BackendUnavailable(
            f"{package} does not run with NumPy {np.__version__}: {install_hint(name)} in an "
            "environment of its own, or use ai-edge-litert"
        ) from error
    return LiteRTBackend(artifact, name, version, interpreter)
