"""One training run, from the data set to the artifact, its plots and its history."""

import csv
import dataclasses
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from runtime.errors import EdgeError, printable
from runtime.model.artifact import Artifact
from runtime.model.rejection import RejectionModel, RejectionScorer
from runtime.model.spec import Metrics
from runtime.system import atomic_write, interrupt
from runtime.system.native_output import suppress_native_output
from train import plots
from train.checkpoint import Epoch
from train.data import load
from train.evaluate import (
    MIN_CALIBRATION_IMAGES,
    calibration_error,
    fit_confidence_threshold,
    fit_temperature,
    logits_of,
    loss_and_accuracy,
)
from train.fit import Training, fit
from train.model import fold_batch_norm
from train.recipe import Recipe
from train.rejection import fit_rejection_model, lower_threshold
from train.save import save, versions


def run(
    recipe: Recipe,
    source: str | None,
    as_is: bool,
    seed: int,
    validation: float,
    out: Path,
    resume: bool,
) -> Artifact:
    """Train, evaluate and save; prints how it goes.

    Beside `out` stand, under its name: `-checkpoint.npz`, `-history.csv`, and the plots
    `-curves.png`, `-confusion.png`, `-mistakes.png`, `-suspect-labels.png`, `-reliability.png`.

    Raises:
        EdgeError: the data are unfit, a file cannot be written, or the run to resume is another.
    """
    if out.suffix != ".keras" or not out.stem.isprintable():
        raise EdgeError(f"--out {out}: give a name that can be printed and ends in .keras")
    with interrupt.immediate():  # a download, or many files
        data_set = load.load(source, as_is)
    train, validation_split = load.stratified_split(data_set.train, validation, seed)
    print(
        f"{printable(data_set.name)}: {len(train):,} images to train on, "
        f"{len(validation_split):,} held back, {len(data_set.test):,} to test; "
        f"{len(data_set.labels)} classes",
        flush=True,
    )
    start_tensorflow(seed)
    training = Training(recipe, train, len(data_set.labels), seed)
    # All that decides what a run ends in, as a checkpoint keeps it.
    settings = json.dumps(
        {
            "recipe": json.loads(recipe.to_json()),
            "seed": seed,
            "validation": validation,
            "data": data_set.sha256,
            "versions": dict(versions()),
        },
        sort_keys=True,
    )

    def report(history: tuple[Epoch, ...]) -> None:
        atomic_write.write(_beside(out, "history.csv"), _csv(history))
        _print_epoch(history[-1], recipe.epochs)

    path = _beside(out, "checkpoint.npz")
    if resume and not path.exists():
        print(f"no checkpoint {printable(str(path))}: starting from the beginning", file=sys.stderr)
    if not resume:
        # A folder that cannot be written is to show before the first epoch, not after it; and
        # nobody is to go on later with what an earlier run left.
        atomic_write.write(_beside(out, "history.csv"), _csv(()))
        with suppress(OSError):
            path.unlink()
    history = fit(training, validation_split, path, settings, resume, report, _watch)

    logits = logits_of(training.average, validation_split.pixels)
    temperature = fit_temperature(logits, validation_split.labels)
    model = fold_batch_norm(training.average, temperature)
    scores = logits_of(model, validation_split.pixels)
    confidence_threshold = fit_confidence_threshold(scores, validation_split.labels)
    with interrupt.immediate():
        rejection_model = fit_rejection_model(
            data_set.labels,
            train.pixels,
            validation_split.pixels,
            lambda p: logits_of(model, p),
            seed,
        )
        if rejection_model is not None:
            rejection_model = lower_threshold(
                rejection_model, validation_split, lambda p: logits_of(model, p)
            )
    train_scores = logits_of(model, train.pixels)
    on_train = float(np.mean(train_scores.argmax(1) == train.labels))
    test_scores = logits_of(model, data_set.test.pixels)
    on_test = float(np.mean(test_scores.argmax(1) == data_set.test.labels))
    val_loss, val_accuracy = loss_and_accuracy(logits, validation_split.labels, temperature)
    artifact = save(
        out,
        model,
        data_set.labels,
        temperature,
        confidence_threshold,
        data_set.dataset,
        Metrics(on_train, len(train), on_test, len(data_set.test)),
        provenance=(
            ("recipe", recipe.to_json()),
            ("seed", str(seed)),
            ("held back", f"{len(validation_split)} images"),
            ("validation accuracy", f"{val_accuracy:.4f}"),
            ("validation loss", f"{val_loss:.5f}"),
            *versions(),
        ),
        rejection_model=rejection_model,
    )
    test, labels = data_set.test, data_set.labels
    # Images that even the trained model gets wrong: many have a wrong label, or are ambiguous.
    suspect = "suspect labels"
    with interrupt.immediate():
        for name, figure in (
            ("curves", plots.curves(history)),
            ("confusion", plots.confusion(test_scores, test.labels, labels)),
            ("mistakes", plots.mistakes(test.pixels, test_scores, test.labels, labels)),
            (
                "suspect-labels",
                plots.mistakes(train.pixels, train_scores, train.labels, labels, suspect),
            ),
            ("reliability", plots.reliability(test_scores, test.labels)),
        ):
            plots.save(figure, _beside(out, f"{name}.png"))
    error = calibration_error(test_scores, test.labels)
    rule = _describe_rejection(confidence_threshold, rejection_model, len(validation_split))
    print(f"temperature {temperature:.3f}; {rule}")
    print(f"validation accuracy {100 * val_accuracy:.2f} %, loss {val_loss:.4f}")
    print(f"training accuracy {100 * on_train:.2f} % of {len(train):,} images")
    print(
        f"test accuracy {100 * on_test:.2f} % of {len(test):,} images of "
        f"{printable(data_set.name)}, calibration error {100 * error:.2f} %"
    )
    right = test_scores.argmax(1) == test.labels
    accepted = RejectionScorer(confidence_threshold, rejection_model).accept_all(
        test.pixels, test_scores.max(1)
    )
    rejected = int((right & ~accepted).sum())
    print(
        f"false rejections {100 * rejected / max(right.sum(), 1):.2f} %: {rejected:,} of "
        f"{right.sum():,} right predictions on the test images are not accepted"
    )
    print(f"{printable(str(out))}: {out.stat().st_size:,} bytes", flush=True)
    return artifact


def start_tensorflow(seed: int) -> None:
    """Import it without its chatter, and make the same seed give the same weights."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its own messages, for its developers
    with interrupt.at_once(), suppress_native_output(2):
        import keras
        import tensorflow as tf

    keras.utils.set_random_seed(seed)
    # Costs 1 to 4 % of the processor time.
    tf.config.experimental.enable_op_determinism()


def _describe_rejection(
    confidence_threshold: float, rejection: RejectionModel | None, validation_images: int
) -> str:
    """Describe the rule by which a prediction is accepted."""
    if rejection is not None:
        return "a rejection model decides which images are accepted as digits"
    if confidence_threshold > 0:
        return f"a prediction is accepted from a confidence of {confidence_threshold:.4f}"
    least = MIN_CALIBRATION_IMAGES
    return (
        f"every prediction is accepted: {validation_images} images are held back, and a threshold "
        f"needs {least} that are predicted right (--validation {least}, or more images)"
    )


def _beside(out: Path, what: str) -> Path:
    return out.with_name(f"{out.stem}-{what}")


def _csv(history: tuple[Epoch, ...]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in dataclasses.fields(Epoch))
    for epoch in history:
        writer.writerow(f"{v:.6g}" for v in dataclasses.astuple(epoch))
    return text.getvalue()


def _print_epoch(epoch: Epoch, epochs: int) -> None:
    print(
        f"epoch {epoch.epoch:{len(str(epochs))}}/{epochs}  "
        f"train loss {epoch.train_loss:.4f} accuracy {100 * epoch.train_accuracy:.2f} %  "
        f"validation loss {epoch.val_loss:.4f} accuracy {100 * epoch.val_accuracy:.2f} %  "
        f"{epoch.seconds:.1f} s",
        flush=True,
    )


def _watch(batches: Iterable[object]) -> Iterator[object]:
    """Pass on batches until Ctrl-C, and show a progress bar if stderr is a terminal."""
    from tqdm import tqdm

    off = not sys.stderr.isatty()
    with tqdm(batches, leave=False, unit="batch", disable=off) as shown:
        for batch in shown:
            interrupt.check()  # raised here, it leaves the block and with it clears the bar
            yield batch
