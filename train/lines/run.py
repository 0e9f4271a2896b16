"""One training run of the line reader, from the digits to the artifact."""

import csv
import dataclasses
import hashlib
import io
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path

from runtime.errors import EdgeError, printable
from runtime.model import artifact
from runtime.model.artifact import Artifact
from runtime.model.spec import SEQUENCE, Metrics
from runtime.system import atomic_write, interrupt
from train.checkpoint import Epoch
from train.data import load, writers
from train.lines.batches import BatchSource, LineBatch, stack
from train.lines.compose import Composer
from train.lines.drawn import with_drawn
from train.lines.fit import EPOCHS, LABELS, LineTraining, exact_share, fit
from train.lines.network import fold_batch_norm
from train.lines.recipe import LineRecipe
from train.lines.save import save
from train.negatives import letter_fonts
from train.run import start_tensorflow
from train.save import versions

_VALIDATION_SHARE = 0.1  # of the writers
_VALIDATION_BATCH = 50


def run(
    recipe: LineRecipe,
    source: str | None,
    writers_path: Path | None,
    seed: int,
    out: Path,
    resume: bool,
    start: Path | None = None,
) -> Artifact:
    """Train, validate and save; prints its progress.

    Beside `out` are written, under its name: `-checkpoint.npz` and `-history.csv`. The training
    begins with the weights of the line reader `start`, or with random ones.

    Raises:
        EdgeError: the data are unfit, a file cannot be written, or the run to resume is another.
    """
    if out.suffix != ".keras" or not out.stem.isprintable():
        raise EdgeError(f"--out {out}: give a name that can be printed and ends in .keras")
    with interrupt.immediate():
        data_set = load.load(source)
        if data_set.labels != tuple("0123456789"):
            raise EdgeError(f"{data_set.name} is not of the ten digits; lines are composed of them")
        train = data_set.train
        by = None if writers_path is None else writers.read(writers_path, train.labels).writer
    held = writers.hold_back(by, len(train), _VALIDATION_SHARE, seed)
    kept, own = train.take((~held).nonzero()[0]), train.take(held.nonzero()[0])
    own_writers = None if by is None else by[held]
    composer = Composer(own.pixels, own.labels, own_writers, letter_fonts())
    lines = composer.lines_as_read(recipe.validation_lines, (seed, 4))
    lines.sort(key=lambda line: line.pixels.shape[1])
    validation = [
        stack(lines[at : at + _VALIDATION_BATCH]) for at in range(0, len(lines), _VALIDATION_BATCH)
    ]
    of = "images" if by is None else f"images of {len(set(by[~held].tolist()))} writers"
    print(
        f"{printable(data_set.name)}: {recipe.lines:,} lines to train on, of {len(kept):,} {of}; "
        f"{len(lines):,} to validate with, of the others",
        flush=True,
    )
    start_tensorflow(seed)
    training = LineTraining(recipe, seed)
    started_from = None
    if start is not None:
        import keras

        opened = artifact.read(start)
        if opened.spec.labels != LABELS or opened.spec.kind != SEQUENCE:
            raise EdgeError(f"--start-from {start}: not a line reader of digit-edge train-lines")
        model = keras.saving.load_model(start, compile=False)
        training.start_from(model, validation[len(validation) // 2].pixels)
        started_from = opened.spec.digest
    settings = json.dumps(
        {
            "recipe": json.loads(recipe.to_json()),
            "seed": seed,
            "data": data_set.sha256,
            "started from": started_from,
            "writers": None if by is None else hashlib.sha256(by.tobytes()).hexdigest(),
            "versions": dict(versions()),
        },
        sort_keys=True,
    )

    def report(history: tuple[Epoch, ...]) -> None:
        atomic_write.write(_beside(out, "history.csv"), _csv(history))
        last = history[-1]
        print(
            f"part {last.epoch:2}/{EPOCHS}  loss {last.train_loss:.3f}  validation: "
            f"{100 * last.val_accuracy:.2f} % of the lines exact  {last.seconds:.0f} s",
            flush=True,
        )

    path = _beside(out, "checkpoint.npz")
    if resume and not path.exists():
        print(f"no checkpoint {printable(str(path))}: starting from the beginning", file=sys.stderr)
    if not resume:
        atomic_write.write(_beside(out, "history.csv"), _csv(()))
        with suppress(OSError):
            path.unlink()
    by_kept = None if by is None else by[~held]
    kept, by_kept = with_drawn(kept, by_kept, seed)
    batches = BatchSource(kept, by_kept, recipe.batch_size, recipe.pool, seed)
    with closing(batches):
        fit(training, batches, validation, path, settings, resume, report, _watch)
    threshold = 0.0
    held_exact = exact_share(training, validation)
    model = fold_batch_norm(training.average)
    kept_lines = Composer(kept.pixels, kept.labels, by_kept, letter_fonts()).lines_as_read(
        recipe.validation_lines, (seed, 5)
    )
    kept_lines.sort(key=lambda line: line.pixels.shape[1])
    on_train = exact_share(
        training,
        [
            stack(kept_lines[at : at + _VALIDATION_BATCH])
            for at in range(0, len(kept_lines), _VALIDATION_BATCH)
        ],
    )
    saved = save(
        out,
        model,
        data_set.dataset,
        Metrics(on_train, len(kept_lines), held_exact, len(lines)),
        threshold,
        provenance=(
            ("recipe", recipe.to_json()),
            ("seed", str(seed)),
            *((("started from", started_from),) if started_from else ()),
            ("held back", f"the digits of {_VALIDATION_SHARE:.0%} of the writers"),
            *versions(),
        ),
    )
    print(
        f"{100 * held_exact:.2f} % of the lines of the other writers exact, "
        f"{100 * on_train:.2f} % of those trained on"
    )
    print(f"{printable(str(out))}: {out.stat().st_size:,} bytes", flush=True)
    return saved


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
