"""Hot reload: `ReloadingClassifier` opens the model file again whenever it is replaced.

Used by the long-running commands: `runtime.watch`, `runtime.camera` and `runtime.serve`.
"""

import os
import threading
import time
from pathlib import Path

from runtime.backends import golden
from runtime.classifier import Classifier
from runtime.errors import ArtifactError, EdgeError, report
from runtime.model.default_model import find_model

INTERVAL_S = 1.0  # the file is checked at most this often; one `stat` takes about 2 µs

_Identity = tuple[int, int, int, int]  # device, inode, size in bytes, mtime in ns


class ReloadingClassifier:
    """A classifier that reloads its model file when the file is replaced.

    A file is new if its device, inode, size or mtime differs; symbolic links are followed. If it
    cannot be opened or does not reproduce its golden outputs, the error is printed once. The
    current model then stays in use; at the start it is the previous one that `runtime.update`
    keeps. Safe to share between threads.

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
        """Open a model with the arguments of `Classifier.load`.

        Raises:
            ArtifactError: neither the file nor the previous model can be opened.
            BackendUnavailable: no engine for the file is installed, or it lacks the device.
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
        """The current classifier; get it anew for every image."""
        # One thread checks the file; the others do not wait for it.
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
    """Return the path at which `runtime.update` keeps the previous model: `x.previous.tflite`."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def _identity(path: Path) -> _Identity | None:
    """Return the file's identity, or None if the file does not exist."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
