"""Trains the network with AdamW, and averages its weights (EMA).

`train.run` calls `fit`, which also validates the network and writes a checkpoint after each epoch.
`train.throughput` times the steps of `Training`.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from runtime.errors import EdgeError
from runtime.preprocess.form import PHOTO
from train import checkpoint
from train.augmentation.augment import augment
from train.augmentation.corrupt import corrupt, vary_light
from train.checkpoint import Checkpoint, Epoch
from train.data.splits import Split
from train.evaluation.evaluate import logits_of, loss_and_accuracy
from train.fitting.teachers import Teachers
from train.model import Network, unfold_batch_norm
from train.recipe import Recipe

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    # float32 images (B, height, width, channels) from 0 to 1, int64 labels (B,).
    Batch: TypeAlias = tuple[tf.Tensor, tf.Tensor]

# Fewest steps of an epoch. If one pass over the data set is shorter, an epoch makes several passes.
# With fewer steps the moving averages of batch normalization and of the weights would not converge.
MIN_STEPS = 100
# Compared with (images of the largest class) / (images of the smallest class). Beyond it, the loss
# weights each class in inverse proportion to its number of images.
MAX_CLASS_IMBALANCE = 2.0
# The EMA's decay at step n is at most (1 + n) / (10 + n), as in TensorFlow's
# ExponentialMovingAverage. So the average forgets the random initial weights in the first steps.
_EMA_WARMUP_STEPS = 10
_LIGHT_SEED = 1 << 20  # added to the seed, so that light does not follow the distortion
_BATCHES_TO_START = 8  # on which `start_from` measures the statistics of batch normalization
_PREPARING_THREADS = 2  # threads that augment and corrupt batches
_PREFETCHED_BATCHES = 4  # batches prepared in advance; beyond that, preparation waits


class Training:
    """A training run; the same settings on the same machine give the same weights.

    All randomness is derived from (seed, epoch, step). Therefore the values of the variables and
    the number of completed epochs suffice to resume a run.

    Attributes:
        recipe: the settings of the run.
        seed: random seed.
        network: the network that is trained, from `build_trainable`.
        average: the same network with the moving average (EMA) of the weights. The average is
            validated and saved.
        steps: steps per epoch, at least MIN_STEPS (100).
    """

    def __init__(
        self,
        recipe: Recipe,
        split: Split,
        classes: int,
        seed: int,
        drawn: Split | None = None,
        network: Network | None = None,
        teachers: Teachers | None = None,
    ) -> None:
        """Build the network and the optimizer.

        Args:
            recipe: the settings of the run.
            split: the training images, with their labels.
            classes: number of classes.
            seed: random seed, a whole number from 0.
            drawn: drawn images, the recipe's `drawn_share` of each batch; None without them. An
                image with the label NOT_A_CLASS (-1) is a negative.
            network: the network to train; None trains that of 28×28 ink.
            teachers: networks whose scores are the recipe's `teacher_share` of each target; None
                without them.
        """
        import keras
        import tensorflow as tf

        network = network or Network()
        self._margin, self._is_photo = network.margin, network.form.name == PHOTO
        self.recipe, self.seed = recipe.for_side(min(network.form.size)), seed
        self.network = network.trainable(classes, recipe.dropout, seed)
        self.average = network.trainable(classes, 0.0, seed)
        self.average.set_weights(self.network.get_weights())
        biases = [v for v in self.network.trainable_variables if len(v.shape) < 2]
        self._optimizer = keras.optimizers.AdamW(
            recipe.learning_rate, weight_decay=recipe.weight_decay, beta_2=recipe.beta2
        )
        self._optimizer.exclude_from_weight_decay(var_list=biases)
        self._optimizer.build(self.network.trainable_variables)
        self._drawn_per_batch = round(recipe.drawn_share * recipe.batch_size) if drawn else 0
        own_per_batch = recipe.batch_size - self._drawn_per_batch
        self.steps = max(len(split) // own_per_batch, MIN_STEPS)
        self._n = len(split)
        self._classes = classes
        self._teachers = teachers
        pools = (split,) if drawn is None else (split, drawn)
        self._pixels = tf.constant(np.concatenate([pool.pixels for pool in pools]))
        self._labels = tf.constant(np.concatenate([pool.labels for pool in pools]))
        self._weights = tf.constant(class_weights(split.labels, classes), tf.float32)
        self._step = tf.function(self._take_step)

    def start_from(self, model: "keras.Model") -> None:
        """Start from the weights of a saved network instead of random ones.

        Batch normalization begins with the statistics of some batches of the middle epoch, which
        has the distortion and the corruption of most epochs.

        Args:
            model: a network of the same layers, as `Network.inference` returns it with the
                temperature 1.
        """
        batches = self.batches(self.recipe.epochs // 2).take(_BATCHES_TO_START)
        images = np.concatenate([images.numpy() for images, _ in batches])
        unfold_batch_norm(model, self.network, images)
        self.average.set_weights(self.network.get_weights())

    def run_epoch(
        self, epoch: int, watch: Callable[[Iterable["Batch"]], Iterable["Batch"]] = iter
    ) -> tuple[float, float]:
        """Train for one epoch.

        Args:
            epoch: number of the epoch, from 0.
            watch: function that is called with the batches of the epoch and yields them, for
                example to show progress.

        Returns:
            (mean loss in nats, accuracy from 0 to 1) on the augmented images.
        """
        import keras

        # Derive the state of dropout's random generator, two uint32, from the seed and the epoch:
        # a checkpoint then need not contain the state. The shift by 20 bits leaves each epoch a
        # counter range of its own.
        for n, layer in enumerate(self.network.layers):
            if isinstance(layer, keras.layers.Dropout) and layer.rate:
                layer.seed_generator.state.assign([(self.seed + n) % 2**32, (epoch << 20) % 2**32])
        losses = hits = 0.0
        for loss, hit in self.take_steps(watch(self.batches(epoch)), epoch):
            losses, hits = losses + loss, hits + hit
        return losses / self.steps, hits / (self.steps * self.recipe.batch_size)

    def take_steps(self, batches: Iterable["Batch"], epoch: int) -> Iterator[tuple[float, float]]:
        """Train on batches, one step per batch.

        Args:
            batches: (float32 images (B, 28, 28, 1) from 0 to 1, int64 labels (B,)), as the method
                `batches` returns them.
            epoch: number of the epoch, from 0; the first batch is its first step.

        Yields:
            After each step, (mean loss in nats, number of correct predictions) of its batch; with
            negatives in the batch, the number is scaled up as if there were none.
        """
        import tensorflow as tf

        total = self.recipe.epochs * self.steps
        for step, (images, labels) in enumerate(batches, epoch * self.steps):
            rate = tf.constant(self.recipe.rate((step + 1) / total), tf.float32)
            loss, hit = self._step(images, labels, rate, tf.constant(step, tf.float32))
            yield float(loss), float(hit)

    def batches(self, epoch: int) -> "tf.data.Dataset":
        """Return the batches of an epoch, shuffled, augmented and corrupted.

        Args:
            epoch: number of the epoch, from 0.

        Returns:
            A data set of `steps` batches: (float32 images (B, 28, 28, 1) from 0 to 1, int64 labels
            (B,)), with B the recipe's batch size.
        """
        import tensorflow as tf

        size, seed = self.recipe.batch_size, self.seed
        strength = tf.constant(self.recipe.strength(epoch), tf.float32)
        corruption = self.recipe.corruption_in(epoch)

        def prepare(step: "tf.Tensor", indices: "tf.Tensor") -> "Batch":
            images = tf.cast(tf.gather(self._pixels, indices), tf.float32) / 255.0
            step_seed = tf.stack([seed, step])
            images = augment(
                images, self.recipe.distortion, strength, step_seed, self._margin, self._is_photo
            )
            images = tf.ensure_shape(images, (size, *images.shape[1:]))
            if self._is_photo:
                light_seed = step_seed + tf.constant([_LIGHT_SEED, 0])
                images = vary_light(images, self.recipe.lighting, light_seed)
            labels = tf.gather(self._labels, indices)
            return corrupt(images, size, corruption, step_seed, self._is_photo), labels

        order = self._order(epoch)
        steps = np.arange(epoch * self.steps, (epoch + 1) * self.steps, dtype=np.int32)
        batches = tf.data.Dataset.from_tensor_slices((steps, order))
        prepared = batches.map(prepare, num_parallel_calls=_PREPARING_THREADS, deterministic=True)
        return prepared.prefetch(_PREFETCHED_BATCHES)

    def _order(self, epoch: int) -> npt.NDArray[np.int32]:
        """Return the indices of the images of an epoch, int32 (steps, batch size)."""
        drawn = self._drawn_per_batch
        own = self.recipe.batch_size - drawn
        order = shuffled(self._n, self.steps * own, [self.seed, epoch]).reshape(self.steps, own)
        if not drawn:
            return order
        count = len(self._labels) - self._n
        chosen = self._n + shuffled(count, self.steps * drawn, [self.seed, epoch, 1])
        both = np.concatenate([order, chosen.reshape(self.steps, drawn)], axis=1)
        # `corrupt` changes the first images of a batch, which have to be a random choice.
        random = np.random.default_rng([self.seed, epoch, 2])
        return random.permuted(both, axis=1).astype(np.int32)

    def values(self) -> tuple[npt.NDArray[np.generic], ...]:
        """Return the values of all variables, for a checkpoint.

        The variables are those of the network, of its average and of the optimizer, in this order.
        """
        return tuple(np.asarray(v) for v in self._variables())

    def restore(self, values: tuple[npt.NDArray[np.generic], ...]) -> None:
        """Set all variables to the values of a checkpoint.

        Args:
            values: the values that the method `values` returned before.

        Raises:
            EdgeError: the shapes of the values are not the shapes of the variables.
        """
        variables = list(self._variables())
        if [v.shape for v in values] != [tuple(v.shape) for v in variables]:
            raise EdgeError(
                "the checkpoint has variables of other shapes than this network: start again "
                "without --resume"
            )
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)

    def _variables(self) -> Iterator["keras.Variable"]:
        yield from self.network.weights
        yield from self.average.weights
        yield from self._optimizer.variables

    def _take_step(
        self,
        images: "tf.Tensor",
        labels: "tf.Tensor",
        rate: "tf.Tensor",
        step: "tf.Tensor",
    ) -> tuple["tf.Tensor", "tf.Tensor"]:
        """Train on one batch; return its mean loss and its number of correct predictions."""
        import tensorflow as tf

        smoothing, classes = self.recipe.label_smoothing, self._classes
        # A negative, whose label is NOT_A_CLASS, has no `one_hot`: its target is uniform.
        is_class = tf.cast(labels >= 0, tf.float32)[:, None]
        smoothing = smoothing * is_class + (1 - is_class)
        targets = tf.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes
        if self._teachers is not None:
            share = self.recipe.teacher_share
            targets = (1 - share) * targets + share * self._teachers.scores(images)
        variables = self.network.trainable_variables
        with tf.GradientTape() as tape:
            logits = self.network(images, training=True)
            losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
            loss = tf.reduce_mean(losses * tf.gather(self._weights, tf.maximum(labels, 0)))
        self._optimizer.learning_rate.assign(rate)
        self._optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        change = 1 - tf.minimum(self.recipe.ema_decay, (1 + step) / (_EMA_WARMUP_STEPS + step))
        for average, weight in zip(self.average.weights, self.network.weights, strict=True):
            average.assign_add(change * (weight - average))
        hits = tf.reduce_sum(tf.cast(tf.argmax(logits, 1) == labels, tf.float32))
        # A negative cannot be predicted correctly: the accuracy is that of the other images.
        size = tf.cast(tf.size(labels), tf.float32)
        return loss, hits * (size / tf.maximum(tf.reduce_sum(is_class), 1.0))


def shuffled(n: int, count: int, seed: list[int]) -> npt.NDArray[np.int32]:
    """Return indices that cover a data set evenly, in random order.

    Args:
        n: number of images, at least 1.
        count: number of indices to return.
        seed: whole numbers that seed the random generator.

    Returns:
        int32 (count,): random permutations of 0 … n - 1, one after another; the last is cut off.
    """
    random = np.random.default_rng(seed)
    orders = [random.permutation(n) for _ in range(-(-count // n))]
    return np.concatenate(orders)[:count].astype(np.int32)


def class_weights(labels: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.float64]:
    """Return the weight of each class in the loss.

    Args:
        labels: class indices of the training images, int64 (N,); every class occurs.
        classes: number of classes.

    Returns:
        float64 (classes,). All weights are 1 if the largest class has at most MAX_CLASS_IMBALANCE
        (2) times the images of the smallest. Otherwise a weight is N / (classes · images of the
        class).
    """
    counts = np.bincount(labels, minlength=classes)
    if counts.max() <= MAX_CLASS_IMBALANCE * counts.min():
        return np.ones(classes)
    return len(labels) / (classes * counts)


def fit(
    training: Training,
    validation: Split,
    path: Path,
    settings: str,
    resume: bool,
    report: Callable[[tuple[Epoch, ...]], None],
    watch: Callable[[Iterable["Batch"]], Iterable["Batch"]] = iter,
) -> tuple[Epoch, ...]:
    """Train for all epochs of the recipe, and write a checkpoint after each epoch.

    Args:
        training: a new run.
        validation: images on which the averaged network is validated after each epoch.
        path: file of the checkpoint.
        settings: JSON of everything that determines the result.
        resume: continue from the checkpoint; if the file is missing, start from the beginning.
        report: called with the history after each epoch, and once after resuming.
        watch: function that is called with the batches of an epoch and yields them, for example
            to show progress.

    Returns:
        The history, one entry per epoch.

    Raises:
        EdgeError: the checkpoint cannot be read or written, the checkpoint is of a run with other
            settings, or the loss is not finite.
    """
    history: tuple[Epoch, ...] = ()
    if resume and path.exists():
        saved = checkpoint.read(path, settings)
        training.restore(saved.values)
        history = saved.history
        report(history)
    for epoch in range(len(history), training.recipe.epochs):
        start = time.perf_counter()
        train_loss, train_accuracy = training.run_epoch(epoch, watch)
        val_loss, val_accuracy = loss_and_accuracy(
            logits_of(training.average, validation.pixels), validation.labels
        )
        if not (math.isfinite(train_loss) and math.isfinite(val_loss)):
            raise EdgeError(
                f"training diverged in epoch {epoch + 1}: the loss is not finite; lower the "
                "learning rate (--set learning_rate=…)"
            )
        rate = training.recipe.rate((epoch + 1) / training.recipe.epochs)
        seconds = time.perf_counter() - start
        history += (
            Epoch(epoch + 1, train_loss, train_accuracy, val_loss, val_accuracy, rate, seconds),
        )
        checkpoint.write(path, Checkpoint(settings, history, training.values()))
        report(history)
    return history
