"""Hot reload: `ReloadingClassifier` opens its model file again when the file is replaced.

The long-running commands `digit-edge watch`, `camera` and `serve` classify with it, so that
`digit-edge update` can replace a model without a restart.
"""

import os
import threading
import time
from pathlib import Path

from runtime.backends import golden
from runtime.classifier import Classifier
from runtime.errors import ArtifactError, EdgeError, report
from runtime.model.default_model import find_model

INTERVAL_S = 1.0  # smallest time between two checks of the file; in between, the open model is used

_Identity = tuple[int, int, int, int]  # device, inode, size in bytes, mtime in ns


class ReloadingClassifier:
    """A classifier that reloads its model file when the file is replaced.

    A file counts as replaced if its device, inode, size or mtime differs; symbolic links are
    followed. A new file must open and reproduce its golden outputs: the scores of a few images,
    stored in the file. Otherwise the error is printed once, and the current model stays in use. If
    the file fails at the start, the previous model is used: `digit-edge update` keeps the replaced
    model as `x.previous.tflite` beside `x.tflite`.

    The class is safe to share between threads.

    Attributes:
        path: of the model file.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        backend: str | None = None,
        threads: int = 1,
        device: str = "cpu",
    ) -> None:
        """Open a model.

        Args:
            path: a .tflite or .onnx model; None opens the model that `Classifier.load` uses by
                default.
            backend: name of the engine; None uses the first installed one that opens the file.
            threads: number of threads of the engine, at least 1.
            device: "cpu", "gpu" or another device of the engine.

        Raises:
            ArtifactError: the file is missing, damaged or does not reproduce its golden outputs,
                and there is no previous model that does.
            BackendUnavailable: no engine for the file is installed, or the engine lacks the device.
        """
        self.path = Path(path) if path is not None else find_model(backend)
        self._backend, self._threads, self._device = backend, threads, device
        self._lock = threading.Lock()
        self._identity = _identity(self.path)
        try:
            self._classifier = self._load(self.path)
        except ArtifactError as error:
            fallback = previous(self.path)
            if not fallback.exists():
                raise
            self._classifier = self._load(fallback)
            report(EdgeError(f"{error}; using the previous model {fallback}"))
        self._next_check_s = time.monotonic() + INTERVAL_S

    @property
    def classifier(self) -> Classifier:
        """The classifier of the current file; read this property again for every image.

        A file that cannot be opened is reported on stderr and raises nothing.
        """
        # One thread checks the file; other threads do not wait and use the open model.
        if time.monotonic() >= self._next_check_s and self._lock.acquire(blocking=False):
            try:
                self._reload_if_replaced()
                self._next_check_s = time.monotonic() + INTERVAL_S
            finally:
                self._lock.release()
        return self._classifier

    def _reload_if_replaced(self) -> None:
        identity = _identity(self.path)
        if identity == self._identity:
            return
        self._identity = identity
        try:
            classifier = self._load(self.path)
        except EdgeError as error:
            report(EdgeError(f"{error}; the current model stays in use"))
        except MemoryError:
            report(EdgeError(f"no memory to open {self.path}; the current model stays in use"))
        else:
            self._classifier = classifier

    def _load(self, path: Path) -> Classifier:
        classifier = Classifier.load(
            path, backend=self._backend, threads=self._threads, device=self._device
        )
        try:
            golden.check(classifier.backend)
        except ArtifactError as error:
            raise ArtifactError(f"{path}: {error}") from error
        return classifier


def previous(path: Path) -> Path:
    """Return the path of the previous model: `x.previous.tflite` beside `x.tflite`."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def _identity(path: Path) -> _Identity | None:
    """Return the file's identity, or None if the file does not exist."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
