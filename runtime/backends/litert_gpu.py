"""TFLite models on the GPU, through ai-edge-litert's CompiledModel (WebGPU, OpenCL, Metal)."""

import importlib
import threading
from typing import Any

import numpy as np

from runtime.backends import CpuFallbackError, Pixels, Scores
from runtime.backends.checks import check_model, check_pixels
from runtime.errors import ArtifactError, BackendUnavailable
from runtime.model.artifact import Artifact
from runtime.system.native_output import suppress_native_output

_CHUNK = 256


class LiteRTGpuBackend:
    """One compiled model, resized to the batch it is given; calls from several threads take turns.

    The scores are read back within the call: `run` alone returns before the GPU has computed, and
    would be timed as a hundredth of what an answer takes.
    """

    name = "litert"
    device = "gpu"
    fallback = ""

    def __init__(self, artifact: Artifact, version: str, model: Any) -> None:
        self.version = version
        self.spec = artifact.spec
        self._model = model
        self._lock = threading.Lock()
        (signature,) = model.get_signature_list()
        source = list(model.get_input_tensor_details(signature).values())
        result = list(model.get_output_tensor_details(signature).values())
        check_model(artifact, [d["shape"] for d in source], [d["shape"] for d in result])
        expected = "int8" if artifact.spec.precision == "int8" else "float32"
        if source[0]["dtype"] != expected or result[0]["dtype"] not in (expected, "float32"):
            raise ArtifactError(
                f"{artifact.path} is not the {artifact.spec.precision} its spec says: "
                "export it again"
            )
        self._int8 = expected == "int8"
        stated = artifact.spec.quantization
        # None where the scores are float, as those of an int8 model are since its softmax is.
        self._affine = stated.output if stated is not None else None
        self._batch = 0
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def scores(self, pixels: Pixels) -> Scores:
        """The softmax, (N, classes) float32, of pixels (N, 28, 28, 1) uint8.

        Raises:
            ImageError: `pixels` has another shape or dtype.
        """
        check_pixels(pixels, self.spec.input_shape)
        with self._lock:
            starts = range(0, len(pixels), _CHUNK)
            return np.concatenate([self._run(pixels[at : at + _CHUNK]) for at in starts])

    def _run(self, pixels: Pixels) -> Scores:
        if len(pixels) != self._batch:
            self._batch = 0  # should the engine fail below, the next call starts over
            with suppress_native_output(2):
                self._model.resize_input_tensor(0, pixels.shape)
                self._inputs = self._model.create_input_buffers(0)
                self._outputs = self._model.create_output_buffers(0)
            self._batch = len(pixels)
        count = len(pixels) * len(self.spec.labels)
        if self._int8:
            self._inputs[0].write((pixels ^ 128).view(np.int8))
        else:
            self._inputs[0].write(np.divide(pixels, 255, dtype=np.float32))
        self._model.run_by_index(0, self._inputs, self._outputs)
        if self._affine is None:
            scores: Scores = self._outputs[0].read(count, np.float32)
        else:
            codes = self._outputs[0].read(count, np.int8).astype(np.float32)
            scores = (codes - np.float32(self._affine.zero_point)) * np.float32(self._affine.scale)
        return scores.reshape(len(pixels), -1)


def open_artifact(artifact: Artifact, version: str) -> LiteRTGpuBackend:
    """Open a .tflite artifact on the GPU alone; a float one computes in float32.

    Raises:
        BackendUnavailable: there is no GPU that LiteRT can use, or this LiteRT has no such model.
        CpuFallbackError: part of the model would not run on the GPU.
        ArtifactError: the model is not what its spec says.
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

        # The compiled model does not tell its scales.
        with suppress_native_output(2):
            opened = interpreter.Interpreter(model_content=artifact.data)
        details = opened.get_input_details()[0], opened.get_output_details()[0]
        check_quantization(artifact, *(detail["quantization"] for detail in details))
    chosen = options.Options(
        # Without the CPU beside it, so that what the GPU cannot do is refused and not taken over.
        hardware_accelerators=options.HardwareAccelerator.GPU,
        gpu_options=options.GpuOptions(enforce_f32=True),
    )
    model = None
    with suppress_native_output(1, 2):
        try:
            model = compiled.CompiledModel.from_buffer(artifact.data, options=chosen)
        except RuntimeError as error:
            # The frames hold LiteRT's environment, which prints as it goes: let it go here.
            error.__traceback__ = None
    if model is None:
        raise BackendUnavailable(
            "LiteRT's GPU accelerator finds no GPU: it needs a graphics card and, on Linux, its "
            "Vulkan driver and loader (apt install libvulkan1 mesa-vulkan-drivers)"
        )
    if not model.is_fully_accelerated():
        raise CpuFallbackError(
            f"LiteRT would run part of {artifact.path} on the CPU, not on the GPU: use --device cpu"
        )
    backend = LiteRTGpuBackend(artifact, version, model)
    with suppress_native_output(2):  # the first answer compiles shaders, and speaks of it
        backend.scores(np.zeros((1, *artifact.spec.fixed_shape), np.uint8))
    return backend
