"""The nine layers: their size, what they see, and that folding changes no answer."""

import numpy as np
import pytest

from runtime.errors import EdgeError
from train.evaluate import softmax
from train.model import CROP_PX, build, build_trainable, fold_batch_norm

keras = pytest.importorskip("keras")


def test_the_nine_layers_and_their_parameters():
    model = build(10)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == [
        "InputLayer",
        "Cropping2D",
        *(["Conv2D", "MaxPooling2D"] * 3),
        "Flatten",
        "Dense",
        "Dense",
    ]
    assert model.count_params() == 65_354
    assert build(26).count_params() == 65_354 + 16 * 129
    (pixels,) = model.inputs
    assert (pixels.name, pixels.shape, pixels.dtype) == ("pixels", (None, 28, 28, 1), "float32")
    assert model.output_shape == (None, 10)


def _seen_pixels(model: "keras.Model") -> np.ndarray:
    """Which pixels, lit alone, change what the last layer is given: bool (28, 28)."""
    random = np.random.default_rng(0)
    # Positive weights and no bias: what reaches a layer cannot be lost in a ReLU behind it.
    model.set_weights([
        random.uniform(0.1, 1, w.shape) if w.ndim > 1 else np.zeros(w.shape)
        for w in model.get_weights()
    ])  # fmt: skip
    inside = keras.Model(model.inputs, model.get_layer("hidden").output)
    lit = np.eye(28 * 28, dtype=np.float32).reshape(-1, 28, 28, 1)
    return (inside.predict_on_batch(lit) > 0).any(axis=1).reshape(28, 28)


def test_every_pixel_inside_the_window_reaches_the_output():
    window = np.zeros((28, 28), bool)
    window[CROP_PX:-CROP_PX, CROP_PX:-CROP_PX] = True
    np.testing.assert_array_equal(_seen_pixels(build(10)), window)


def test_without_the_crop_six_rows_and_columns_would_be_lost(monkeypatch):
    monkeypatch.setattr("train.model.CROP_PX", 0)
    seen = _seen_pixels(build(10))
    assert seen[:22, :22].all()
    assert not seen[22:].any()
    assert not seen[:, 22:].any()


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_folding_changes_no_answer(temperature):
    trained = build_trainable(7, dropout=0.3, seed=1)
    random = np.random.default_rng(2)
    for layer in trained.layers:
        if layer.name.startswith("norm"):
            shift, mean, variance = (w.shape for w in layer.get_weights())
            layer.set_weights([
                random.normal(0, 0.5, shift),
                random.normal(0, 0.5, mean),
                random.uniform(0.05, 3, variance),
            ])  # fmt: skip
    images = random.uniform(0, 1, (50, 28, 28, 1)).astype(np.float32)
    expected = softmax(trained.predict_on_batch(images), temperature)
    scores = fold_batch_norm(trained, temperature).predict_on_batch(images)
    assert expected.max(axis=1).std() > 0.01  # answers that differ, or nothing is shown
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_a_temperature_that_is_not_positive_is_refused():
    with pytest.raises(EdgeError, match="must be above 0"):
        fold_batch_norm(build_trainable(2), 0.0)


def test_the_seed_decides_the_first_weights():
    first, same, other = (build_trainable(10, seed=s).get_weights() for s in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(first, same, strict=True))
    assert not np.array_equal(first[0], other[0])
