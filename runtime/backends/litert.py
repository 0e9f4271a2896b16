"""Run .tflite models on the CPU with ai-edge-litert or with its predecessor, tflite-runtime.

`runtime.backends.open_backend` calls `open_artifact`. For the device "gpu", `open_artifact` calls
`runtime.backends.litert_gpu` instead.
"""

import importlib
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.backends import Backend, Pixels, Scores, install_hint
from runtime.backends.checks import check_pixels
from runtime.backends.codec import Codec, Tensor
from runtime.errors import ArtifactError, BackendUnavailable, first_line, plural
from runtime.model.artifact import Artifact
from runtime.system.native_output import suppress_native_output

# Name of each engine → its Python package.
_PACKAGES = {"litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime"}

# Most images per call of the engine, by precision; a larger batch takes several calls. The
# activations of more images exceed the cache; fewer images leave threads idle.
_CHUNK_IMAGES = {"float32": 32, "float16": 32, "int8": 64}


class LiteRTBackend:
    """A `Backend` on LiteRT's or tflite-runtime's interpreter.

    The input of the interpreter is resized to each batch. Calls from several threads run one after
    another.

    Args:
        artifact: the model and its spec.
        name: name of the engine: "litert" or "tflite-runtime".
        version: version of the engine's package.
        interpreter: an `Interpreter` of the engine with the model.

    Raises:
        ArtifactError: the model contradicts its spec.
    """

    # Names the processor of operators that the device cannot run; the CPU, the device, runs all.
    fallback = ""

    def __init__(self, artifact: Artifact, name: str, version: str, interpreter: Any) -> None:
        self.name = name
        self.version = version
        self.device = "cpu"
        self.spec = artifact.spec
        self._path = artifact.path
        self._interpreter = interpreter
        self._lock = threading.Lock()
        source, result = interpreter.get_input_details(), interpreter.get_output_details()
        self._codec = Codec(
            artifact, [*map(Tensor.of_tflite, source)], [*map(Tensor.of_tflite, result)]
        )
        self._input, self._output = source[0]["index"], result[0]["index"]
        self._path = artifact.path
        self._chunk = self._codec.batch or _CHUNK_IMAGES[artifact.spec.precision]
        # Shape of the input that the interpreter has tensors for; empty: not resized yet.
        self._shape: tuple[int, ...] = ()
        # The input, kept because a new array would take 1 µs a call.
        self._buffer: npt.NDArray[np.generic]
        self._input_view: npt.NDArray[np.generic]  # the same memory in the model's dtype

    def scores(self, pixels: Pixels) -> Scores:
        """Return the softmax, (N, classes) float32, of pixels (N, 28, 28, 1) uint8 with N ≥ 1.

        Raises:
            ImageError: `pixels` has a different shape or dtype.
            ArtifactError: the engine cannot run the model.
        """
        check_pixels(pixels, self.spec.input_shape)
        with self._lock:
            chunk = self._chunk
            if len(pixels) <= chunk:
                return self._run(pixels)
            starts = range(0, len(pixels), chunk)
            return np.concatenate([self._run(pixels[s : s + chunk]) for s in starts])

    def _run(self, pixels: Pixels) -> Scores:
        interpreter, codec = self._interpreter, self._codec
        try:
            if pixels.shape != self._shape:
                self._shape = ()  # if the engine raises below, the next call resizes again
                shape = codec.input_shape(pixels)
                if codec.batch is None:
                    interpreter.resize_tensor_input(self._input, shape)
                    interpreter.allocate_tensors()
                self._buffer = np.empty(shape, codec.storage)
                self._input_view = self._buffer.view(codec.dtype)
                self._shape = pixels.shape
            codec.encode(pixels, self._buffer)
            interpreter.set_tensor(self._input, self._input_view)
            interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise ArtifactError(
                f"{self.name} cannot run {self._path} with {plural(len(pixels), 'image')} "
                f"({first_line(error)}): convert the model again"
            ) from error
        return codec.decode(interpreter.get_tensor(self._output), len(pixels))


def devices(name: str) -> tuple[str, ...]:
    """Return the supported devices of an engine.

    Args:
        name: "litert" or "tflite-runtime".

    Returns:
        ("cpu", "gpu") for LiteRT and ("cpu",) for tflite-runtime.
    """
    return ("cpu", "gpu") if name == "litert" else ("cpu",)


def open_artifact(artifact: Artifact, name: str, threads: int, device: str) -> Backend:
    """Open a .tflite artifact.

    Args:
        artifact: the model and its spec.
        name: name of the engine: "litert" or "tflite-runtime".
        threads: number of threads on the CPU, at least 1; ignored on the GPU.
        device: "cpu" or "gpu".

    Raises:
        BackendUnavailable: the package or the device is not available.
        CpuFallbackError: part of the model would run on the CPU instead of the GPU.
        ArtifactError: the engine rejects the model, or the model contradicts its spec.
    """
    package = _PACKAGES[name]
    if device not in devices(name):
        raise BackendUnavailable(
            f"{name} has no device {device}: choose {' or '.join(devices(name))}"
            + ("" if name == "litert" else f", or use ai-edge-litert: {install_hint('litert')}")
        )
    try:
        engine = importlib.import_module(f"{package}.interpreter")
        version = importlib.import_module(package).__version__
    except ImportError as error:
        raise BackendUnavailable(
            f"{package} is not installed ({error}): {install_hint(name)}"
        ) from error
    except OSError as error:  # a native library is for another processor, or memory is too small
        raise BackendUnavailable(
            f"{package} cannot be loaded ({error}): end other programs, or reinstall {package}"
        ) from error
    if device == "gpu":
        from runtime.backends import litert_gpu

        return litert_gpu.open_artifact(artifact, version)
    try:
        with suppress_native_output(2):  # "INFO: Created TensorFlow Lite XNNPACK delegate for CPU."
            interpreter = engine.Interpreter(model_content=artifact.data, num_threads=threads)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ArtifactError(f"{name} rejects {artifact.path} ({error}): export it again") from error
    except SystemError as error:  # raised by tflite-runtime with NumPy 2
        raise BackendUnavailable(
            f"{package} does not run with NumPy {np.__version__}: {install_hint(name)} in a "
            "separate environment, or use ai-edge-litert"
        ) from error
    try:
        return LiteRTBackend(artifact, name, version, interpreter)
    except UnicodeDecodeError as error:
        raise ArtifactError(
            f"{name} rejects {artifact.path} (a name in the model is not UTF-8): export it again"
        ) from error
