"""Classify many images in batches for `digit-edge classify` and format their lines.

`BatchJob.run` begins in this process. If there is more work than that can do quickly, it starts the
worker processes of `runtime.cli.worker_pool`.
"""

import contextlib
import os
import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain

from runtime.classifier import Classifier
from runtime.cli import inputs
from runtime.cli.formats import OutputFormat
from runtime.cli.inputs import UnreadablePath
from runtime.errors import ImageError, printable
from runtime.outputs import records
from runtime.prediction import Prediction

# Time that this process classifies alone before it starts workers, which takes longer than that.
_SINGLE_PROCESS_S = 0.05
# Target duration of a batch: short enough for a person who watches the output, long compared with
# the 0.0005 s or less that sending it to another process takes.
_TARGET_BATCH_S = 0.03
_MAX_BATCH_IMAGES = 256  # in one batch, however fast they are

Batch = list[str | UnreadablePath]  # paths, and errors for paths without an image


@dataclass(frozen=True)
class FormattedBatch:
    """The formatted results of a batch.

    Attributes:
        lines: one (is an error, text) per image, in the order of the images.
        seconds: duration of the classification.
    """

    lines: list[tuple[bool, str]]
    seconds: float

    @property
    def count(self) -> int:
        """The number of images."""
        return len(self.lines)


@dataclass
class BatchJob:
    """Settings to classify a command's images and format the results; each worker gets a copy.

    Attributes:
        model: path of the artifact; None for the default model.
        backend: name of the engine; None for the first installed one.
        threads: number of threads of the engine.
        device: "cpu" or "gpu".
        form: formats each line.
        top: number of likeliest labels per image.
    """

    model: str | None
    backend: str | None
    threads: int
    device: str
    form: OutputFormat
    top: int
    _opened: list[Classifier] = field(default_factory=list)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_opened": []}

    def open(self) -> None:
        """Open the model in this process.

        Raises:
            ArtifactError: the file is missing, damaged or contradicts its spec.
            BackendUnavailable: no engine for the file is installed, or it lacks the device.
        """
        # Keep a model that was opened before this process was forked: its engine's threads do not
        # exist in this process, so it cannot be closed.
        self._opened.append(
            Classifier.load(
                self.model, backend=self.backend, threads=self.threads, device=self.device
            )
        )

    @property
    def classifier(self) -> Classifier:
        """The model opened by `open`."""
        return self._opened[-1]

    def do(self, task: Batch) -> FormattedBatch:
        """Classify a batch; an unreadable image does not affect the others."""
        start_s = time.perf_counter()
        results = iter(self._classify([item for item in task if isinstance(item, str)]))
        lines = []
        for item in task:
            image, result = item if isinstance(item, UnreadablePath) else (item, next(results))
            if isinstance(result, str):
                lines.append((True, self._error_line(image, result)))
            else:
                lines.append((False, self._line(image, result)))
        return FormattedBatch(lines, time.perf_counter() - start_s)

    def run(
        self, images: Iterable[str | UnreadablePath | None], jobs: int
    ) -> Generator[FormattedBatch, None, None]:
        """Classify images in their order.

        Args:
            images: from `inputs.find`.
            jobs: most processes.

        Raises:
            EdgeError: a worker process died.
        """
        sizer = _BatchSizer()
        batches = inputs.batches(images, sizer.size)
        elapsed_s = 0.0
        for batch in batches:
            if jobs > 1 and elapsed_s > _SINGLE_PROCESS_S:
                break
            done = self.do(batch)
            sizer.learn(done)
            elapsed_s += done.seconds
            yield done
        else:
            return
        # Imported here, so that a single image does not wait for the import.
        from runtime.cli.worker_pool import Pool

        pool: Pool[Batch, FormattedBatch] = Pool(self, jobs)
        try:
            for done in pool.answers(chain([batch], batches)):
                sizer.learn(done)
                yield done
        finally:
            pool.close()

    def _classify(self, images: Sequence[str]) -> Sequence[Prediction | str]:
        """Return each image's prediction, or its error message."""
        # Regular files only: the batch may be read again, which a pipe does not allow.
        if all(map(os.path.isfile, images)):
            # If one image is unreadable, classify each one by itself below.
            with contextlib.suppress(ImageError):
                return self.classifier.classify_batch(images)
        return [self._classify_one(image) for image in images]

    def _classify_one(self, image: str) -> Prediction | str:
        try:
            return self.classifier.classify(image)
        except ImageError as error:
            return str(error)

    def _line(self, image: str, prediction: Prediction) -> str:
        classifier = self.classifier
        record = records.describe(image, prediction, classifier.spec.labels, self.top)
        record["backend"] = classifier.backend.name
        return self.form.line(record)

    def _error_line(self, image: str, message: str) -> str:
        message = " ".join(message.split())
        if self.form.has_errors:
            return self.form.line({"image": image, "error": message})
        return f"error: {printable(message)}\n"


class _BatchSizer:
    """Chooses the number of images in a batch by the duration of the previous one."""

    def __init__(self) -> None:
        self._size = 1

    def size(self) -> int:
        return self._size

    def learn(self, done: FormattedBatch) -> None:
        """Aim at `_TARGET_BATCH_S`; at most double the size, since first images are not typical."""
        fitting = int(_TARGET_BATCH_S * done.count / max(done.seconds, 1e-6))
        self._size = max(1, min(fitting, 2 * self._size, _MAX_BATCH_IMAGES))
