"""Fits the line reader's network with the CTC loss."""

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from runtime.errors import EdgeError
from runtime.multi_digit.line_reader import HEIGHT_PX, UNKNOWN
from train import checkpoint
from train.checkpoint import Checkpoint, Epoch
from train.lines.batches import BatchSource, LineBatch
from train.lines.network import build_trainable
from train.lines.recipe import LineRecipe
from train.model import unfold_batch_norm

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

LABELS = (*"0123456789", UNKNOWN, "blank")  # CTC's blank is the last one
CLASSES = len(LABELS)
BLANK = CLASSES - 1
_CLASS_OF = {label: index for index, label in enumerate(LABELS)}
PARTS = 20  # equal parts of a run, not epochs; validation and a checkpoint follow each of them
_MAX_GRADIENT_NORM = 5.0  # of all gradients together; larger ones are clipped


class LineTraining:
    """A training run; the same settings on the same machine give the same weights.

    Args:
        recipe: all settings.
        seed: of everything random.
    """

    def __init__(self, recipe: LineRecipe, seed: int) -> None:
        import keras
        import tensorflow as tf

        self.recipe = recipe
        self.network = build_trainable(CLASSES, seed)
        # The moving average of the network's weights (EMA) is validated and saved.
        self.average = build_trainable(CLASSES, seed)
        # Biases and offsets of the batch normalization do not decay.
        biases = [v for v in self.network.trainable_variables if len(v.shape) < 2]
        self._optimizer = keras.optimizers.AdamW(
            recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            global_clipnorm=_MAX_GRADIENT_NORM,
        )
        self._optimizer.exclude_from_weight_decay(var_list=biases)
        self._optimizer.build(self.network.trainable_variables)
        # One graph for all widths and any number of lines without a text.
        self._step = tf.function(
            self._take_step,
            input_signature=[
                tf.TensorSpec((None, HEIGHT_PX, None, 1), tf.uint8),
                tf.SparseTensorSpec((None, None), tf.int32),
                tf.TensorSpec((), tf.int32),
                tf.TensorSpec((), tf.float32),
                tf.TensorSpec((), tf.float32),
            ],
        )
        self._logits = tf.function(
            lambda pixels: self.average(tf.cast(pixels, tf.float32) / 255.0, training=False),
            input_signature=[tf.TensorSpec((None, HEIGHT_PX, None, 1), tf.uint8)],
        )

    def start_from(self, model: "keras.Model", pixels: npt.NDArray[np.uint8]) -> None:
        """Start from the weights of a saved network, see `unfold_batch_norm`."""
        for network in (self.network, self.average):
            unfold_batch_norm(model, network, pixels / np.float32(255))

    def run(self, batches: Iterator[LineBatch], first: int) -> float:
        """Train on batches, the first of step `first`; return the mean loss."""
        losses = []
        for step, batch in enumerate(batches, first):
            rate = self.recipe.rate((step + 1) / self.recipe.steps)
            n_labeled, labels = _sparse_labels(batch.texts)
            losses.append(self._step(batch.pixels, labels, n_labeled, rate, float(step)))
        return float(np.mean([float(loss) for loss in losses]))

    def scores(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the softmax, (N, time steps, 12), of pixels (N, 32, width, 1)."""
        logits = np.asarray(self._logits(pixels))[:, 0]
        exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
        scores: npt.NDArray[np.float32] = exponents / exponents.sum(axis=-1, keepdims=True)
        return scores

    def values(self) -> tuple[npt.NDArray[np.generic], ...]:
        """Values of all variables that a run needs to go on."""
        return tuple(np.asarray(v) for v in self._variables())

    def restore(self, values: tuple[npt.NDArray[np.generic], ...]) -> None:
        """Set all variables to `values`, which `values()` returned.

        Raises:
            EdgeError: they are those of another network.
        """
        variables = list(self._variables())
        if [v.shape for v in values] != [tuple(v.shape) for v in variables]:
            raise EdgeError("the checkpoint is of another network: start again without --resume")
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)

    def _variables(self) -> Iterator["keras.Variable"]:
        yield from self.network.weights
        yield from self.average.weights
        yield from self._optimizer.variables

    def _take_step(
        self,
        pixels: "tf.Tensor",
        labels: "tf.SparseTensor",
        n_labeled: "tf.Tensor",
        rate: "tf.Tensor",
        step: "tf.Tensor",
    ) -> "tf.Tensor":
        import tensorflow as tf

        variables = self.network.trainable_variables
        with tf.GradientTape() as tape:
            logits = self.network(tf.cast(pixels, tf.float32) / 255.0, training=True)[:, 0]
            n_steps = tf.shape(logits)[1]
            # TensorFlow's CTC fails on empty labels. The only path of such a line is blanks
            # alone, so its loss is the sum of their negative logarithms.
            labeled_losses = tf.cond(
                n_labeled > 0,
                lambda: tf.compat.v1.nn.ctc_loss(
                    labels,
                    logits[:n_labeled],
                    sequence_length=tf.fill((n_labeled,), n_steps),
                    time_major=False,
                    ignore_longer_outputs_than_inputs=True,
                ),
                lambda: tf.zeros((0,)),
            )
            blanks = -tf.nn.log_softmax(logits[n_labeled:])[..., BLANK]
            losses = tf.concat((labeled_losses, tf.reduce_sum(blanks, axis=1)), axis=0)
            loss = tf.reduce_mean(losses)
        self._optimizer.learning_rate.assign(rate)
        self._optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        # EMA warm-up: the decay grows from 0.1 to `ema_decay`, so that the average forgets the
        # random initial weights.
        share = 1 - tf.minimum(self.recipe.ema_decay, (1 + step) / (10 + step))
        for mean, now in zip(self.average.weights, self.network.weights, strict=True):
            mean.assign_add(share * (now - mean))
        return loss


def _sparse_labels(texts: tuple[str, ...]) -> tuple[int, "tf.SparseTensor"]:
    """Return the number of lines with a text, which `stack` puts first, and their labels."""
    import tensorflow as tf

    n_labeled = sum(bool(text) for text in texts)
    labeled = texts[:n_labeled]
    places = [(row, at) for row, text in enumerate(labeled) for at in range(len(text))]
    values = [_CLASS_OF[symbol] for text in labeled for symbol in text]
    longest = max(map(len, texts))
    return n_labeled, tf.SparseTensor(
        np.array(places, np.int64).reshape(-1, 2), np.array(values, np.int32), (n_labeled, longest)
    )


def decode(scores: npt.NDArray[np.floating]) -> str:
    """Return the text of a line by best-path decoding of its scores, (time steps, 12)."""
    best = scores.argmax(axis=1)
    starts = np.append(True, best[1:] != best[:-1]) & (best != BLANK)
    return "".join(LABELS[index] for index in best[starts])


def sequence_accuracy(training: LineTraining, validation: list[LineBatch]) -> float:
    """Return the share of lines that are read without an error (exact matches)."""
    exact = total = 0
    for batch in validation:
        for scores, text in zip(training.scores(batch.pixels), batch.texts, strict=True):
            exact += decode(scores) == text
            total += 1
    return exact / total


def fit(
    training: LineTraining,
    source: BatchSource,
    validation: list[LineBatch],
    path: Path,
    settings: str,
    resume: bool,
    report: Callable[[tuple[Epoch, ...]], None],
    watch: Callable[[Iterator[LineBatch]], Iterator[LineBatch]],
) -> tuple[Epoch, ...]:
    """Train to the end of the recipe, with a checkpoint at `path` after each of `PARTS` parts.

    Args:
        training: fresh.
        source: of the batches.
        validation: measured on after each part.
        path: of the checkpoint.
        settings: JSON of all that decides the outcome.
        resume: whether to go on from the checkpoint, if there is one.
        report: called with the history after each part, and once when going on. An `Epoch` in it is
            a part; its validation accuracy is the sequence accuracy.
        watch: passes on the batches, to show progress.

    Returns:
        The history.

    Raises:
        EdgeError: the checkpoint cannot be read or written, or is of other settings; or the loss
            is not finite.
    """
    history: tuple[Epoch, ...] = ()
    if resume and path.exists():
        saved = checkpoint.read(path, settings)
        training.restore(saved.values)
        history = saved.history
        report(history)
    steps = training.recipe.steps
    # Of a run of fewer steps than parts, some parts are empty and not in the history.
    for part in range(history[-1].epoch if history else 0, PARTS):
        start = time.perf_counter()
        first, last = part * steps // PARTS, (part + 1) * steps // PARTS
        if first == last:
            continue
        loss = training.run(watch(source.batches(first, last)), first)
        if not math.isfinite(loss):
            raise EdgeError(
                f"the training diverged in part {part + 1}: its loss is not finite; start again "
                "with another --seed"
            )
        accuracy = sequence_accuracy(training, validation)
        rate = training.recipe.rate(last / steps)
        seconds = time.perf_counter() - start
        history += (
            Epoch(
                epoch=part + 1,
                train_loss=loss,
                train_accuracy=0.0,  # not measured
                val_loss=0.0,  # not measured
                val_accuracy=accuracy,
                learning_rate=rate,
                seconds=seconds,
            ),
        )
        checkpoint.write(path, Checkpoint(settings, history, training.values()))
        report(history)
    return history
