"""Run models that `digit-edge export-c` exported as C.

`runtime.backends.open_backend` calls `open_artifact`. The C compiler of this machine compiles the
model once, together with the vector code in the folder `kernels`; the library is kept in the
user's cache. It is a program: open only models whose source you trust.
"""

import contextlib
import ctypes
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import threading
import zlib
from pathlib import Path

import numpy as np

from runtime.backends import Backend, Pixels, Scores
from runtime.backends.checks import check_pixels
from runtime.engines import c_compiler, install_hint
from runtime.errors import ArtifactError, BackendUnavailable, printable
from runtime.model.artifact import Artifact

_KERNELS = Path(__file__).parent / "kernels"  # the vector code, in C
_SYSTEM = str(sysconfig.get_config_var("MULTIARCH"))  # as "arm-linux-gnueabihf"
# On 32-bit Arm, -O3 takes twice the time of the compiler and gives slower code.
_OPTIMIZATION = "-O2" if _SYSTEM.startswith("arm-") else "-O3"
# No -march=native: the vector code asks the processor at run time. -ffp-contract=off: a fused
# multiply-add would round the scores differently.
_OPTIONS = ("-std=gnu99", _OPTIMIZATION, "-ffp-contract=off", "-fPIC", "-shared", "-w")
_COMPILER_TIMEOUT_S = 600  # a longer run of the compiler is ended
_MESSAGE_CHARACTERS = 500  # an error message contains at most this much output of the compiler
_CHUNK_IMAGES = 64  # images per call of the library; the lock is free for other threads between

# Folder of libraries that install-pi.sh compiled. Services cannot write to it, nor to a cache.
_INSTALLED = Path(sys.prefix) / "cache" / "digit-edge" / "native"
# Names of the sets of vector code, the fastest of each processor first, and of the plain C.
INSTRUCTION_SETS = (
    "avx512-vnni",
    "avx-vnni",
    "avx2",
    "neon-dotprod",
    "neon",
    "smlad",
    "portable",
)

# Library → its lock. The library keeps data between calls, so only one thread may be inside.
_LOCKS: dict[str, threading.Lock] = {}
if hasattr(os, "register_at_fork"):  # not on Windows
    # In a forked process, a lock that another thread held would never be released.
    os.register_at_fork(after_in_child=_LOCKS.clear)


class NativeBackend:
    """A `Backend` on a library that was compiled from an artifact.

    Calls from several threads run one after another.

    Args:
        artifact: the model and its spec.
        library: the compiled model.
        lock: held during each call of the library.

    Raises:
        ArtifactError: the model contradicts its spec.
    """

    # Names the processor of operators that the device cannot run; the CPU, the device, runs all.
    fallback = ""

    def __init__(self, artifact: Artifact, library: ctypes.CDLL, lock: threading.Lock) -> None:
        self.name = "native"
        self.device = "cpu"
        self.spec = artifact.spec
        self._lock = lock
        shape, classes = self.spec.fixed_shape, len(self.spec.labels)
        try:
            sizes = [
                ctypes.c_int.in_dll(library, f"digit_edge_{name}").value
                for name in ("pixels", "classes")
            ]
            compiler = ctypes.c_char.in_dll(library, "digit_edge_compiler")
            self._choose, self._run = library.digit_edge_choose, library.digit_edge_classify
        except (AttributeError, ValueError) as error:
            raise ArtifactError(
                f"{artifact.path} lacks the functions of a model ({error}): export it again with "
                "digit-edge export-c"
            ) from error
        if sizes != [int(np.prod(shape)), classes]:
            raise ArtifactError(
                f"{artifact.path} takes {sizes[0]} pixels and returns {sizes[1]} scores, but its "
                f"spec says {int(np.prod(shape))} and {classes}: export it again"
            )
        version = ctypes.string_at(ctypes.addressof(compiler)).decode()
        self.version = re.sub(r"^\D*", "", version) or "0"  # "Debian Clang 14.0.6" → "14.0.6"
        # Fixed memory, because ctypes would take 1 µs a call for the address of a new array.
        self._scores = np.zeros((_CHUNK_IMAGES, classes), np.float32)
        self._scores_address = ctypes.c_void_p(self._scores.ctypes.data)
        self._labels = (ctypes.c_int * _CHUNK_IMAGES)()
        self._choose.restype = ctypes.c_char_p
        self.choose_instructions(None)

    def choose_instructions(self, name: str | None) -> str | None:
        """Choose the instruction set of the vector code, for benchmarks and tests.

        All backends of the same artifact in this process use it.

        Args:
            name: an element of `INSTRUCTION_SETS`; None: the fastest one.

        Returns:
            The name of the chosen set; None if this processor lacks the set `name`.
        """
        with self._lock:
            chosen = self._choose(None if name is None else name.encode())
        return None if chosen is None else chosen.decode()

    def scores(self, pixels: Pixels) -> Scores:
        """Return the softmax, (N, classes) float32, of pixels (N, 28, 28, 1) uint8 with N ≥ 1.

        Raises:
            ImageError: `pixels` has a different shape or dtype.
        """
        check_pixels(pixels, self.spec.input_shape)
        if len(pixels) <= _CHUNK_IMAGES:
            return self._chunk(pixels)
        return np.concatenate([self._chunk(chunk) for chunk in _chunks(pixels)])

    def classify(self, pixels: Pixels) -> tuple[Scores, list[int]]:
        """Classify and reject images in one call of the library for each 64 images.

        Args:
            pixels: uint8 (N, 28, 28, 1) with N ≥ 1.

        Returns:
            The softmax, (N, classes) float32, and for each image the index n of its label, or
            -1 - n if the image is rejected.

        Raises:
            ImageError: `pixels` has a different shape or dtype.
        """
        check_pixels(pixels, self.spec.input_shape)
        labels: list[int] = []
        if len(pixels) <= _CHUNK_IMAGES:
            return self._chunk(pixels, labels), labels
        return np.concatenate([self._chunk(chunk, labels) for chunk in _chunks(pixels)]), labels

    def run(self, pixels: bytes, count: int, labels: "ctypes.Array[ctypes.c_int] | None") -> None:
        """Fill the array of scores for `count` images, and the array `labels`, without the lock.

        `scores`, `classify` and the benchmark of instruction sets call it.
        """
        self._run(pixels, count, self._scores_address, labels)

    def _chunk(self, pixels: Pixels, labels: list[int] | None = None) -> Scores:
        """Return the scores of at most 64 images; append their labels to `labels`."""
        count = len(pixels)
        with self._lock:
            self.run(pixels.tobytes(), count, None if labels is None else self._labels)
            if labels is not None:
                labels += self._labels[:count]
            scores: Scores = self._scores[:count].copy()
            return scores


def _chunks(pixels: Pixels) -> list[Pixels]:
    """Split images into arrays of at most 64."""
    return [pixels[start : start + _CHUNK_IMAGES] for start in range(0, len(pixels), _CHUNK_IMAGES)]


def devices(name: str) -> tuple[str, ...]:
    """Return the supported devices of the engine: only the CPU."""
    return ("cpu",)


def open_artifact(artifact: Artifact, name: str, threads: int, device: str) -> Backend:
    """Compile a .c artifact, unless its library is in the cache, and load the library.

    Args:
        artifact: the model and its spec.
        name: "native".
        threads: not used; the library runs in the thread that calls it.
        device: "cpu".

    Raises:
        BackendUnavailable: there is no C compiler, or another device than the CPU is wanted.
        ArtifactError: the model cannot be compiled or loaded, or contradicts its spec.
    """
    if device not in devices(name):
        raise BackendUnavailable(f"{name} has no device {device}: choose cpu")
    library = f"{_key(artifact)}.so"
    with contextlib.suppress(OSError):  # it is missing or damaged
        return _open_library(artifact, _INSTALLED / library)
    folder = _cache_folder()
    if folder is not None:
        return _load(artifact, folder / library)
    with tempfile.TemporaryDirectory(prefix="digit-edge-") as temporary:
        return _load(artifact, Path(temporary) / library)


def _load(artifact: Artifact, path: Path) -> NativeBackend:
    """Load the library at `path`; compile it if it is missing or damaged."""
    if not path.exists():
        _compile(artifact, path)
    try:
        return _open_library(artifact, path)
    except OSError:
        _compile(artifact, path)  # the power failed while the file was written
    try:
        return _open_library(artifact, path)
    except OSError as error:
        raise BackendUnavailable(
            f"the library compiled from {artifact.path} cannot be loaded ({error}): set "
            "XDG_CACHE_HOME to a folder from which programs may run"
        ) from error


def _open_library(artifact: Artifact, path: Path) -> NativeBackend:
    """Load the library at `path`; raise OSError if it is missing or damaged."""
    lock = _LOCKS.setdefault(str(path), threading.Lock())
    return NativeBackend(artifact, ctypes.CDLL(str(path)), lock)


def _compile(artifact: Artifact, path: Path) -> None:
    """Compile an artifact to a library at `path`, which appears whole or not at all."""
    compiler = c_compiler()
    if compiler is None:
        raise BackendUnavailable(f"{artifact.path} needs a C compiler: {install_hint('native')}")
    with tempfile.TemporaryDirectory(prefix=".compile-", dir=path.parent) as folder:
        source, made = Path(folder) / "model.c", Path(folder) / "model.so"
        source.write_bytes(artifact.data)
        command = [compiler, *_OPTIONS, f"-I{_KERNELS}", "-DDIGIT_EDGE_KERNELS=<kernels.h>"]
        try:
            done = subprocess.run(
                [*command, str(source), "-o", str(made)],
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=_COMPILER_TIMEOUT_S,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BackendUnavailable(f"the C compiler {compiler} cannot run ({error})") from error
        if done.returncode:
            printed = printable(done.stderr.decode(errors="replace").strip()[-_MESSAGE_CHARACTERS:])
            raise ArtifactError(
                f"{compiler} cannot compile {artifact.path}: export it again with digit-edge "
                f"export-c; output: {printed}"
            )
        os.replace(made, path)


def _key(artifact: Artifact) -> str:
    """Return a file name that differs for each model, vector code, options and kind of machine."""
    parts = [*_OPTIONS, _SYSTEM, os.uname().machine]
    code = [header.read_bytes() for header in sorted(_KERNELS.glob("*.h"))]
    checksum = zlib.crc32(b"\0".join([*map(str.encode, parts), *code]))
    return f"{artifact.spec.digest}-{checksum:08x}"


def _cache_folder() -> Path | None:
    """Return the folder of compiled libraries; None if no folder is private to this user.

    Another user's library would run with the rights of this process.
    """
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(root) / "digit-edge" / "native"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError:
        return None
    private = status.st_uid == os.geteuid() and not status.st_mode & 0o022
    return folder if private and os.access(folder, os.W_OK) else None
