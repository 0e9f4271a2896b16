"""Parts of a run: the order of images, weights of classes, the schedule, the settings."""

import dataclasses
import json

import numpy as np
import pytest

from runtime.errors import EdgeError
from train.__main__ import choose_recipe, parse_args
from train.augment import Augmentation
from train.corrupt import Corruption
from train.data.splits import Split
from train.fit import Training, class_weights, fit, shuffled
from train.recipe import DEFAULT, FAST, PUBLISHED, Recipe, changed


def test_each_pass_sees_every_image_once():
    order = shuffled(50, 120, [0, 3])
    assert sorted(order[:50]) == sorted(order[50:100]) == list(range(50))
    assert len(order) == 120
    assert not np.array_equal(order[:50], order[50:100])
    np.testing.assert_array_equal(order, shuffled(50, 120, [0, 3]))
    assert not np.array_equal(order, shuffled(50, 120, [0, 4]))


def test_only_uneven_classes_are_weighted_and_the_mean_weight_is_one():
    even = np.repeat([0, 1, 2], [60, 50, 55])
    np.testing.assert_array_equal(class_weights(even, 3), np.ones(3))
    uneven = np.repeat([0, 1, 2], [100, 50, 10])
    weights = class_weights(uneven, 3)
    np.testing.assert_allclose(weights * [100, 50, 10], 160 / 3)
    assert weights[uneven].mean() == pytest.approx(1)


def test_the_rate_climbs_to_its_peak_and_falls_to_nothing():
    recipe = Recipe(learning_rate=2.0, warmup=0.25)
    assert recipe.rate(0.125) == 1.0
    assert recipe.rate(0.25) == 2.0
    assert recipe.rate(0.625) == pytest.approx(1.0)
    assert recipe.rate(1.0) == pytest.approx(0)
    rates = [recipe.rate(p) for p in np.linspace(0.25, 1, 50)]
    assert rates == sorted(rates, reverse=True)


def test_the_last_epochs_cool_down():
    recipe = Recipe(epochs=5, cooldown=0.4, cooldown_strength=0.25)
    assert [recipe.strength(epoch) for epoch in range(5)] == [1, 1, 1, 0.25, 0.25]
    assert Recipe(epochs=5, cooldown=0.0).strength(4) == 1


def test_images_are_spoilt_in_the_last_epochs_only():
    recipe = Recipe(
        epochs=5, corrupted_fraction=0.4, corruption=Corruption(share=1.0, brightness=0.5)
    )
    spoilt = [recipe.corruption_in(epoch) == recipe.corruption for epoch in range(5)]
    assert spoilt == [False, False, False, True, True]
    pixels = np.full((40, 28, 28, 1), 100, np.uint8)
    recipe = dataclasses.replace(recipe, distortion=Augmentation.none())
    training = Training(recipe, Split(pixels, np.arange(40) % 2), 2, 0)
    before, after = (next(iter(training.batches(epoch)))[0].numpy() for epoch in (2, 3))
    assert not np.ptp(before)
    assert np.ptp(after) > 0.2


def test_images_may_be_spoilt_otherwise_before_the_last_epochs():
    early, late = Corruption(share=0.2, blur_px=1.0), Corruption(share=0.5, noise=0.1)
    recipe = Recipe(epochs=3, corrupted_fraction=0.3, corruption=late, early_corruption=early)
    assert [recipe.corruption_in(epoch) for epoch in range(3)] == [early, early, late]
    assert changed(recipe, ["early_corruption.share=0"]).corruption_in(0).share == 0


def test_calm_epochs_distort_as_little_as_their_strength_says():
    pixels = np.zeros((40, 28, 28, 1), np.uint8)
    pixels[:, 10:18, 10:18] = 200
    recipe = Recipe(epochs=2, cooldown=0.5, cooldown_strength=0.0, corruption=Corruption())
    training = Training(recipe, Split(pixels, np.arange(40) % 2), 2, 0)
    wild, calm = (next(iter(training.batches(epoch)))[0].numpy() for epoch in (0, 1))
    assert np.ptp(wild, axis=0).max() > 0.5
    assert not np.ptp(calm, axis=0).any()


def test_beta2_decides_how_soon_an_earlier_gradient_is_forgotten():
    split = Split(np.zeros((40, 28, 28, 1), np.uint8), np.arange(40) % 2)
    random = np.random.default_rng(0)
    images = random.random((2, 4, 28, 28, 1), np.float32)
    batches = [(images[0], np.array([0, 1, 0, 1])), (images[1], np.array([1, 1, 1, 0]))]

    def weights(beta2: float, steps: int) -> np.ndarray:
        recipe = Recipe(epochs=1, batch_size=4, warmup=0.0, beta2=beta2)
        training = Training(recipe, split, 2, 0)
        list(training.take_steps(batches[:steps], 0))
        return np.asarray(training.network.get_layer("hidden").kernel)

    # The first step's estimate is corrected to its own gradient, whatever the decay.
    once, twice = (np.median(np.abs(weights(0.5, n) - weights(0.999, n))) for n in (1, 2))
    assert twice > 100 * once


def test_options_change_the_recipe():
    args = parse_args(["--epochs", "3", "--batch-size", "64", "--learning-rate", "0.01"])
    expected = dataclasses.replace(DEFAULT, epochs=3, batch_size=64, learning_rate=0.01)
    assert choose_recipe(args) == expected
    args = parse_args(["--fast", "--set", "dropout=0.1", "--set", "distortion.shift_px=1"])
    fast = choose_recipe(args)
    assert (fast.name, fast.epochs, fast.dropout) == ("fast", FAST.epochs, 0.1)
    assert fast.distortion == dataclasses.replace(FAST.distortion, shift_px=1.0)


@pytest.mark.parametrize(
    "setting",
    [
        "nonsense=1",
        "dropout",
        "dropout=much",
        "epochs=1.5",
        "distortion=1",
        "nowhere.shift_px=1",
        "name=x",
        "distortion.nonsense=1",
        "dropout=1",
        "epochs=0",
        "batch_size=0",
        "dropout=nan",
        "learning_rate=-1",
        "label_smoothing=1",
        "ema_decay=1",
        "beta2=1",
        "warmup=1",
        "=",
        "",
    ],
)
def test_settings_that_make_no_sense_are_refused(setting):
    with pytest.raises(EdgeError, match="--set"):
        changed(DEFAULT, [setting])


@pytest.mark.parametrize(
    "options",
    [
        ["--epochs", "0"],
        ["--batch-size", "x"],
        ["--seed", "-1"],
        ["--learning-rate", "2"],
        ["--validation", "0"],
        ["--validation", "1.5"],
        ["--validation", "nan"],
        ["--nonsense"],
    ],
)
def test_options_that_make_no_sense_are_refused(options, capsys):
    with pytest.raises(SystemExit) as caught:
        parse_args(options)
    assert caught.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_a_recipe_can_be_read_back_from_its_json():
    recipe = changed(PUBLISHED, ["dropout=0.125", "distortion.shear=0.5"])
    record = json.loads(recipe.to_json())
    distortion = Augmentation(**record.pop("distortion"))
    spoils = {n: Corruption(**record.pop(n)) for n in ("corruption", "early_corruption")}
    assert Recipe(**record, distortion=distortion, **spoils) == recipe
    assert "\n" not in recipe.to_json()


@pytest.mark.parametrize(("options", "expected"), [([], DEFAULT), (["--published"], PUBLISHED)])
def test_each_recipe_has_its_option(options, expected):
    assert choose_recipe(parse_args(options)) == expected


def test_settings_of_what_spoils_images():
    recipe = changed(
        DEFAULT, ["corruption.share=1", "corruption.noise=0.2", "corrupted_fraction=0.5"]
    )
    assert recipe.corruption == Corruption(share=1.0, noise=0.2)
    assert recipe.corrupted_fraction == 0.5
    refused = (
        "corruption.share=1.1",
        "corruption.contrast=1",
        "corruption.fog=1",
        "corrupted_fraction=1.1",
    )
    for setting in (*refused, "cooldown=1", "cooldown_strength=1.1"):
        with pytest.raises(EdgeError, match="--set"):
            changed(DEFAULT, [setting])


@pytest.mark.parametrize(
    ("earlier", "present"),
    [
        ("averaging=0.5", "ema_decay=0.5"),
        ("second_moment=0.5", "beta2=0.5"),
        ("spoilt=0.5", "corrupted_fraction=0.5"),
        ("corruption_before.noise=0.5", "early_corruption.noise=0.5"),
        ("calm=0.5", "cooldown=0.5"),
        ("calm_strength=0.25", "cooldown_strength=0.25"),
    ],
)
def test_earlier_names_of_settings_are_understood(earlier, present):
    recipe = changed(DEFAULT, [earlier])
    assert recipe == changed(DEFAULT, [present]) != DEFAULT
    assert present.partition("=")[0].partition(".")[0] in json.loads(recipe.to_json())


@pytest.mark.parametrize(
    "setting",
    [
        "cooldown.=0.1",
        "epochs.=5",
        "epochs=1_0",
        "epochs=٣",
        "epochs= 7 ",
        "batch_size=999999999",
        "learning_rate=1e300",
        "corruption.stroke_px=3",
        "corruption.noise=1e300",
        "cooldown_strength=1.0000000005",
    ],
)
def test_settings_without_sense_are_refused(setting):
    with pytest.raises(EdgeError, match=r"^--set .*pass NAME=NUMBER"):
        changed(DEFAULT, [setting])


def test_training_that_diverges_is_an_error_and_leaves_no_checkpoint(tmp_path):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (40, 28, 28, 1), np.uint8)
    split = Split(pixels, np.arange(40) % 10)
    recipe = Recipe(epochs=1, batch_size=16, warmup=0.0, learning_rate=1e5)
    path = tmp_path / "run-checkpoint.npz"
    with pytest.raises(EdgeError, match="diverged in epoch 1: .*lower the learning rate"):
        fit(Training(recipe, split, 10, seed=0), split, path, "{}", False, print)
    assert not path.exists()
