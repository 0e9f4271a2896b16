"""Compare recipes on unseen writers by five folds.

The command is `digit-edge train-folds`. The writers of MNIST's training images are divided into
five parts. Each fold trains on four of them and validates on the fifth. Each result is written to a
CSV file at once, and a fold that the file already contains is not trained again.
"""

import argparse
import csv
import io
import sys
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np

from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.errors import DatasetError, EdgeError, printable
from runtime.system import atomic_write, interrupt
from train import recipe
from train.data import load, writers
from train.data.pool import draw_pool
from train.data.writers import Flags, Integers, Writers
from train.evaluation.evaluate import logits_of, loss_and_accuracy
from train.options import add_data_argument, whole
from train.recipe import DEFAULT, FAST, PUBLISHED, Recipe

FOLDS = 5
_RECIPES = {each.name: each for each in (DEFAULT, PUBLISHED, FAST)}


@dataclass(frozen=True)
class FoldResult:
    """The result of one fold.

    Attributes:
        recipe: name and changed settings of the recipe.
        seed: random seed.
        fold: number of the fold, from 1 to 5.
        hsf_0: number of validation images of the series hsf_0.
        hsf_0_errors: wrong predictions among them.
        hsf_4: number of validation images of the series hsf_4.
        hsf_4_errors: wrong predictions among them.
        loss: mean negative log-likelihood of all validation images in nats, at temperature 1.
    """

    recipe: str
    seed: int
    fold: int
    hsf_0: int
    hsf_0_errors: int
    hsf_4: int
    hsf_4_errors: int
    loss: float


def fold_of(writer: Integers, fold: int) -> Flags:
    """Return which images the writers of a fold wrote, (N,) bool.

    Args:
        writer: number of the writer of each image, (N,).
        fold: number of the fold, from 1 to 5.
    """
    names = np.random.default_rng(0).permutation(np.unique(writer))
    return np.isin(writer, names[fold - 1 :: FOLDS])


def run(
    chosen: Recipe, name: str, source: str | None, writers_path: str | None, seed: int, out: Path
) -> None:
    """Train the folds that `out` does not contain, append their results, and print a summary.

    Args:
        chosen: the recipe.
        name: its name and changed settings.
        source: the data set, MNIST; see `train.data.load.load`.
        writers_path: see `train.data.writers.find`.
        seed: random seed of the weights, the augmentation and the drawn images.
        out: the CSV file.

    Raises:
        EdgeError: the writers are unknown, or a file is damaged or cannot be written.
    """
    data_set = load.load(source)
    known, _ = writers.find(data_set, source, writers_path)
    if known is None:
        raise DatasetError(
            f"the writers of {data_set.name} are unknown; pass --writers FILE, or put "
            f"{writers.TRAIN_FILE}.gz beside MNIST's files"
        )
    results = _read(out)
    done = {(result.recipe, result.seed, result.fold) for result in results}
    for fold in range(1, FOLDS + 1):
        if (name, seed, fold) not in done:
            results.append(_train(chosen, name, data_set, known, seed, fold))
            atomic_write.write(out, _csv(results))
    for line in summary(results):
        print(line)


def _train(
    chosen: Recipe, name: str, data_set: load.DataSet, known: Writers, seed: int, fold: int
) -> FoldResult:
    """Train one fold and validate it."""
    from train.fitting.fit import Training
    from train.run import start_tensorflow

    start_tensorflow(seed)
    held = fold_of(known.writer, fold)
    kept = data_set.train.take(np.flatnonzero(~held))
    validation = data_set.train.take(np.flatnonzero(held))
    drawn = draw_pool(seed, len(kept)) if chosen.drawn_share else None
    training = Training(chosen, kept, len(data_set.labels), seed, drawn)
    for epoch in range(chosen.epochs):
        interrupt.check()
        loss, _ = training.run_epoch(epoch)
        print(f"{name}, fold {fold}, epoch {epoch + 1}/{chosen.epochs}: loss {loss:.4f}")
        sys.stdout.flush()
    logits = logits_of(training.average, validation.pixels)
    wrong = logits.argmax(axis=1) != validation.labels
    series = known.series[held]
    first, second = series == 0, series == 4
    val_loss, _ = loss_and_accuracy(logits, validation.labels)
    return FoldResult(
        name,
        seed,
        fold,
        hsf_0=int(first.sum()),
        hsf_0_errors=int((wrong & first).sum()),
        hsf_4=int(second.sum()),
        hsf_4_errors=int((wrong & second).sum()),
        loss=round(val_loss, 5),
    )


def summary(results: list[FoldResult]) -> Iterator[str]:
    """Yield one line per recipe: folds, accuracy on each series and on all images, loss."""
    for name in dict.fromkeys(result.recipe for result in results):
        rows = [result for result in results if result.recipe == name]
        n = np.array([(row.hsf_0, row.hsf_4) for row in rows]).sum(axis=0)
        errors = np.array([(row.hsf_0_errors, row.hsf_4_errors) for row in rows]).sum(axis=0)
        accuracies = 100 * (1 - np.array([*errors, errors.sum()]) / np.array([*n, n.sum()]))
        loss = np.mean([row.loss for row in rows])
        yield (
            f"{name}: {len(rows)} folds, accuracy hsf_0 {accuracies[0]:.3f} %, hsf_4 "
            f"{accuracies[1]:.3f} %, all {accuracies[2]:.3f} %, loss {loss:.4f}"
        )


def _read(path: Path) -> list[FoldResult]:
    """Return the results in a CSV file; none if there is no such file."""
    if not path.exists():
        return []
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))
        types = {field.name: field.type for field in fields(FoldResult)}
        return [
            FoldResult(**{name: types[name](row[name]) for name in types})  # type: ignore[operator]
            for row in rows
        ]
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise EdgeError(
            f"{printable(str(path))} is not a file of this command ({error}); pass another --out"
        ) from error


def _csv(results: list[FoldResult]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(FoldResult))
    writer.writerows(astuple(result) for result in results)
    return text.getvalue()


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command's options."""
    parser = CommandParser(
        "digit-edge train-folds",
        "Train a recipe five times, each time on four fifths of MNIST's writers, and validate it "
        "on the others.",
        {
            0: "all five folds are in the file",
            130: "interrupted by Ctrl-C; the same command continues",
        },
    )
    add_data_argument(parser, "MNIST")
    parser.add_argument(
        "--writers",
        metavar="FILE",
        help="QMNIST's qmnist-train-labels-idx2-int.gz, or 'download' (default: the file beside "
        "MNIST's)",
    )
    parser.add_argument(
        "--recipe",
        choices=tuple(_RECIPES),
        default=DEFAULT.name,
        metavar="NAME",
        help="the recipe to start from: default, published or fast (default: %(default)s)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="NAME=VALUE",
        help="change a setting of the recipe, such as epochs=15; may be repeated",
    )
    parser.add_argument(
        "--seed", type=whole(0), default=0, metavar="N", help="random seed (default: %(default)s)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("folds.csv"),
        metavar="FILE",
        help="the CSV file that the results are appended to (default: %(default)s)",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run `digit-edge train-folds` and return its exit status."""
    args = parse_args(argv)
    chosen = recipe.changed(_RECIPES[args.recipe], args.settings)
    name = " ".join([args.recipe, *args.settings])
    interrupt.report_as("interrupted; the same command continues")
    with interrupt.deferred():
        run(chosen, name, args.data, args.writers, args.seed, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main, needs_stdout=False))
