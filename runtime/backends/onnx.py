"""Run .onnx models with onnxruntime, on the CPU or with one of its GPU execution providers.

`runtime.backends.open_backend` calls `open_artifact`. An execution provider is onnxruntime's driver
of a device. If a provider is missing, onnxruntime silently runs the whole model on the CPU;
`open_artifact` then raises `CpuFallbackError`.
"""

import os
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from runtime.backends import CpuFallbackError, Pixels, Scores, install_hint
from runtime.backends.checks import check_pixels
from runtime.backends.codec import Codec, Tensor
from runtime.errors import ArtifactError, BackendUnavailable, first_line, plural
from runtime.model.artifact import Artifact
from runtime.system.native_output import suppress_native_output

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


class Provider(NamedTuple):
    """An execution provider of onnxruntime.

    Attributes:
        name: onnxruntime's name of the provider.
        options: (key, value) pairs for the provider. They choose the device and switch off
            arithmetic of lower precision than float32 (TF32, FP16).
        remedy: hardware and packages that the provider needs, for error messages.
    """

    name: str
    options: tuple[tuple[str, str], ...]
    remedy: str


# Device name, as in `--device`, → provider. "gpu" selects the first GPU in this order whose
# provider is available, so the fastest providers come first.
PROVIDERS = {
    "tensorrt": Provider(
        "TensorrtExecutionProvider",
        (),
        "an NVIDIA card, its driver, and pip install onnxruntime-gpu tensorrt-cu13 "
        "(tensorrt-cu12 if it is built for CUDA 12)",
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
        "an AMD card, ROCm, and AMD's onnxruntime-rocm up to 1.22; later versions have MIGraphX",
    ),
    "coreml": Provider("CoreMLExecutionProvider", (), "a Mac and pip install onnxruntime"),
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
_CPU_ACCELERATOR = "openvino-cpu"  # the only device of PROVIDERS that is not a GPU

# Session option (key, value) for exact int8 sums. x86 processors with AVX2 but without VNNI add
# products of bytes in 16 bits. These sums overflow, so an int8 model would predict differently on
# such processors. Other processors ignore the option.
EXACT_INT8_SUMS = ("session.x64quantprecision", "1")

# onnxruntime's name of the type of a tensor → NumPy's.
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}
_CPU_PROVIDER = "CPUExecutionProvider"  # onnxruntime's name of the provider for the CPU
# onnxruntime's log level: print nothing but fatal errors. It raises the other errors as exceptions,
# and would print names in the model as they are, with control characters.
_LOG_FATAL_ERRORS = 4
# Most images per call on a CPU; a larger batch takes several calls. The activations of more images
# exceed the processor's cache.
_CPU_CHUNK_IMAGES = 64
_GPU_CHUNK_IMAGES = 1024  # most images per call on other devices; more images take several calls


class OnnxBackend:
    """A `Backend` on onnxruntime's InferenceSession. It is safe to share between threads.

    If a batch has several chunks and `threads` is above 1, the chunks run in parallel. Each chunk
    runs on one thread, in a second session that computes on the calling thread. In a network this
    small, the threads within one operator wait for each other longer than they compute. Parallel
    chunks are up to twice as fast.

    Args:
        artifact: the model and its spec.
        version: version of onnxruntime.
        device: "cpu" or a name in `PROVIDERS`.
        fallback: a text that says which operators run on the CPU instead of the device; empty if
            all run on the device.
        session: the `onnxruntime.InferenceSession`.
        threads: number of chunks that run in parallel; 1 runs the chunks one after another.
        open_single_threaded: opens the second session; called for the first large batch.
        failures: the exceptions that a session raises.

    Raises:
        ArtifactError: the model contradicts its spec, or its input or output is not float32.
    """

    def __init__(
        self,
        artifact: Artifact,
        version: str,
        device: str,
        fallback: str,
        session: Any,
        threads: int,
        open_single_threaded: Callable[[], Any],
        failures: tuple[type[Exception], ...],
    ) -> None:
        self.name = "onnxruntime"
        self.version = version
        self.device = device
        self.fallback = fallback
        self.spec = artifact.spec
        self._path = artifact.path
        self._failures = failures
        self._session = session
        self._chunk = _CPU_CHUNK_IMAGES if device == "cpu" else _GPU_CHUNK_IMAGES
        self._threads = threads
        self._open_single_threaded = open_single_threaded
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._single_threaded: Any = None
        inputs, outputs = session.get_inputs(), session.get_outputs()
        self._codec = Codec(artifact, [*map(tensor_of, inputs)], [*map(tensor_of, outputs)])
        self._chunk = self._codec.batch or self._chunk
        self._path = artifact.path
        self._input, self._outputs = inputs[0].name, [outputs[0].name]

    def scores(self, pixels: Pixels) -> Scores:
        """Return the softmax, (N, classes) float32, of pixels (N, 28, 28, 1) uint8 with N ≥ 1.

        Raises:
            ImageError: `pixels` has a different shape or dtype.
            ArtifactError: onnxruntime cannot run the model.
        """
        check_pixels(pixels, self.spec.input_shape)
        chunk = self._chunk
        if len(pixels) <= chunk:
            return self._run(pixels, self._session)
        chunks = [pixels[start : start + chunk] for start in range(0, len(pixels), chunk)]
        if self._threads == 1:
            return np.concatenate([self._run(chunk, self._session) for chunk in chunks])
        pool, session = self._parallel()
        return np.concatenate(list(pool.map(lambda chunk: self._run(chunk, session), chunks)))

    def _run(self, pixels: Pixels, session: Any) -> Scores:
        feed = {self._input: self._codec.encode(pixels)}
        try:
            (output,) = session.run(self._outputs, feed)
        except self._failures as error:
            raise ArtifactError(
                f"onnxruntime cannot run {self._path} with {plural(len(pixels), 'image')} "
                f"({first_line(error)}): convert the model again"
            ) from error
        return self._codec.decode(output, len(pixels))

    def _parallel(self) -> "tuple[ThreadPoolExecutor, Any]":
        """Return a thread pool, and a session that computes on the calling thread."""
        from concurrent.futures import ThreadPoolExecutor

        with self._lock:
            if self._pool is None:
                self._single_threaded = self._open_single_threaded()
                self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="onnxruntime")
            return self._pool, self._single_threaded


def tensor_of(value: Any) -> Tensor:
    """Return the tensor of an input or an output of a session; onnxruntime hides quantization."""
    return Tensor(tuple(value.shape), _DTYPES.get(value.type, value.type))


def devices(name: str) -> tuple[str, ...]:
    """Return the supported devices: "cpu" and the names in `PROVIDERS`.

    Args:
        name: name of the engine, which is ignored: there is one engine for .onnx files.
    """
    return ("cpu", *PROVIDERS)


def open_artifact(artifact: Artifact, name: str, threads: int, device: str) -> OnnxBackend:
    """Open an .onnx artifact with onnxruntime.

    Args:
        artifact: the model and its spec.
        name: name of the engine in `runtime.engines.ENGINES`, for error messages.
        threads: number of threads on the CPU, at least 1; ignored on other devices.
        device: "cpu", "gpu" or a name in `PROVIDERS`.

    Raises:
        BackendUnavailable: onnxruntime or a provider for the device is not available.
        CpuFallbackError: the provider is available, but the model would run on the CPU.
        ArtifactError: onnxruntime rejects the model, or the model contradicts its spec.
    """
    # From version 1.32 on, importing onnxruntime starts a telemetry thread. This thread takes 2 MB
    # and writes an identifier into the user's cache. A user who sets the variable to 0 enables it.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as native
    except ImportError as error:
        raise BackendUnavailable(
            f"onnxruntime is not installed ({error}): {install_hint(name)}"
        ) from error
    device = _device(onnxruntime.get_available_providers(), device)
    # onnxruntime has no base class of its exceptions. A name in the model may not be UTF-8.
    raised: tuple[type[Exception], ...] = (RuntimeError, ValueError)
    for member in vars(native).values():
        if isinstance(member, type) and issubclass(member, Exception):
            raised += (member,)

    def session_with(threads: int) -> Any:
        options = _options(onnxruntime.SessionOptions(), threads)
        if device != "cpu":
            options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        with suppress_native_output(*_descriptors_to_suppress(device)):
            return onnxruntime.InferenceSession(
                artifact.data,
                options,
                providers=_providers(device),
                # On the CPU, the fallback would only retry on the CPU and print a line on stdout.
                enable_fallback=device != "cpu",
            )

    try:
        session = session_with(threads)
    except raised as error:
        raise ArtifactError(
            f"onnxruntime rejects {artifact.path} ({first_line(error)}): export it again"
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
            raised,
        )
    except UnicodeDecodeError as error:
        raise ArtifactError(
            f"onnxruntime rejects {artifact.path} (a name in the model is not UTF-8): export it "
            "again"
        ) from error


def _options(options: Any, threads: int) -> Any:
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _LOG_FATAL_ERRORS
    # Switch off spinning: waiting threads would lower the latency a little, but keep a core busy
    # between calls.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry(*EXACT_INT8_SUMS)
    return options


def _descriptors_to_suppress(device: str) -> tuple[int, ...]:
    """Return the file descriptors to suppress while a session is opened."""
    if device != "cpu":  # an unavailable provider prints many lines, from C++ and from Python
        return 1, 2
    # 32-bit systems have Debian's build of onnxruntime. This build registers its operators twice
    # and prints a warning about each.
    return (2,) if sys.maxsize < 2**32 else ()


def _providers(device: str) -> list[Any]:
    if device == "cpu":
        return [_CPU_PROVIDER]
    return [(PROVIDERS[device].name, dict(PROVIDERS[device].options)), _CPU_PROVIDER]


def _device(available: list[str], device: str) -> str:
    """Return the requested device; for "gpu", the first GPU whose provider is available."""
    if device == "gpu":
        for name, provider in PROVIDERS.items():
            if provider.name in available and name != _CPU_ACCELERATOR:
                return name
        raise BackendUnavailable(
            "this onnxruntime has no GPU provider: pip install onnxruntime-gpu in place of "
            "onnxruntime"
        )
    if device != "cpu" and device not in PROVIDERS:
        raise BackendUnavailable(
            f"onnxruntime has no device {device}: choose one of cpu, gpu, {', '.join(PROVIDERS)}"
        )
    if device != "cpu" and PROVIDERS[device].name not in available:
        raise BackendUnavailable(
            f"this onnxruntime has no {PROVIDERS[device].name}: the device {device} needs "
            f"{PROVIDERS[device].remedy}"
        )
    return device


def _fallback(session: Any, device: str, version: str) -> str:
    """Return a text that says which operators run on the CPU instead of the device; empty if none.

    onnxruntime falls back to the CPU in two ways, and reports this in its log only. It drops a
    provider whose libraries or device are missing, or it assigns no operator to the provider.

    Raises:
        CpuFallbackError: the whole model runs on the CPU.
    """
    provider = PROVIDERS[device]
    if session.get_providers()[0] != provider.name:
        raise CpuFallbackError(
            f"onnxruntime fell back from {provider.name} to {session.get_providers()[0]}: "
            f"{provider.name} needs {provider.remedy}"
        )
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return (
            f"onnxruntime {version} does not report the placement of operators; 1.24 and later do"
        )
    counts: Counter[str] = Counter()
    for part in session.get_provider_graph_assignment_info():
        counts[part.ep_name] += len(part.get_nodes())
    on_cpu = counts.total() - counts[provider.name]
    if not counts[provider.name]:
        raise CpuFallbackError(
            f"onnxruntime has {provider.name} but computes on the CPU: {provider.name} needs "
            f"{provider.remedy}"
        )
    return f"{on_cpu} of {counts.total()} operators run on the CPU" if on_cpu else ""
