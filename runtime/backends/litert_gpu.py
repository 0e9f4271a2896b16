"""Run .tflite models on a GPU with ai-edge-litert's CompiledModel (WebGPU, OpenCL, Metal).

`runtime.backends.litert` calls `open_artifact` for the device "gpu".
"""

import importlib
import math
import threading
from typing import Any

import numpy as np

from runtime.backends import CpuFallbackError, Pixels, Scores
from runtime.backends.checks import check_pixels
from runtime.backends.codec import Codec, Tensor
from runtime.errors import ArtifactError, BackendUnavailable
from runtime.model.artifact import Artifact
from runtime.system.native_output import suppress_native_output

_CHUNK_IMAGES = 256  # most images per call of the engine; a larger batch takes several calls


class LiteRTGpuBackend:
    """A `Backend` on LiteRT's CompiledModel.

    The input of the model is resized to each batch. Calls from several threads run one after
    another. `scores` waits until the GPU has finished. The engine's own run call returns earlier,
    so a benchmark must not measure that call alone.

    Args:
        artifact: the model and its spec.
        version: version of ai-edge-litert.
        model: a `CompiledModel` with the model.
        codec: converts its input and output.
        output: its output.
    """

    name = "litert"
    device = "gpu"
    fallback = ""  # `open_artifact` rejects a model of which a part would run on the CPU

    def __init__(
        self, artifact: Artifact, version: str, model: Any, codec: Codec, output: Tensor
    ) -> None:
        self.version = version
        self.spec = artifact.spec
        self._path = artifact.path
        self._model = model
        self._lock = threading.Lock()
        self._codec = codec
        self._output_dtype = np.dtype(output.dtype)
        # Values that the model returns in each call, or, if the batch is free, for each image.
        sizes = [size for size in output.shape if isinstance(size, int) and size > 0]
        self._output_values = math.prod(sizes)
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
        chunk = self._codec.batch or _CHUNK_IMAGES
        with self._lock:
            starts = range(0, len(pixels), chunk)
            try:
                return np.concatenate([self._run(pixels[s : s + chunk]) for s in starts])
            except (RuntimeError, ValueError) as error:
                raise ArtifactError(
                    f"litert cannot run {self._path} ({error}): export it again"
                ) from error

    def _run(self, pixels: Pixels) -> Scores:
        codec = self._codec
        batch = codec.batch or len(pixels)
        if batch != self._batch:
            self._batch = 0  # if the engine raises below, the next call resizes again
            with suppress_native_output(2):
                if codec.batch is None:
                    self._model.resize_input_tensor(0, codec.input_shape(pixels))
                self._inputs = self._model.create_input_buffers(0)
                self._outputs = self._model.create_output_buffers(0)
            self._batch = batch
        self._inputs[0].write(codec.encode(pixels))
        self._model.run_by_index(0, self._inputs, self._outputs)
        values = self._output_values * (1 if codec.batch else batch)
        output = self._outputs[0].read(values, self._output_dtype)
        return codec.decode(np.asarray(output).reshape(batch, -1), len(pixels))


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
    # A CompiledModel does not expose the quantization, so an interpreter reads it.
    with suppress_native_output(2):
        opened = interpreter.Interpreter(model_content=artifact.data)
    inputs, outputs = (
        [*map(Tensor.of_tflite, details)]
        for details in (opened.get_input_details(), opened.get_output_details())
    )
    codec = Codec(artifact, inputs, outputs)
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
    backend = LiteRTGpuBackend(artifact, version, model, codec, outputs[0])
    with suppress_native_output(2):  # the first call compiles shaders and prints log lines
        backend.scores(np.zeros((1, *artifact.spec.fixed_shape), np.uint8))
    return backend
