"""Process many images in batches for `digit-edge classify` and `read`, and format their lines.

`BatchJob.run` begins in this process. If there is more work than that can do quickly, it starts the
worker processes of `runtime.cli.worker_pool`.
"""

import contextlib
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple, TypeAlias

from runtime.classifier import Classifier
from runtime.cli import inputs
from runtime.cli.formats import OutputFormat
from runtime.cli.inputs import Found, FoundImage, PipedImage, UnreadablePath
from runtime.errors import ImageError, printable
from runtime.outputs import records
from runtime.outputs.records import Record
from runtime.prediction import Prediction
from runtime.preprocess.decode import ImageSource

# Time that this process works alone before it starts workers, which takes longer than that.
_SINGLE_PROCESS_S = 0.05
# Target duration of a batch: short enough for a person who watches the output, long compared with
# the 0.0005 s or less that sending it to another process takes.
_TARGET_BATCH_S = 0.03
_MAX_BATCH_IMAGES = 256  # in one batch, however fast they are

Batch: TypeAlias = list[Found]  # images, and errors for paths without an image


class OutputLine(NamedTuple):
    """The text that is printed for one image.

    Attributes:
        text: one or more lines, each with a newline at its end.
        is_error: whether the image could not be read.
        to_stderr: whether it is printed on stderr, otherwise on stdout.
    """

    text: str
    is_error: bool = False
    to_stderr: bool = False


@dataclass(frozen=True)
class FormattedBatch:
    """The formatted results of a batch.

    Attributes:
        lines: in the order of the images.
        count: number of images.
        seconds: time that they took.
    """

    lines: list[OutputLine]
    count: int
    seconds: float


@dataclass
class BatchJob(ABC):
    """A command's work on images: one record each, formatted; each worker gets a copy.

    Attributes:
        model: path of the artifact; None for the default model.
        backend: name of the engine; None for the first installed one.
        threads: number of threads of the engine.
        device: "cpu" or "gpu".
        form: formats each record.
    """

    model: str | None
    backend: str | None
    threads: int
    device: str
    form: OutputFormat
    _opened: list[Classifier] = field(default_factory=list, kw_only=True)

    @abstractmethod
    def records(self, images: Sequence[FoundImage]) -> Sequence[Record | str]:
        """Return each image's record, or its error message."""

    def note(self, record: Record) -> str | None:
        """Return what to print on stderr besides an image's record; None for nothing."""
        return None

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
        """Process a batch; an unreadable image does not affect the others."""
        start_s = time.perf_counter()
        lines = []
        for item, result in zip(task, self.results(task), strict=True):
            if isinstance(result, str):
                lines.append(self._error_line(name_of(item), result))
            else:
                lines.append(OutputLine(self.form.line(result)))
                note = self.note(result)
                if note is not None:
                    lines.append(OutputLine(f"{printable(note)}\n", to_stderr=True))
        return FormattedBatch(lines, len(task), time.perf_counter() - start_s)

    def results(self, batch: Batch) -> Iterator[Record | str]:
        """Yield each image's record, or the error message of an image or a path without one."""
        images = [item for item in batch if not isinstance(item, UnreadablePath)]
        records = iter(self.records(images))
        for item in batch:
            yield item.message if isinstance(item, UnreadablePath) else next(records)

    def run(
        self, images: Iterable[Found | None], jobs: int
    ) -> Generator[FormattedBatch, None, None]:
        """Process images in their order.

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

    def _error_line(self, image: str, message: str) -> OutputLine:
        message = " ".join(message.split())
        if self.form.has_errors:
            return OutputLine(self.form.line({"image": image, "error": message}), is_error=True)
        return OutputLine(f"error: {printable(message)}\n", is_error=True, to_stderr=True)


@dataclass
class ClassifyJob(BatchJob):
    """Classifies images.

    Attributes:
        top: number of likeliest labels per image.
        show: the PNG file into which the preprocessing of the last image is drawn; None for none.
        suggest_read: whether to look for a number in an image, and name `digit-edge read` then. It
            reads such an image twice, so it is for single images.
    """

    top: int
    show: str | None = None
    suggest_read: bool = False
    _numbers: dict[str, str] = field(default_factory=dict, kw_only=True)  # by name of the image

    def records(self, images: Sequence[FoundImage]) -> Sequence[Record | str]:
        """Return each image's prediction, or its error message."""
        if self.show is not None or self.suggest_read:
            return [self._classify(image) for image in images]
        # No named pipes: the batch may be read again, which a pipe does not allow.
        if all(isinstance(image, PipedImage) or os.path.isfile(image) for image in images):
            # If one image is unreadable, classify each one by itself below.
            with contextlib.suppress(ImageError):
                predictions = self.classifier.classify_batch(map(source_of, images))
                return list(map(self._record, images, predictions))
        return [self._classify(image) for image in images]

    def note(self, record: Record) -> str | None:
        """Return the hint that an image contains a number; None if it does not."""
        image = record["image"]
        if image not in self._numbers:
            return None
        return (
            f"{image}: this looks like a number, {self._numbers[image]}; digit-edge read reads it"
        )

    def _classify(self, image: FoundImage) -> Record | str:
        try:
            suggest_read = self.suggest_read and self.classifier.reads_numbers
            view = self.show is not None or suggest_read
            prediction = self.classifier.classify(source_of(image), return_view=view)
            if suggest_read and prediction.view is not None and prediction.view.has_neighbors:
                self._look_for_number(image)
            if self.show is not None and prediction.view is not None:
                from runtime import visualize

                drawing = visualize.draw_preprocessed(source_of(image), prediction.view, prediction)
                visualize.save(drawing, self.show)
            return self._record(image, prediction)
        except ImageError as error:
            return str(error)

    def _look_for_number(self, image: FoundImage) -> None:
        recognition = self.classifier.read(source_of(image))
        if sum(digit.prediction.accepted for digit in recognition.digits) > 1:
            self._numbers[name_of(image)] = ", ".join(recognition.lines)

    def _record(self, image: FoundImage, prediction: Prediction) -> Record:
        classifier = self.classifier
        record = records.describe(name_of(image), prediction, classifier.spec.labels, self.top)
        return {**record, "backend": classifier.backend.name}


def name_of(item: Found) -> str:
    """Return the name of an image, or of a path without one, in the output."""
    return item if isinstance(item, str) else item.image


def source_of(image: FoundImage) -> ImageSource:
    """Return what `Classifier` reads."""
    return image.open() if isinstance(image, PipedImage) else image


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
