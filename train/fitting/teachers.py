"""Trained networks whose averaged scores the network in training learns too (distillation).

The method is knowledge distillation from an ensemble: Hinton, Vinyals and Dean, "Distilling the
Knowledge in a Neural Network", 2015, at temperature 1. `train.fitting.fit` mixes the teachers'
scores into the targets; the recipe's `teacher_share` is their weight.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.preprocess.form import Form
from train.fitting.trained import load_trained

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


@dataclass(frozen=True)
class Teachers:
    """Trained networks of the same form and classes as the network in training.

    Attributes:
        digests: SHA-256 of the files, in hex.
        models: the networks; they return softmax scores.
    """

    digests: tuple[str, ...]
    models: tuple["keras.Model", ...]

    def scores(self, images: "tf.Tensor") -> "tf.Tensor":
        """Return the mean of the teachers' scores, float32 (N, classes).

        Args:
            images: float32 (N, H, W, channels) from 0 to 1, as the network in training gets them.
        """
        import tensorflow as tf

        scores = [model(images, training=False) for model in self.models]
        return tf.add_n(scores) / float(len(scores))


def load(paths: Sequence[Path], form: Form, labels: tuple[str, ...]) -> Teachers | None:
    """Load the teachers.

    Args:
        paths: `.keras` files that `digit-edge train` wrote.
        form: the form of the pixels that the teachers must take.
        labels: the classes that the teachers must have, in this order.

    Returns:
        The teachers, or None if `paths` is empty.

    Raises:
        EdgeError: a file is not such an artifact, or has another form or other classes.
    """
    if not paths:
        return None
    opened = [load_trained("--teacher", path, form, labels) for path in paths]
    return Teachers(tuple(spec.digest for spec, _ in opened), tuple(model for _, model in opened))
