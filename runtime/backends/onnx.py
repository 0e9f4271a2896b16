"""ONNX models in onnxruntime, on the CPU or on the GPU that its build brings."""

import os
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from runtime.backends import CpuFallbackError, Pixels, Scores, install_hint
from runtime.backends.checks import check_model, check_pixels
from runtime.errors import ArtifactError, BackendUnavailable
from runtime.model.artifact import Artifact
from runtime.system.native_output import suppress_native_output

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


class Provider(NamedTuple):
    """An execution provider: what onnxruntime calls it, its options, and what it takes to have it.

    The options ask for float32 arithmetic where the provider would shorten it unasked.
    """

    name: str
    options: tuple[tuple[str, str], ...]
    remedy: str


# By the device's name; GPUs first, the fastest before the others.
PROVIDERS = {
    "tensorrt": Provider(
        "TensorrtExecutionProvider",
        (),
        "an NVIDIA card, its driver, and pip install onnxruntime-gpu tensorrt-cu13 "
        "(tensorrt-cu12 where it is built for CUDA 12)",
    ),
    "cuda": Provider(
        "CUDAExecutionProvider",
        (("use_tf32", "0"),),
        'an NVIDIA card, its driver, and pip install "onnxruntime-gpu[cuda,cudnn]"',
    ),
    "migraphx": Provider(
        "MIGraphXExecutionProvider",
        (),
        "an AMD card, ROCm, and AMD's onnxruntime-migraphx (repo.radeon.com)",
    ),
    "rocm": Provider(
        "ROCMExecutionProvider",
        (),
        "an AMD card, ROCm, and AMD's onnxruntime-rocm up to 1.22; later ones have MIGraphX",
    ),
    "coreml": Provider("CoreMLExecutionProvider", (), "a Mac; pip install onnxruntime brings it"),
    "directml": Provider(
        "DmlExecutionProvider",
        (),
        "Windows, a DirectX 12 card, and pip install onnxruntime-directml",
    ),
    "openvino": Provider(
        "OpenVINOExecutionProvider",
        (("device_type", "GPU"), ("precision", "FP32")),
        "an Intel GPU, its driver, and pip install onnxruntime-openvino openvino",
    ),
    "openvino-cpu": Provider(
        "OpenVINOExecutionProvider",
        (("device_type", "CPU"), ("precision", "FP32")),
        "an Intel or AMD processor, and pip install onnxruntime-openvino openvino",
    ),
}
_NO_GPU = "openvino-cpu"
# An x86 processor that has AVX2 and no VNNI sums products of bytes in 16 bits, which overflow: int8
# models would answer otherwise there than everywhere else, where onnxruntime says it ignores it.
EXACT = ("session.x64quantprecision", "1")
_CPU_PROVIDER = "CPUExecutionProvider"
# Images at once: on a CPU the activations of more leave the cache.
_CPU_CHUNK, _CHUNK = 64, 1024


class OnnxBackend:
    """One inference session; for large batches on several threads another, which they share.

    Within one operator of so small a network threads wait for each other longer than they compute:
    chunks of the batch side by side, each on one thread, are up to twice as fast.
    """

    def __init__(
        self,
        artifact: Artifact,
        version: str,
        device: str,
        fallback: str,
        session: Any,
        threads: int,
        open_another: Callable[[], Any],
    ) -> None:
        self.name = "onnxruntime"
        self.version = version
        self.device = device
        self.fallback = fallback
        self.spec = artifact.spec
        self._session = session
        self._chunk = _CPU_CHUNK if device == "cpu" else _CHUNK
        self._threads = threads
        self._open_another = open_another
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._single: Any = None
        inputs, outputs = session.get_inputs(), session.get_outputs()
        check_model(artifact, [i.shape for i in inputs], [o.shape for o in outputs])
        if (inputs[0].type, outputs[0].type) != ("tensor(float)", "tensor(float)"):
            raise ArtifactError(f"{artifact.path} does not take and give float32: export it again")
        self._input, self._outputs = inputs[0].name, [outputs[0].name]

    def scores(self, pixels: Pixels) -> Scores:
        """The softmax, (N, classes) float32, of pixels (N, 28, 28, 1) uint8.

        Raises:
            ImageError: `pixels` has another shape or dtype.
        """
        check_pixels(pixels, self.spec.input_shape)
        chunk = self._chunk
        if len(pixels) <= chunk:
            return self._run(pixels, self._session)
        chunks = [pixels[at : at + chunk] for at in range(0, len(pixels), chunk)]
        if self._threads == 1:
            return np.concatenate([self._run(chunk, self._session) for chunk in chunks])
        pool, session = self._side_by_side()
        return np.concatenate(list(pool.map(lambda chunk: self._run(chunk, session), chunks)))

    def _run(self, pixels: Pixels, session: Any) -> Scores:
        feed = {self._input: np.divide(pixels, 255, dtype=np.float32)}
        scores: Scores = session.run(self._outputs, feed)[0]
        return scores

    def _side_by_side(self) -> "tuple[ThreadPoolExecutor, Any]":
        """Threads, and a session that computes on the thread that asks it."""
        from concurrent.futures import ThreadPoolExecutor

        with self._lock:
            if self._pool is None:
                self._single = self._open_another()
                self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="onnxruntime")
            return self._pool, self._single


def devices(name: str) -> tuple[str, ...]:
    """What computes: the CPU, and the providers of `PROVIDERS`."""
    return ("cpu", *PROVIDERS)


def open_artifact(artifact: Artifact, name: str, threads: int, device: str) -> OnnxBackend:
    """Open an .onnx artifact with onnxruntime.

    Raises:
        BackendUnavailable: onnxruntime, or a provider for the device, is not there.
        CpuFallbackError: the provider is there, and the model would run on the CPU all the same.
        ArtifactError: onnxruntime refuses the model.
    """
    # In 1.32 the import alone starts a thread that reports the use of this machine to its maker,
    # and leaves an identifier in the user's cache; 2 MB of memory. Who wants that sets it to 0.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as failures
    except ImportError as error:
        raise BackendUnavailable(
            f"onnxruntime is not installed ({error}): {install_hint(name)}"
        ) from error
    device = _device(onnxruntime.get_available_providers(), device)

    def session_with(threads: int) -> Any:
        options = _options(onnxruntime.SessionOptions(), threads)
        if device != "cpu":
            options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        with suppress_native_output(*_noisy(device)):
            return onnxruntime.InferenceSession(
                artifact.data,
                options,
                providers=_providers(device),
                # From the CPU it would fall back to the CPU, and say so on stdout.
                enable_fallback=device != "cpu",
            )

    try:
        session = session_with(threads)
    except (
        failures.Fail,
        failures.InvalidArgument,
        failures.InvalidGraph,
        failures.InvalidProtobuf,
        failures.NotImplemented,
        failures.RuntimeException,
        UnicodeDecodeError,  # of a name in the model
    ) as error:
        reason = str(error).splitlines()[0]
        raise ArtifactError(
            f"onnxruntime refuses {artifact.path} ({reason}): export it again"
        ) from error
    fallback = "" if device == "cpu" else _fallback(session, device, onnxruntime.__version__)
    try:
        return OnnxBackend(
            artifact,
            onnxruntime.__version__,
            device,
            fallback,
            session,
            threads if device == "cpu" else 1,
            lambda: session_with(1),
        )
    except UnicodeDecodeError as error:
        raise ArtifactError(
            f"onnxruntime refuses {artifact.path} (a name in it is no text): export it again"
        ) from error


def _options(options: Any, threads: int) -> Any:
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # its warnings are about its own choices, not the user's
    # Spinning threads answer a little sooner and burn a core while nobody asks.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry(*EXACT)
    return options


def _noisy(device: str) -> tuple[int, ...]:
    """The descriptors to silence while a session is opened."""
    if device != "cpu":  # a provider that cannot be had says so at length, from C++ and from Python
        return 1, 2
    # Debian's build, the one there is for 32-bit systems, registers its operators twice and says so
    # of each: a thousand lines.
    return (2,) if sys.maxsize < 2**32 else ()


def _providers(device: str) -> list[Any]:
    if device == "cpu":
        return [_CPU_PROVIDER]
    return [(PROVIDERS[device].name, dict(PROVIDERS[device].options)), _CPU_PROVIDER]


def _device(available: list[str], device: str) -> str:
    """The name in `devices` of what is asked for; "gpu" is the first that is there."""
    if device == "gpu":
        for name, provider in PROVIDERS.items():
            if provider.name in available and name != _NO_GPU:
                return name
        raise BackendUnavailable(
            "this onnxruntime has no GPU provider: pip install onnxruntime-gpu in place of "
            "onnxruntime"
        )
    if device != "cpu" and device not in PROVIDERS:
        raise BackendUnavailable(
            f"onnxruntime has no {device}: choose among cpu, gpu, {', '.join(PROVIDERS)}"
        )
    if device != "cpu" and PROVIDERS[device].name not in available:
        raise BackendUnavailable(
            f"this onnxruntime has no {PROVIDERS[device].name}: it takes {PROVIDERS[device].remedy}"
        )
    return device


def _fallback(session: Any, device: str, version: str) -> str:
    """What of the model the CPU computes in place of the device; empty where nothing.

    onnxruntime falls back in two ways, both silent but for its log: it drops a provider whose
    libraries or device are missing, or it keeps the provider and gives it no node.

    Raises:
        CpuFallbackError: all of the model runs on the CPU.
    """
    provider = PROVIDERS[device]
    if session.get_providers()[0] != provider.name:
        raise CpuFallbackError(
            f"onnxruntime fell back from {provider.name} to {session.get_providers()[0]}: "
            f"it takes {provider.remedy}"
        )
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return f"onnxruntime {version} does not say what ran where: 1.24 and newer do"
    counts: Counter[str] = Counter()
    for part in session.get_provider_graph_assignment_info():
        counts[part.ep_name] += len(part.get_nodes())
    elsewhere = counts.total() - counts[provider.name]
    if not counts[provider.name]:
        raise CpuFallbackError(
            f"onnxruntime keeps {provider.name} and computes on the CPU all the same: "
            f"it takes {provider.remedy}"
        )
    return f"{elsewhere} of {counts.total()} operators run on the CPU" if elsewhere else ""
