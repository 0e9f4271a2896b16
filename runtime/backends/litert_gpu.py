"""Run .tflite models on a GPU with ai-edge-litert's CompiledModel (WebGPU, OpenCL, Metal).

`runtime.backends.litert` calls `open_artifact` for the device "gpu".
"""

import importlib
import threading
from typing import Any

import numpy as np

from runtime.backends import CpuFallbackError, Pixels, Scores
from runtime.backends.checks import check_model, check_pixels
from runtime.errors import ArtifactError, BackendUnavailable
from runtime.model.artifact import Artifact
from runtime.system.native_output import suppress_native_output

_CHUNK_IMAGES = 256  # most images per call of the engine; a larger batch takes several calls
_TOP_BIT = 128  # pixel XOR 128, read as int8, is pixel − 128, the input of an int8 model


class LiteRTGpuBackend:
    """A `Backend` on LiteRT's CompiledModel.

    The input of the model is resized to each batch. Calls from several threads run one after
    another. `scores` waits until the GPU has finished. The engine's own run call returns earlier,
    so a benchmark must not measure that call alone.

    Args:
        artifact: the model and its spec.
        version: version of ai-edge-litert.
        model: a `CompiledModel` with the model.

    Raises:
        ArtifactError: the model contradicts its spec.
    """

    name = "litert"
    device = "gpu"
    fallback = ""  # `open_artifact` rejects a model of which a part would run on the CPU

    def __init__(self, artifact: Artifact, version: str, model: Any) -> None:
        self.version = version
        self.spec = artifact.spec
        self._path = artifact.path
        self._model = model
        self._lock = threading.Lock()
        (signature,) = model.get_signature_list()
        source = list(model.get_input_tensor_details(signature).values())
        result = list(model.get_output_tensor_details(signature).values())
        check_model(artifact, [d["shape"] for d in source], [d["shape"] for d in result])
        expected = "int8" if artifact.spec.precision == "int8" else "float32"
        if source[0]["dtype"] != expected or result[0]["dtype"] not in (expected, "float32"):
            raise ArtifactError(
                f"{artifact.path} is not {artifact.spec.precision}, although its spec says so: "
                "export it again"
            )
        self._int8 = expected == "int8"
        quantization = artifact.spec.quantization
        # None if the output is float, as in all int8 models of this project.
        self._output_params = quantization.output if quantization is not None else None
        self._batch = 0  # images that the buffers have room for; 0: no buffers yet
        self._inputs: list[Any] = []  # LiteRT's buffers of the inputs
        self._outputs: list[Any] = []  # LiteRT's buffers of the outputs

    def scores(self, pixels: Pixels) -> Scores:
        """Return the softmax, (N, classes) float32, of pixels (N, 28, 28, 1) uint8 with N ≥ 1.

        Raises:
            ImageError: `pixels` has a different shape or dtype.
            ArtifactError: the engine cannot run the model.
        """
        check_pixels(pixels, self.spec.input_shape)
        chunk = _CHUNK_IMAGES
        with self._lock:
            starts = range(0, len(pixels), chunk)
            try:
                return np.concatenate([self._run(pixels[s : s + chunk]) for s in starts])
            except (RuntimeError, ValueError) as error:
                raise ArtifactError(
                    f"litert cannot run {self._path} ({error}): export it again"
                ) from error

    def _run(self, pixels: Pixels) -> Scores:
        if len(pixels) != self._batch:
            self._batch = 0  # if the engine raises below, the next call resizes again
            with suppress_native_output(2):
                self._model.resize_input_tensor(0, pixels.shape)
                self._inputs = self._model.create_input_buffers(0)
                self._outputs = self._model.create_output_buffers(0)
            self._batch = len(pixels)
        count = len(pixels) * len(self.spec.labels)
        if self._int8:
            self._inputs[0].write((pixels ^ _TOP_BIT).view(np.int8))
        else:
            self._inputs[0].write(np.divide(pixels, 255, dtype=np.float32))
        self._model.run_by_index(0, self._inputs, self._outputs)
        params = self._output_params
        if params is None:
            scores: Scores = self._outputs[0].read(count, np.float32)
        else:
            codes = self._outputs[0].read(count, np.int8).astype(np.float32)
            scores = (codes - np.float32(params.zero_point)) * np.float32(params.scale)
        return scores.reshape(len(pixels), -1)


def open_artifact(artifact: Artifact, version: str) -> LiteRTGpuBackend:
    """Open a .tflite artifact on the GPU, without fallback to the CPU and with float32 arithmetic.

    Args:
        artifact: the model and its spec.
        version: version of the installed ai-edge-litert, for messages and `Backend.version`.

    Raises:
        BackendUnavailable: LiteRT finds no GPU, or this version has no GPU accelerator.
        CpuFallbackError: part of the model would run on the CPU.
        ArtifactError: the model contradicts its spec.
    """
    try:
        compiled = importlib.import_module("ai_edge_litert.compiled_model")
        options = importlib.import_module("ai_edge_litert.options")
        interpreter = importlib.import_module("ai_edge_litert.interpreter")
    except ImportError as error:
        raise BackendUnavailable(
            f"ai-edge-litert {version} has no GPU accelerator ({error}): "
            "pip install --upgrade ai-edge-litert ml_dtypes"
        ) from error
    if artifact.spec.precision == "int8":
        from runtime.backends.checks import check_quantization

        # A CompiledModel does not expose the quantization, so an interpreter reads it.
        with suppress_native_output(2):
            opened = interpreter.Interpreter(model_content=artifact.data)
        details = opened.get_input_details()[0], opened.get_output_details()[0]
        check_quantization(artifact, *(detail["quantization"] for detail in details))
    gpu_only = options.Options(
        # GPU without CPU: operators that the GPU lacks fail instead of running on the CPU.
        hardware_accelerators=options.HardwareAccelerator.GPU,
        gpu_options=options.GpuOptions(enforce_f32=True),
    )
    model = None
    with suppress_native_output(1, 2):
        try:
            model = compiled.CompiledModel.from_buffer(artifact.data, options=gpu_only)
        except RuntimeError as error:
            # The traceback keeps LiteRT's environment alive. Release the environment here, because
            # its destructor prints, and output is suppressed in this block only.
            error.__traceback__ = None
    if model is None:
        raise BackendUnavailable(
            "LiteRT's GPU accelerator finds no GPU: it needs a graphics card and, on Linux, a "
            "Vulkan driver and loader (apt install libvulkan1 mesa-vulkan-drivers)"
        )
    if not model.is_fully_accelerated():
        raise CpuFallbackError(
            f"LiteRT would run part of {artifact.path} on the CPU, not on the GPU: use --device cpu"
        )
    backend = LiteRTGpuBackend(artifact, version, model)
    with suppress_native_output(2):  # the first call compiles shaders and prints log lines
        backend.scores(np.zeros((1, *artifact.spec.fixed_shape), np.uint8))
    return backend
