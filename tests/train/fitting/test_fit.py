"""Parts of a training run: order of the images, class weights, schedules, settings, options."""

import dataclasses
import json

import numpy as np
import pytest

from runtime.errors import EdgeError
from train.__main__ import choose_recipe, parse_args
from train.augmentation.augment import Augmentation
from train.augmentation.corrupt import Corruption
from train.data.splits import Split
from train.fitting.fit import Training, class_weights, fit, shuffled
from train.recipe import DEFAULT, FAST, PUBLISHED, Recipe, changed


def test_each_pass_has_every_image_once_in_another_order():
    order = shuffled(50, 120, [0, 3])
    assert sorted(order[:50]) == sorted(order[50:100]) == list(range(50))
    assert len(order) == 120
    assert not np.array_equal(order[:50], order[50:100])


def test_order_depends_on_the_seed_only():
    order = shuffled(50, 120, [0, 3])
    np.testing.assert_array_equal(order, shuffled(50, 120, [0, 3]))
    assert not np.array_equal(order, shuffled(50, 120, [0, 4]))


def test_balanced_classes_have_weight_1():
    balanced = np.repeat([0, 1, 2], [60, 50, 55])
    np.testing.assert_array_equal(class_weights(balanced, 3), np.ones(3))


def test_imbalanced_classes_are_weighted_in_inverse_proportion():
    imbalanced = np.repeat([0, 1, 2], [100, 50, 10])
    weights = class_weights(imbalanced, 3)
    np.testing.assert_allclose(weights * [100, 50, 10], 160 / 3)
    assert weights[imbalanced].mean() == pytest.approx(1)


def test_learning_rate_rises_to_its_peak_and_falls_to_0():
    recipe = Recipe(learning_rate=2.0, warmup=0.25)
    assert recipe.rate(0.125) == 1.0
    assert recipe.rate(0.25) == 2.0
    assert recipe.rate(0.625) == pytest.approx(1.0)
    assert recipe.rate(1.0) == pytest.approx(0)
    rates = [recipe.rate(p) for p in np.linspace(0.25, 1, 50)]
    assert rates == sorted(rates, reverse=True)


def test_cooldown_lowers_the_strength_in_the_last_epochs():
    recipe = Recipe(epochs=5, cooldown=0.4, cooldown_strength=0.25)
    assert [recipe.strength(epoch) for epoch in range(5)] == [1, 1, 1, 0.25, 0.25]
    assert Recipe(epochs=5, cooldown=0.0).strength(4) == 1


LATE_CORRUPTION = Recipe(
    epochs=5, corrupted_fraction=0.4, corruption=Corruption(share=1.0, brightness=0.5)
)


def test_recipe_corrupts_in_the_last_epochs_only():
    recipe = LATE_CORRUPTION
    corrupted = [recipe.corruption_in(epoch) == recipe.corruption for epoch in range(5)]
    assert corrupted == [False, False, False, True, True]


def test_batches_are_corrupted_in_the_last_epochs_only():
    pixels = np.full((40, 28, 28, 1), 100, np.uint8)
    recipe = dataclasses.replace(LATE_CORRUPTION, distortion=Augmentation.none())
    training = Training(recipe, Split(pixels, np.arange(40) % 2), 2, 0)
    before, after = (next(iter(training.batches(epoch)))[0].numpy() for epoch in (2, 3))
    assert not np.ptp(before)
    assert np.ptp(after) > 0.2


def test_early_epochs_have_their_own_corruption():
    early, late = Corruption(share=0.2, blur_px=1.0), Corruption(share=0.5, noise=0.1)
    recipe = Recipe(epochs=3, corrupted_fraction=0.3, corruption=late, early_corruption=early)
    assert [recipe.corruption_in(epoch) for epoch in range(3)] == [early, early, late]
    assert changed(recipe, ["early_corruption.share=0"]).corruption_in(0).share == 0


def test_cooldown_of_strength_0_does_not_distort_images():
    pixels = np.zeros((40, 28, 28, 1), np.uint8)
    pixels[:, 10:18, 10:18] = 200
    recipe = Recipe(epochs=2, cooldown=0.5, cooldown_strength=0.0, corruption=Corruption())
    training = Training(recipe, Split(pixels, np.arange(40) % 2), 2, 0)
    before, cooldown = (next(iter(training.batches(epoch)))[0].numpy() for epoch in (0, 1))
    assert np.ptp(before, axis=0).max() > 0.5
    assert not np.ptp(cooldown, axis=0).any()


def test_beta2_changes_the_second_step_but_not_the_first():
    split = Split(np.zeros((40, 28, 28, 1), np.uint8), np.arange(40) % 2)
    random = np.random.default_rng(0)
    images = random.random((2, 4, 28, 28, 1), np.float32)
    batches = [(images[0], np.array([0, 1, 0, 1])), (images[1], np.array([1, 1, 1, 0]))]

    def weights(beta2: float, steps: int) -> np.ndarray:
        recipe = Recipe(epochs=1, batch_size=4, warmup=0.0, beta2=beta2)
        training = Training(recipe, split, 2, 0)
        list(training.take_steps(batches[:steps], 0))
        return np.asarray(training.network.get_layer("hidden").kernel)

    # AdamW's bias correction makes the first step independent of the decay.
    first, second = (np.median(np.abs(weights(0.5, n) - weights(0.999, n))) for n in (1, 2))
    assert second > 100 * first


def test_options_change_the_default_recipe():
    args = parse_args(["--epochs", "3", "--batch-size", "64", "--learning-rate", "0.01"])
    expected = dataclasses.replace(DEFAULT, epochs=3, batch_size=64, learning_rate=0.01)
    assert choose_recipe(args) == expected


def test_set_changes_the_fast_recipe():
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
def test_unknown_and_invalid_settings_are_rejected(setting):
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
def test_invalid_options_are_rejected(options, capsys):
    with pytest.raises(SystemExit) as caught:
        parse_args(options)
    assert caught.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_json_of_a_recipe_is_one_line_with_all_settings():
    recipe = changed(PUBLISHED, ["dropout=0.125", "distortion.shear=0.5"])
    record = json.loads(recipe.to_json())
    distortion = Augmentation(**record.pop("distortion"))
    corruptions = {n: Corruption(**record.pop(n)) for n in ("corruption", "early_corruption")}
    assert Recipe(**record, distortion=distortion, **corruptions) == recipe
    assert "\n" not in recipe.to_json()


@pytest.mark.parametrize(("options", "expected"), [([], DEFAULT), (["--published"], PUBLISHED)])
def test_each_recipe_has_its_option(options, expected):
    assert choose_recipe(parse_args(options)) == expected


def test_set_changes_the_corruption():
    recipe = changed(
        DEFAULT, ["corruption.share=1", "corruption.noise=0.2", "corrupted_fraction=0.5"]
    )
    assert recipe.corruption == Corruption(share=1.0, noise=0.2)
    assert recipe.corrupted_fraction == 0.5


@pytest.mark.parametrize(
    "setting",
    [
        "corruption.share=1.1",
        "corruption.contrast=1",
        "corruption.fog=1",
        "corrupted_fraction=1.1",
        "cooldown=1",
        "cooldown_strength=1.1",
    ],
)
def test_invalid_settings_of_corruption_and_cooldown_are_rejected(setting):
    with pytest.raises(EdgeError, match="--set"):
        changed(DEFAULT, [setting])


@pytest.mark.parametrize(
    ("former", "current"),
    [
        ("averaging=0.5", "ema_decay=0.5"),
        ("second_moment=0.5", "beta2=0.5"),
        ("spoilt=0.5", "corrupted_fraction=0.5"),
        ("corruption_before.noise=0.5", "early_corruption.noise=0.5"),
        ("calm=0.5", "cooldown=0.5"),
        ("calm_strength=0.25", "cooldown_strength=0.25"),
    ],
)
def test_former_names_of_settings_are_accepted(former, current):
    recipe = changed(DEFAULT, [former])
    assert recipe == changed(DEFAULT, [current]) != DEFAULT
    assert current.partition("=")[0].partition(".")[0] in json.loads(recipe.to_json())


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
def test_malformed_and_huge_numbers_in_settings_are_rejected(setting):
    with pytest.raises(EdgeError, match=r"^--set .*pass NAME=NUMBER"):
        changed(DEFAULT, [setting])


def test_diverging_training_raises_and_leaves_no_checkpoint(tmp_path):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (40, 28, 28, 1), np.uint8)
    split = Split(pixels, np.arange(40) % 10)
    recipe = Recipe(epochs=1, batch_size=16, warmup=0.0, learning_rate=1e5)
    path = tmp_path / "run-checkpoint.npz"
    with pytest.raises(EdgeError, match=r"diverged in epoch 1: .*lower the learning rate"):
        fit(Training(recipe, split, 10, seed=0), split, path, "{}", False, print)
    assert not path.exists()
