"""Distillation: the scores of trained networks as part of the targets."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from runtime.errors import EdgeError
from runtime.model import artifact
from runtime.preprocess.form import MNIST_FORM, PHOTO, Form
from train.__main__ import main
from train.augmentation.augment import Augmentation
from train.data.splits import Split
from train.evaluation.evaluate import logits_of
from train.fitting import teachers
from train.fitting.fit import Training
from train.fitting.teachers import Teachers
from train.recipe import Recipe

pytest.importorskip("tensorflow")

PRETRAINED = Path(teachers.__file__).parents[2] / "runtime" / "pretrained"
DIGITS = tuple("0123456789")
# Two classes of images: a vertical and a horizontal bar.
BARS = np.zeros((40, 28, 28, 1), np.uint8)
BARS[:20, 6:22, 12:16] = 255
BARS[20:, 12:16, 6:22] = 255
LABELS = np.repeat([0, 1], 20)


class Opposite:
    """A teacher that exchanges the two classes."""

    def __call__(self, images, training):
        import tensorflow as tf

        is_wide = tf.reduce_mean(images[:, 13:15], axis=(1, 2, 3)) > 0.3
        return tf.one_hot(tf.cast(~is_wide, tf.int32), 2)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_network_learns_the_teachers_scores_as_far_as_the_share_says(share):
    recipe = dataclasses.replace(
        Recipe(epochs=1, batch_size=16, dropout=0.0, distortion=Augmentation.none()),
        teacher_share=share,
    )
    training = Training(recipe, Split(BARS, LABELS), 2, 0, teachers=Teachers(("",), (Opposite(),)))
    training.run_epoch(0)
    predicted = logits_of(training.average, BARS).argmax(1)
    np.testing.assert_array_equal(predicted, 1 - LABELS if share else LABELS)


def test_scores_of_several_teachers_are_averaged():
    images = BARS[:1] / np.float32(255)
    opposite = Opposite()
    both = Teachers(("", ""), (opposite, lambda images, training: 1 - opposite(images, training)))
    np.testing.assert_allclose(both.scores(images), [[0.5, 0.5]])


def test_without_paths_there_are_no_teachers():
    assert teachers.load([], MNIST_FORM, DIGITS) is None


def test_published_network_can_teach():
    path = PRETRAINED / "digits.keras"
    loaded = teachers.load([path], MNIST_FORM, DIGITS)
    spec = artifact.read(path).spec
    assert loaded.digests == (spec.digest,)
    scores = loaded.scores(spec.golden.pixels / np.float32(255))
    np.testing.assert_allclose(scores, spec.golden.scores, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "form", "labels", "words"),
    [
        ("digits.tflite", MNIST_FORM, DIGITS, "pass a .keras file"),
        ("lines.keras", MNIST_FORM, DIGITS, "pass a .keras file"),
        (
            "digits.keras",
            Form(PHOTO, (32, 32, 3)),
            DIGITS,
            "a network trained with the same --size",
        ),
        ("digits.keras", MNIST_FORM, ("cat", "dog"), "a network trained on the same classes"),
        ("missing.keras", MNIST_FORM, DIGITS, "check the path"),
    ],
)
def test_unsuitable_teacher_is_rejected(name, form, labels, words):
    with pytest.raises(EdgeError) as caught:
        teachers.load([PRETRAINED / name], form, labels)
    message = str(caught.value)
    assert name in message
    assert words in message
    assert "\n" not in message


def test_spec_names_the_teachers(tmp_path):
    out, teacher = tmp_path / "digits.keras", PRETRAINED / "digits.keras"
    options = ["--data", "embedded", "--fast", "--epochs", "1", "--out", str(out)]
    assert main([*options, "--teacher", str(teacher)]) == 0
    provenance = dict(artifact.read(out).spec.provenance)
    assert provenance["teachers"] == artifact.read(teacher).spec.digest
