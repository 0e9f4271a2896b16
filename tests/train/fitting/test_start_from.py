"""`--start-from`: a training that continues from the weights of a trained network."""

from pathlib import Path

import numpy as np
import pytest

from runtime.errors import EdgeError
from runtime.model import artifact
from runtime.model.spec import Metrics
from runtime.preprocess.form import MNIST_FORM, PHOTO, Form
from train import run
from train.__main__ import choose_recipe, main, parse_args
from train.data.load import sklearn_digits
from train.data.splits import Split
from train.evaluation.evaluate import logits_of
from train.fitting.fit import Training
from train.fitting.trained import load_start
from train.model import Network
from train.recipe import FAST, PUBLISHED, Recipe
from train.save import save

pytest.importorskip("tensorflow")
import keras

PRETRAINED = Path(artifact.__file__).parents[1] / "pretrained"
DIGITS = sklearn_digits().train
DIGITS_10 = tuple("0123456789")


def keras_model(path):
    return keras.saving.load_model(path, compile=False)


@pytest.mark.parametrize("form", [None, Form(PHOTO, (32, 20, 3))])
def test_network_begins_with_the_scores_of_the_one_it_starts_from(form):
    network = Network() if form is None else Network(form)
    pixels = DIGITS.pixels
    if form is not None:
        pixels = np.random.default_rng(0).integers(0, 256, (300, *form.shape), np.uint8)
    labels = np.arange(len(pixels)) % 10
    first = Training(FAST, Split(pixels, labels), 10, 1, network=network)
    first.run_epoch(0)
    saved = network.inference(first.average)

    second = Training(Recipe(epochs=2), Split(pixels, labels), 10, 2, network=network)
    before = logits_of(second.average, pixels)
    second.start_from(saved)
    expected = logits_of(first.average, pixels)
    assert not np.allclose(before, expected, atol=0.1)
    np.testing.assert_allclose(logits_of(second.average, pixels), expected, atol=1e-3)
    np.testing.assert_allclose(logits_of(second.network, pixels), expected, atol=1e-3)


def test_spec_names_the_start(tmp_path):
    start, out = PRETRAINED / "digits.keras", tmp_path / "tuned.keras"
    options = ["--data", "embedded", "--fast", "--epochs", "1", "--out", str(out)]
    assert main([*options, "--start-from", str(start)]) == 0
    provenance = dict(artifact.read(out).spec.provenance)
    assert provenance["started from"] == artifact.read(start).spec.digest


def test_start_is_the_mean_of_several_networks(tmp_path):
    paths, expected = [], []
    for seed, temperature in ((1, 0.5), (2, 2.0)):
        network = Network()
        trained = network.trainable(10, seed=seed)
        model = network.inference(trained, temperature)
        folded = network.inference(trained).get_weights()
        expected.append(folded)
        path = tmp_path / f"{seed}.keras"
        save(
            path, model, DIGITS_10, temperature, 0.0, sklearn_digits().dataset,
            Metrics(0.5, 1, 0.5, 1), (),
        )  # fmt: skip
        paths.append(path)
    digests, mean = load_start(paths, MNIST_FORM, DIGITS_10)
    assert digests == tuple(artifact.read(path).spec.digest for path in paths)
    for weights, first, second in zip(mean.get_weights(), *expected, strict=True):
        np.testing.assert_allclose(weights, (first + second) / 2, atol=1e-6)


def test_without_epochs_the_start_is_only_calibrated(tmp_path):
    start, out = PRETRAINED / "digits.keras", tmp_path / "mean.keras"
    options = ["--data", "embedded", "--fast", "--epochs", "0", "--out", str(out)]
    twice = ["--start-from", str(start)] * 2
    assert main([*options, *twice]) == 0
    spec = artifact.read(out).spec
    assert dict(spec.provenance)["started from"].count(artifact.read(start).spec.digest) == 2
    images = DIGITS.pixels[:200] / np.float32(255)
    scores = [keras_model(path)(images, training=False) for path in (start, out)]
    np.testing.assert_array_equal(np.argmax(scores[0], 1), np.argmax(scores[1], 1))


def test_no_epoch_without_a_start_is_an_error(capsys):
    with pytest.raises(SystemExit, match="2"):
        parse_args(["--epochs", "0"])
    assert "pass --start-from" in capsys.readouterr().err


def test_fine_tuning_has_half_the_learning_rate_unless_one_is_given():
    start = ["--start-from", "digits.keras"]
    tuned = choose_recipe(parse_args(["--published", *start]))
    assert tuned.learning_rate == PUBLISHED.learning_rate / 2
    given = choose_recipe(parse_args(["--published", *start, "--learning-rate", "0.003"]))
    assert given.learning_rate == 0.003


def test_lines_are_no_start(tmp_path):
    lines = PRETRAINED / "lines.keras"
    options = ["--data", "embedded", "--fast", "--out", str(tmp_path / "digits.keras")]
    with pytest.raises(EdgeError, match=r"--start-from .*lines\.keras: pass a \.keras file"):
        main([*options, "--start-from", str(lines)])


def test_network_of_the_user_has_no_start(capsys):
    with pytest.raises(SystemExit, match="2"):
        parse_args(["--network", "network.py:build", "--start-from", "digits.keras"])
    assert "leave out --network" in capsys.readouterr().err


def test_held_back_images_are_the_same_for_each_seed(tmp_path, monkeypatch):
    held_back = []

    def fit(training, validation, *_):
        held_back.append(validation.pixels)
        raise EdgeError("stopped before the first epoch")

    monkeypatch.setattr(run, "fit", fit)
    for seed in ("0", "1"):
        options = ["--data", "embedded", "--fast", "--out", str(tmp_path / "digits.keras")]
        with pytest.raises(EdgeError, match="stopped"):
            main([*options, "--seed", seed])
    np.testing.assert_array_equal(*held_back)
