"""One training run of the line reader, from the digits to the artifact."""

import csv
import dataclasses
import hashlib
import io
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from runtime.errors import EdgeError, printable
from runtime.model import artifact
from runtime.model.artifact import Artifact
from runtime.model.spec import SEQUENCE, Metrics
from runtime.system import atomic_write, interrupt
from train.checkpoint import Epoch
from train.data import load, writers
from train.data.load import DataSet
from train.data.splits import Split
from train.lines import seeds
from train.lines.batches import BatchSource, LineBatch, stack_by_width
from train.lines.compose import Composer
from train.lines.drawn import with_drawn
from train.lines.fit import LABELS, PARTS, LineTraining, fit, sequence_accuracy
from train.lines.network import fold_batch_norm
from train.lines.recipe import LineRecipe
from train.lines.save import save
from train.negatives import letter_fonts
from train.run import start_tensorflow
from train.save import versions

if TYPE_CHECKING:
    import keras

_VALIDATION_SHARE = 0.1  # of the writers, or of the digits if the writers are unknown
_VALIDATION_BATCH = 50  # lines of a batch to validate on


def run(
    recipe: LineRecipe,
    source: str | None,
    writers_path: Path | None,
    seed: int,
    out: Path,
    resume: bool,
    start: Path | None = None,
) -> Artifact:
    """Train, validate and save a line reader; print the progress.

    With `out` NAME.keras, the other files in the same folder are NAME-checkpoint.npz and
    NAME-history.csv.

    Args:
        recipe: the settings of the run.
        source: the data set of digits, see `train.data.load.load`.
        writers_path: QMNIST's label file, which names the writer of each image; None without it.
        seed: random seed, a whole number from 0.
        out: the `.keras` file to write.
        resume: continue from the checkpoint of an interrupted run; if there is no checkpoint,
            start from the beginning.
        start: a line reader whose weights the training starts from; None for random weights.

    Returns:
        The saved artifact.

    Raises:
        EdgeError: the data are not of the ten digits, a file cannot be read or written, the loss
            is not finite, or the checkpoint is of a run with other settings.
    """
    if out.suffix != ".keras" or not out.stem.isprintable():
        raise EdgeError(f"--out {out}: give a name that can be printed and ends in .keras")
    with interrupt.immediate():
        data_set = _load(source)
        writer_of = None
        if writers_path is not None:
            writer_of = writers.read(writers_path, data_set.train.labels).writer
        start_tensorflow(seed)
        start_network, start_digest = (None, None) if start is None else _open(start)
    training_digits, validation_digits = _hold_back(data_set.train, writer_of, seed)
    images, training_digits = len(training_digits.split), training_digits.with_drawn(seed)
    validation = validation_digits.batches(recipe.validation_lines, (seed, seeds.VALIDATION_LINES))
    print(
        f"{printable(data_set.name)}: {recipe.lines:,} lines to train on, of {images:,} images"
        f"{'' if writer_of is None else ' by writer'}; {recipe.validation_lines:,} lines to "
        f"validate on, of {validation_digits.origin}",
        flush=True,
    )
    training = LineTraining(recipe, seed)
    if start_network is not None:
        training.start_from(start_network, validation[len(validation) // 2].pixels)
    # Everything that determines the result; a checkpoint is only resumed with the same settings.
    settings = json.dumps(
        {
            "recipe": json.loads(recipe.to_json()),
            "seed": seed,
            "data": data_set.sha256,
            "digits": training_digits.sha256,
            "started from": start_digest,
            "versions": dict(versions()),
        },
        sort_keys=True,
    )
    _train(training, training_digits, validation, settings, seed, out, resume)
    held_back_exact = sequence_accuracy(training, validation)
    trained_on = training_digits.batches(recipe.validation_lines, (seed, seeds.TRAINED_ON_LINES))
    trained_on_exact = sequence_accuracy(training, trained_on)
    lines = recipe.validation_lines
    saved = save(
        out,
        fold_batch_norm(training.average),
        data_set.dataset,
        Metrics(trained_on_exact, lines, held_back_exact, lines),
        provenance=(
            ("recipe", recipe.to_json()),
            ("seed", str(seed)),
            *((("started from", start_digest),) if start_digest else ()),
            ("held back", validation_digits.origin),
            *versions(),
        ),
    )
    print(
        f"lines exact: {100 * held_back_exact:.2f} % ({validation_digits.origin}), "
        f"{100 * trained_on_exact:.2f} % ({training_digits.origin})"
    )
    print(f"{printable(str(out))}: {out.stat().st_size:,} bytes", flush=True)
    return saved


@dataclass(frozen=True, eq=False)
class _Digits:
    """Digits that lines are composed of.

    Attributes:
        split: the digits.
        writer_of: index of each digit's writer, int64 (N,); None if unknown.
        origin: text that says which digits they are.
    """

    split: Split
    writer_of: npt.NDArray[np.int64] | None
    origin: str

    @property
    def sha256(self) -> str:
        """SHA-256 of the digits and their writers, in hex."""
        writer_of = b"" if self.writer_of is None else self.writer_of.tobytes()
        return hashlib.sha256(self.split.pixels.tobytes() + writer_of).hexdigest()

    def with_drawn(self, seed: int) -> "_Digits":
        """Return these digits and drawn ones."""
        split, writer_of = with_drawn(self.split, self.writer_of, seed)
        return dataclasses.replace(self, split=split, writer_of=writer_of)

    def batches(self, n: int, seed: tuple[int, int]) -> list[LineBatch]:
        """Compose `n` lines; a batch has lines of similar width."""
        composer = Composer(self.split.pixels, self.split.labels, self.writer_of, letter_fonts())
        return stack_by_width(composer.lines_as_read(n, seed), _VALIDATION_BATCH)


def _load(source: str | None) -> DataSet:
    """Load the data set.

    Raises:
        EdgeError: it is unsuitable, or its classes are not the ten digits.
    """
    data_set = load.load(source)
    if data_set.labels != tuple("0123456789"):
        raise EdgeError(
            f"{printable(data_set.name)} has other classes than the ten digits, of which lines are "
            "composed: pass --data with the classes 0 to 9"
        )
    return data_set


def _hold_back(
    split: Split, writer_of: npt.NDArray[np.int64] | None, seed: int
) -> tuple[_Digits, _Digits]:
    """Divide digits into those to train on and those to validate on, by writer if known."""
    held_back = writers.hold_back(writer_of, len(split), _VALIDATION_SHARE, seed)
    whose = "digits" if writer_of is None else "writers"

    def part(chosen: npt.NDArray[np.bool_], origin: str) -> _Digits:
        own = None if writer_of is None else writer_of[chosen]
        return _Digits(split.take(np.flatnonzero(chosen)), own, origin)

    return (
        part(~held_back, "the training digits"),
        part(held_back, f"{_VALIDATION_SHARE:.0%} of the {whose}, not trained on"),
    )


def _open(path: Path) -> tuple["keras.Model", str]:
    """Return the network of a line reader to start from, and its digest.

    Raises:
        EdgeError: the file cannot be read, or is not a line reader.
    """
    import keras

    opened = artifact.read(path)
    if opened.spec.labels != LABELS or opened.spec.kind != SEQUENCE or path.suffix != ".keras":
        raise EdgeError(
            f"--start-from {path} is not a line reader: pass a .keras file of digit-edge "
            "train-lines"
        )
    return keras.saving.load_model(path, compile=False), opened.spec.digest


def _train(
    training: LineTraining,
    digits: _Digits,
    validation: list[LineBatch],
    settings: str,
    seed: int,
    out: Path,
    resume: bool,
) -> None:
    """Train for all parts of the run; see `train.lines.fit.fit` and `run`."""

    def report(history: tuple[Epoch, ...]) -> None:
        atomic_write.write(_beside(out, "history.csv"), _csv(history))
        last = history[-1]
        print(
            f"part {last.epoch:2}/{PARTS}  loss {last.train_loss:.3f}  validation: "
            f"{100 * last.val_accuracy:.2f} % of the lines exact  {last.seconds:.0f} s",
            flush=True,
        )

    path = _beside(out, "checkpoint.npz")
    if resume and not path.exists():
        print(f"no checkpoint {printable(str(path))}: starting from the beginning", file=sys.stderr)
    if not resume:
        # Fail before the first part if the folder is not writable, and delete the checkpoint of
        # an earlier run.
        atomic_write.write(_beside(out, "history.csv"), _csv(()))
        with suppress(OSError):
            path.unlink()
    recipe = training.recipe
    batches = BatchSource(digits.split, digits.writer_of, recipe.batch_size, recipe.pool, seed)
    with closing(batches):
        fit(training, batches, validation, path, settings, resume, report, _watch)


def _beside(out: Path, what: str) -> Path:
    return out.with_name(f"{out.stem}-{what}")


def _csv(history: tuple[Epoch, ...]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("part", "train_loss", "lines_exact", "learning_rate", "seconds"))
    for part in history:
        record = dataclasses.asdict(part)
        names = ("epoch", "train_loss", "val_accuracy", "learning_rate", "seconds")
        writer.writerow(f"{record[name]:.6g}" for name in names)
    return text.getvalue()


def _watch(batches: Iterable[LineBatch]) -> Iterator[LineBatch]:
    """Pass on batches until Ctrl-C, and show a progress bar if stderr is a terminal."""
    from tqdm import tqdm

    with tqdm(batches, leave=False, unit="batch", disable=not sys.stderr.isatty()) as shown:
        for batch in shown:
            interrupt.check()
            yield batch
