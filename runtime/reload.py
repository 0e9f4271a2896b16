"""Hot reload: `ReloadingClassifier` opens its model file again when the file is replaced.

The long-running commands `digit-edge watch`, `camera` and `serve` classify with it, so that
`digit-edge update` can replace a model without a restart.
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from runtime.backends import golden
from runtime.classifier import Classifier
from runtime.errors import ArtifactError, EdgeError, report
from runtime.model import artifact
from runtime.model.default_model import find_model
from runtime.trial import try_model

INTERVAL_S = 1.0  # smallest time between two checks of the file; in between, the open model is used

_Result = TypeVar("_Result")
_Identity = tuple[int, int, int, int]  # device, inode, size in bytes, mtime in ns


class ReloadingClassifier:
    """A classifier that reloads its model file when the file is replaced.

    A file counts as replaced if its device, inode, size or mtime differs; symbolic links are
    followed. A new file must open and reproduce its golden outputs: the scores of a few images,
    stored in the file. This is tried in another process first, so a model that crashes its engine
    does not end the service. If the file fails, the error is printed once, and the current model
    stays in use.

    If the file fails at the start, or later in `run`, the previous model is used: `digit-edge
    update` keeps the replaced model as `x.previous.tflite` beside `x.tflite`.

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
            # Without a previous model, a trial would only delay the start.
            self._classifier = self._load(self.path, trial=previous(self.path).exists())
        except ArtifactError as error:
            self._classifier = self._load_previous(error)
        self._next_check_s = time.monotonic() + INTERVAL_S

    @property
    def classifier(self) -> Classifier:
        """The classifier of the current file; read this property again for every image.

        A file that cannot be opened is reported on stderr and raises nothing.
        """
        self.reload_if_replaced()
        return self._classifier

    def reload_if_replaced(self) -> None:
        """Reload the file if it was replaced; this takes seconds, and most calls do nothing."""
        # One thread checks the file; other threads do not wait and use the open model.
        if time.monotonic() >= self._next_check_s and self._lock.acquire(blocking=False):
            try:
                self._check_file()
                self._next_check_s = time.monotonic() + INTERVAL_S
            finally:
                self._lock.release()

    def run(self, work: Callable[[Classifier], _Result]) -> _Result:
        """Call a function with the current classifier; if the engine fails, with the previous one.

        The previous model then stays in use until the file is replaced.

        Args:
            work: the function, which classifies an image.

        Returns:
            The result of `work`.

        Raises:
            ArtifactError: the engine failed, and there is no previous model.
        """
        classifier = self.classifier
        try:
            return work(classifier)
        except ArtifactError as error:
            with self._lock:
                if self._classifier is classifier:
                    self._classifier = self._load_previous(error)
                classifier = self._classifier
            return work(classifier)

    def _load_previous(self, error: ArtifactError) -> Classifier:
        """Open the previous model and report the error of the current one; or raise the error."""
        fallback = previous(self.path)
        if not fallback.exists():
            raise error
        classifier = self._load(fallback, trial=False)
        report(EdgeError(f"{error}; using the previous model {fallback}"))
        return classifier

    def _check_file(self) -> None:
        identity = _identity(self.path)
        if identity == self._identity:
            return
        self._identity = identity
        try:
            classifier = self._load(self.path, trial=True)
        except EdgeError as error:
            report(EdgeError(f"{error}; the current model stays in use"))
        except MemoryError:
            report(EdgeError(f"no memory to open {self.path}; the current model stays in use"))
        else:
            self._classifier = classifier

    def _load(self, path: Path, trial: bool) -> Classifier:
        """Open a model.

        Args:
            path: of the model file.
            trial: whether to try the model in another process first.

        Raises:
            EdgeError: the model cannot be used.
        """
        opened = artifact.read(path)  # once: the tested bytes are the ones that are used
        try:
            if trial:
                try_model(opened, self._backend, self._threads, self._device)
            classifier = Classifier.from_artifact(
                opened, self._backend, self._threads, self._device
            )
            golden.check(classifier.backend)
        except ArtifactError as error:
            named = str(path) in str(error)
            raise ArtifactError(f"{error}" if named else f"{path}: {error}") from error
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
