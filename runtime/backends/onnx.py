"""ONNX models in onnxruntime, on the CPU or on the GPU that its build brings."""

from typing import Any

import numpy as np

from runtime.artefact import Artefact
from runtime.backends import Pixels, Scores, check_model, check_pixels, install_hint
from runtime.errors import ArtefactError, BackendUnavailable

# onnxruntime's execution providers that compute on a GPU, fastest first.
_GPU_PROVIDERS = (
    "TensorrtExecutionProvider",
    "CUDAExecutionProvider",
    "MIGraphXExecutionProvider",
    "ROCMExecutionProvider",
    "CoreMLExecutionProvider",
    "DmlExecutionProvider",
)
_CPU_PROVIDER = "CPUExecutionProvider"
_CHUNK = 256


class OnnxBackend:
    """One inference session."""

    def __init__(self, artefact: Artefact, version: str, device: str, session: Any) -> None:
        self.name = "onnxruntime"
        self.version = version
        self.device = device
        self.spec = artefact.spec
        self._session = session
        inputs, outputs = session.get_inputs(), session.get_outputs()
        check_model(artefact, [i.shape for i in inputs], [o.shape for o in outputs])
        if (inputs[0].type, outputs[0].type) != ("tensor(float)", "tensor(float)"):
            raise ArtefactError(f"{artefact.path} does not take and give float32: export it again")
        self._input, self._outputs = inputs[0].name, [outputs[0].name]

    def scores(self, pixels: Pixels) -> Scores:
        """The softmax, (N, classes) float32, of pixels (N, 28, 28, 1) uint8.

        Raises:
            ImageError: `pixels` has another shape or dtype.
        """
        check_pixels(pixels, self.spec.input_shape)
        if len(pixels) <= _CHUNK:
            return self._run(pixels)
        starts = range(0, len(pixels), _CHUNK)
        return np.concatenate([self._run(pixels[at : at + _CHUNK]) for at in starts])

    def _run(self, pixels: Pixels) -> Scores:
        feed = {self._input: np.divide(pixels, 255, dtype=np.float32)}
        scores: Scores = self._session.run(self._outputs, feed)[0]
        return scores


def open(artefact: Artefact, name: str, threads: int, device: str) -> OnnxBackend:
    """Open an .onnx artefact with onnxruntime.

    Raises:
        BackendUnavailable: onnxruntime, or a provider for the device, is not there.
        ArtefactError: onnxruntime refuses the model.
    """
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as failures
    except ImportError as error:
        raise BackendUnavailable(
            f"onnxruntime is not installed ({error}): {install_hint(name)}"
        ) from error
    provider = _provider(onnxruntime.get_available_providers(), device)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # its warnings are about its own choices, not the user's
    # Spinning threads answer a little sooner and burn a core while nobody asks.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(
            artefact.data, options, providers=list(dict.fromkeys((provider, _CPU_PROVIDER)))
        )
    except (
        failures.Fail,
        failures.InvalidArgument,
        failures.InvalidGraph,
        failures.InvalidProtobuf,
        failures.NotImplemented,
        failures.RuntimeException,
    ) as error:
        reason = str(error).splitlines()[0]
        raise ArtefactError(
            f"onnxruntime refuses {artefact.path} ({reason}): export it again"
        ) from error
    if session.get_providers()[0] != provider:
        raise BackendUnavailable(
            f"onnxruntime fell back from {provider} to {session.get_providers()[0]}: "
            "check the driver, or use --device cpu"
        )
    return OnnxBackend(artefact, onnxruntime.__version__, device, session)


def _provider(available: list[str], device: str) -> str:
    if device == "cpu":
        return _CPU_PROVIDER
    if device != "gpu":
        raise BackendUnavailable(f"no device {device!r}: choose cpu or gpu")
    for provider in _GPU_PROVIDERS:
        if provider in available:
            return provider
    raise BackendUnavailable(
        "this onnxruntime has no GPU provider: pip install onnxruntime-gpu in place of onnxruntime"
    )
