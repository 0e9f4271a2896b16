"""Runs a whole training: loads the data, trains, calibrates, tests, and writes all files.

`digit-edge train` calls `run`. The files are the artifact (the model with its spec), the history,
the plots and a checkpoint.
"""

import csv
import dataclasses
import hashlib
import importlib.util
import io
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from runtime.errors import EdgeError, printable
from runtime.model.artifact import Artifact
from runtime.model.rejection import RejectionModel, RejectionScorer
from runtime.model.spec import Metrics
from runtime.preprocess.form import MNIST_FORM, PHOTO
from runtime.system import atomic_write, interrupt
from train import plots
from train.checkpoint import Epoch
from train.data import load, writers
from train.data.check import check
from train.data.photo_negatives import photo_negatives
from train.data.pool import draw_pool
from train.data.splits import Split
from train.evaluation.evaluate import (
    MIN_CALIBRATION_IMAGES,
    calibration_error,
    fit_confidence_threshold,
    fit_temperature,
    logits_of,
    loss_and_accuracy,
    wilson_interval,
)
from train.evaluation.rejection import fit_rejection_model, lower_threshold
from train.fitting import teachers
from train.fitting.event_log import EventLog
from train.fitting.fit import Training, fit
from train.fitting.trained import load_start
from train.keras_import import keras_import
from train.model import Network
from train.negatives import DIGITS
from train.recipe import Recipe
from train.save import save, versions
from train.user_network import UserNetwork

if TYPE_CHECKING:
    from train.fitting.fit import Batch

# Chooses the validation images. It is not `seed`: a teacher, and a network that a training starts
# from, must not have been trained on the validation images of this run.
_VALIDATION_SEED = 0
MAX_PHOTO_NEGATIVES = 10_000  # with fewer training images, as many as these


def run(
    recipe: Recipe,
    source: str | None,
    as_is: bool,
    seed: int,
    validation: float,
    out: Path,
    resume: bool,
    writers_path: str | None = None,
    log: bool = False,
    network: Network | None = None,
    report_data: bool = True,
    teacher_paths: Sequence[Path] = (),
    start_paths: Sequence[Path] = (),
) -> Artifact:
    """Train, evaluate and save a network; print the progress and the results.

    With `out` NAME.keras, the other files in the same folder are NAME-checkpoint.npz,
    NAME-history.csv, some images of each class in NAME-contact-sheet.png, which is written before
    the first epoch, and the plots NAME-curves.png, NAME-confusion.png, NAME-mistakes.png,
    NAME-suspect-labels.png and NAME-reliability.png. TensorBoard's files are in NAME-tensorboard.

    Args:
        recipe: the settings of the run.
        source: path of the data set, "embedded" for scikit-learn's digits, or None for a default
            data set; see `train.data.load.load`.
        as_is: use the images unchanged, because they are in MNIST's form already.
        seed: random seed, a whole number from 0.
        validation: training images held back for validation: their number, from 1, or their share,
            below 1.
        out: the `.keras` file to write.
        resume: continue from the checkpoint of an interrupted run; if there is no checkpoint,
            start from the beginning.
        writers_path: QMNIST's label file, which names the writer of each training image, or
            "download"; see `train.data.writers.find`. If the writers are known, all images of some
            writers are held back.
        log: write the history for TensorBoard too.
        network: the network to train, with the form of its pixels; None trains that of 28×28 ink.
        report_data: whether to print a summary of the data set and warnings about it to stderr.
        teacher_paths: `.keras` artifacts of the same form and classes, whose scores are part of
            the targets; see `train.fitting.teachers`.
        start_paths: `.keras` artifacts of the same form and classes; the training starts from the
            mean of their weights. Empty for random weights. `network` must then be `Network`.

    Returns:
        The saved artifact.

    Raises:
        EdgeError: TensorFlow is not installed, or `out` has another suffix. The data are
            unsuitable, or the training diverges. A file cannot be read or written, or the
            checkpoint is of a run with other settings.
    """
    network = network or Network()
    form = network.form
    if out.suffix != ".keras" or not out.stem.isprintable():
        raise EdgeError(
            f"--out {out}: pass a name that ends in .keras and has printable characters only"
        )
    for package in ("keras", "tensorflow"):  # before MNIST is downloaded
        if importlib.util.find_spec(package) is None:
            raise EdgeError(f'{package} is not installed: pip install "digit-edge[train]"')
    with interrupt.immediate():  # the download or the reading of many files can take long
        data_set = load.load(source, as_is, form)
        known, test_writers = writers.find(data_set, source, writers_path)
        summary = check(data_set, form, as_is)
        data_set = dataclasses.replace(data_set, raw=None)  # frees the images as they are stored
    if report_data:
        for line in (*summary.lines, *(f"warning: {warning}" for warning in summary.warnings)):
            print(printable(line), file=sys.stderr)
    is_mnist_form = form == MNIST_FORM
    if not is_mnist_form:
        print(f"images of {form}, from {printable(data_set.name)}")
    if known is None:
        train, validation_split = load.stratified_split(
            data_set.train, validation, _VALIDATION_SEED
        )
    else:
        train, validation_split = writers.split_by_writer(
            data_set.train, known.writer, validation, _VALIDATION_SEED
        )
    print(
        f"{printable(data_set.name)}: {len(train):,} training images, "
        f"{len(validation_split):,} validation images{'' if known is None else ' of other writers'}"
        f", {len(data_set.test):,} test images; "
        f"{len(data_set.labels)} classes",
        flush=True,
    )
    start_tensorflow(seed)
    if isinstance(network, UserNetwork):
        network.check(len(data_set.labels))
    teaching = teachers.load(teacher_paths, form, data_set.labels)
    drawn = None
    if is_mnist_form and recipe.drawn_share and data_set.labels == tuple(DIGITS):
        with interrupt.immediate():
            drawn = draw_pool(seed, len(train))
        print(f"{len(drawn):,} drawn images: {100 * recipe.drawn_share:.0f} % of each batch")
    if recipe.drawn_share and form.name == PHOTO:
        drawn = photo_negatives(train, min(len(train), MAX_PHOTO_NEGATIVES), seed)
        share = f"{100 * recipe.drawn_share:.0f} % of each batch"
        print(f"{len(drawn):,} negatives made from the training images: {share}")
    training = Training(recipe, train, len(data_set.labels), seed, drawn, network, teaching)
    started_from: tuple[str, ...] = ()
    if start_paths:
        started_from, model = load_start(start_paths, form, data_set.labels)
        training.start_from(model)
    # Everything that determines the result; a checkpoint is only resumed with the same settings.
    settings = json.dumps(
        {
            "recipe": json.loads(recipe.to_json()),
            "seed": seed,
            "validation": validation,
            "data": data_set.sha256,
            **({} if known is None else {"held back by": "writer"}),
            **({} if drawn is None else {"drawn": _sha256(drawn)}),
            **({} if is_mnist_form else {"form": str(form)}),
            **({"network": network.sha256} if isinstance(network, UserNetwork) else {}),
            **({} if teaching is None else {"teachers": teaching.digests}),
            **({"started from": started_from} if started_from else {}),
            "versions": dict(versions()),
        },
        sort_keys=True,
    )

    event_log = EventLog(_beside(out, "tensorboard")) if log else None

    def report(history: tuple[Epoch, ...]) -> None:
        if event_log is not None:
            event_log.write(history)
        atomic_write.write(_beside(out, "history.csv"), _csv(history))
        _print_epoch(history[-1], recipe.epochs)

    with interrupt.immediate():
        sheet = plots.contact_sheet(train.pixels, train.labels, data_set.labels)
        plots.save(sheet, _beside(out, "contact-sheet.png"))
    path = _beside(out, "checkpoint.npz")
    if resume and not path.exists():
        print(
            f"no checkpoint {printable(str(path))}: training starts from the beginning",
            file=sys.stderr,
        )
    if not resume:
        # Fail before the first epoch if the folder is not writable, and delete the checkpoint of
        # an earlier run.
        atomic_write.write(_beside(out, "history.csv"), _csv(()))
        with suppress(OSError):
            path.unlink()
    history = fit(training, validation_split, path, settings, resume, report, _watch)

    print("calibrating confidence and rejection", flush=True)
    logits = logits_of(training.average, validation_split.pixels)
    temperature = fit_temperature(logits, validation_split.labels)
    model = network.inference(training.average, temperature)
    scores = logits_of(model, validation_split.pixels)
    confidence_threshold = fit_confidence_threshold(scores, validation_split.labels)
    with interrupt.immediate():
        rejection_model = None
        if is_mnist_form:
            rejection_model = fit_rejection_model(
                data_set.labels,
                train.pixels,
                validation_split.pixels,
                lambda p: logits_of(model, p),
                seed,
                drawn,
            )
        if rejection_model is not None:
            rejection_model = lower_threshold(
                rejection_model, validation_split, lambda p: logits_of(model, p)
            )
    print("predicting the training images and the test images", flush=True)
    train_scores = logits_of(model, train.pixels)
    train_accuracy = float(np.mean(train_scores.argmax(1) == train.labels))
    test_scores = logits_of(model, data_set.test.pixels)
    test_accuracy = float(np.mean(test_scores.argmax(1) == data_set.test.labels))
    val_loss, val_accuracy = loss_and_accuracy(logits, validation_split.labels, temperature)
    by_writer = " of whole writers"
    artifact = save(
        out,
        model,
        data_set.labels,
        temperature,
        confidence_threshold,
        data_set.dataset,
        Metrics(train_accuracy, len(train), test_accuracy, len(data_set.test)),
        provenance=(
            ("recipe", recipe.to_json()),
            ("seed", str(seed)),
            ("held back", f"{len(validation_split)} images{'' if known is None else by_writer}"),
            ("validation accuracy", f"{val_accuracy:.4f}"),
            ("validation loss", f"{val_loss:.5f}"),
            *((("network", network.name),) if isinstance(network, UserNetwork) else ()),
            *((("teachers", ", ".join(teaching.digests)),) if teaching is not None else ()),
            *((("started from", ", ".join(started_from)),) if started_from else ()),
            *versions(),
        ),
        rejection_model=rejection_model,
        form=form,
    )
    test, labels = data_set.test, data_set.labels
    # Many training images that the trained network misclassifies have a wrong label.
    suspect = "suspect labels"
    is_photo = form.name == PHOTO
    with interrupt.immediate():
        for name, figure in (
            *((("curves", plots.curves(history)),) if history else ()),
            ("confusion", plots.confusion(test_scores, test.labels, labels)),
            (
                "mistakes",
                plots.mistakes(test.pixels, test_scores, test.labels, labels, is_photo=is_photo),
            ),
            (
                "suspect-labels",
                plots.mistakes(train.pixels, train_scores, train.labels, labels, suspect, is_photo),
            ),
            ("reliability", plots.reliability(test_scores, test.labels)),
        ):
            plots.save(figure, _beside(out, f"{name}.png"))
    error = calibration_error(test_scores, test.labels)
    rejection = _describe_rejection(confidence_threshold, rejection_model, len(validation_split))
    print(f"temperature {temperature:.3f}; {rejection}")
    print(f"validation accuracy {100 * val_accuracy:.2f} %, loss {val_loss:.4f}")
    print(f"training accuracy {100 * train_accuracy:.2f} % of {len(train):,} images")
    print(
        f"test accuracy {100 * test_accuracy:.2f} % of {len(test):,} images of "
        f"{printable(data_set.name)}, calibration error {100 * error:.2f} %"
    )
    correct = test_scores.argmax(1) == test.labels
    if test_writers is not None:
        for row in writers.accuracy_by_series(correct, test_writers):
            low, high = wilson_interval(row.correct, row.n)
            print(
                f"  {row.series:5}  {100 * row.accuracy:.2f} % of {row.n:,} images of "
                f"{row.writers} writers; 95 % interval over writers {100 * row.low:.2f} to "
                f"{100 * row.high:.2f} %, Wilson's {100 * low:.2f} to {100 * high:.2f} %"
            )
    accepted = RejectionScorer(confidence_threshold, rejection_model, form).accept_all(
        test.pixels, test_scores.max(1)
    )
    rejected = int((correct & ~accepted).sum())
    print(
        f"false rejections {100 * rejected / max(correct.sum(), 1):.2f} %: {rejected:,} of "
        f"{correct.sum():,} correct predictions on the test images are not accepted"
    )
    print(f"{printable(str(out))}: {out.stat().st_size:,} bytes", flush=True)
    return artifact


def start_tensorflow(seed: int) -> None:
    """Import TensorFlow without its log messages, set the random seed and enable determinism.

    Args:
        seed: seed of Python's, NumPy's and TensorFlow's random generators.
    """
    with keras_import():
        import keras
        import tensorflow as tf

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()  # costs 1 to 4 % of the processor time


def _describe_rejection(
    confidence_threshold: float, rejection_model: RejectionModel | None, validation_images: int
) -> str:
    """Return the text that states which predictions are accepted."""
    if rejection_model is not None:
        return "a rejection model decides which images are accepted as digits"
    if confidence_threshold > 0:
        return f"a prediction is accepted from a confidence of {confidence_threshold:.4f}"
    minimum = MIN_CALIBRATION_IMAGES
    return (
        f"every prediction is accepted: a threshold needs {minimum} correctly predicted "
        f"validation images, and there are {validation_images} validation images "
        f"(--validation {minimum}, or more images)"
    )


def _sha256(split: Split) -> str:
    return hashlib.sha256(split.pixels.tobytes() + split.labels.tobytes()).hexdigest()


def _beside(out: Path, suffix: str) -> Path:
    return out.with_name(f"{out.stem}-{suffix}")


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


def _watch(batches: Iterable["Batch"]) -> Iterator["Batch"]:
    """Yield batches until Ctrl-C, and show a progress bar if stderr is a terminal."""
    from tqdm import tqdm

    off = not sys.stderr.isatty()
    with tqdm(batches, leave=False, unit="batch", disable=off) as bar:
        for batch in bar:
            interrupt.check()  # raise KeyboardInterrupt inside `with`, which clears the bar
            yield batch
