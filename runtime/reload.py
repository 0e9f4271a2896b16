"""ReloadingClassifier: a classifier that takes up a new model file while the program runs."""

import os
import threading
import time
from pathlib import Path

from runtime.backends import golden
from runtime.classifier import Classifier, find_model
from runtime.errors import ArtifactError, EdgeError, report

# How often the file is looked at, at most: a `stat` costs a microsecond or two.
INTERVAL_S = 1.0

_Identity = tuple[int, int, int, int]


class ReloadingClassifier:
    """The classifier of a model file, opened again when the file has been switched.

    The file counts as switched when its device, inode, size or time of change is another one,
    whatever the clock says; of a link, those of what it points to. A new file that cannot be
    opened, or does not give its golden answers, is named once and the old model goes on answering;
    at the start, the one that `runtime.update` kept beside it. Safe to share between threads.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        backend: str | None = None,
        threads: int = 1,
        device: str = "cpu",
    ) -> None:
        """Open a model, as `Classifier.load` does.

        Raises:
            ArtifactError, BackendUnavailable: as `Classifier.load`.
        """
        self._path = Path(path) if path is not None else find_model(backend)
        self._backend, self._threads, self._device = backend, threads, device
        self._lock = threading.Lock()
        self._seen = _identity(self._path)
        try:
            self._classifier = self._load(self._path)
        except ArtifactError as error:
            kept = previous(self._path)
            if not kept.exists():
                raise
            self._classifier = self._load(kept)
            report(EdgeError(f"{error}; the model before it, {kept}, is used"))
        self._look_at = time.monotonic() + INTERVAL_S

    @property
    def classifier(self) -> Classifier:
        """The classifier to use now; ask for it again with every image."""
        # One thread looks; the others go on with what there is.
        if time.monotonic() >= self._look_at and self._lock.acquire(blocking=False):
            try:
                self._look()
                self._look_at = time.monotonic() + INTERVAL_S
            finally:
                self._lock.release()
        return self._classifier

    def _look(self) -> None:
        found = _identity(self._path)
        if found == self._seen:
            return
        self._seen = found
        try:
            classifier = self._load(self._path)
        except EdgeError as error:
            report(EdgeError(f"{error}; the model opened before goes on"))
        except MemoryError:
            report(EdgeError(f"no memory to open {self._path}; the model opened before goes on"))
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
    """Where `runtime.update` keeps the model that was at `path` before: `x.previous.tflite`."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def _identity(path: Path) -> _Identity | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
