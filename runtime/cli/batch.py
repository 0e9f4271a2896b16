"""Classifies many images: in this process while that is quick, then on all cores."""

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

# One process is enough for what it does in this time; starting others takes longer.
_ALONE_S = 0.05
# A batch shall last about so long: short against a person's patience, long against the some
# hundred microseconds that handing it to another process takes.
_BATCH_S = 0.03
_MOST = 256

Batch = list[str | UnreadablePath]


@dataclass(frozen=True)
class FormattedBatch:
    """What is to be printed of a batch: a line an image, for stdout or as an error."""

    lines: list[tuple[bool, str]]  # (whether it could not be read, the text)
    seconds: float

    @property
    def count(self) -> int:
        """How many images these are."""
        return len(self.lines)


@dataclass
class BatchJob:
    """How a command's images are to be classified and printed; a worker process gets a copy."""

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
            ArtifactError, BackendUnavailable: as `Classifier.load`.
        """
        # One that was open before this process was forked stays as it is: the threads of its
        # engine did not come along, and it could not be closed.
        self._opened.append(
            Classifier.load(
                self.model, backend=self.backend, threads=self.threads, device=self.device
            )
        )

    @property
    def classifier(self) -> Classifier:
        """The model, once open."""
        return self._opened[-1]

    def do(self, task: Batch) -> FormattedBatch:
        """Classify a batch; an image that cannot be read takes no other with it."""
        began = time.perf_counter()
        answers = iter(self._classify([item for item in task if isinstance(item, str)]))
        lines = []
        for item in task:
            image, answer = item if isinstance(item, UnreadablePath) else (item, next(answers))
            if isinstance(answer, str):
                lines.append((True, self._error_line(image, answer)))
            else:
                lines.append((False, self._line(image, answer)))
        return FormattedBatch(lines, time.perf_counter() - began)

    def run(
        self, found: Iterable[str | UnreadablePath | None], jobs: int
    ) -> Generator[FormattedBatch, None, None]:
        """Classify all that is found, in its order, with at most `jobs` processes.

        Raises:
            EdgeError: a worker process died.
        """
        pace = _BatchSizer()
        batches = inputs.batches(found, pace.size)
        alone = 0.0
        for batch in batches:
            if jobs > 1 and alone > _ALONE_S:
                break
            done = self.do(batch)
            pace.learn(done)
            alone += done.seconds
            yield done
        else:
            return
        # Only now: one image shall not wait for what many need.
        from runtime.cli.worker_pool import Pool

        pool: Pool[Batch, FormattedBatch] = Pool(self, jobs)
        try:
            for done in pool.answers(chain([batch], batches)):
                pace.learn(done)
                yield done
        finally:
            pool.close()

    def _classify(self, images: Sequence[str]) -> Sequence[Prediction | str]:
        # Not what can be read but once, as a pipe: a batch may have to be read again.
        if all(map(os.path.isfile, images)):
            # Where one is bad, it does not matter which: each is read by itself then.
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
    """How many images a batch shall have, from how long the last ones took."""

    def __init__(self) -> None:
        self._size = 1

    def size(self) -> int:
        return self._size

    def learn(self, done: FormattedBatch) -> None:
        """Aim at `_BATCH_S`; not much more than before at once, as the first images mislead."""
        fitting = int(_BATCH_S * done.count / max(done.seconds, 1e-6))
        self._size = max(1, min(fitting, 2 * self._size, _MOST))
