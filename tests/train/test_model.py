"""The nine layers: their sizes, the pixels that reach them, and the folding of normalization."""

import numpy as np
import pytest

from runtime.errors import EdgeError
from train.evaluation.evaluate import softmax
from train.model import CROP_PX, build, build_trainable, fold_batch_norm

keras = pytest.importorskip("keras")


def test_model_has_a_crop_and_nine_layers():
    kinds = [type(layer).__name__ for layer in build(10).layers]
    assert kinds == [
        "InputLayer",
        "Cropping2D",
        *(["Conv2D", "MaxPooling2D"] * 3),
        "Flatten",
        "Dense",
        "Dense",
    ]


@pytest.mark.parametrize(("classes", "parameters"), [(10, 65_354), (26, 65_354 + 16 * 129)])
def test_number_of_parameters(classes, parameters):
    assert build(classes).count_params() == parameters


def test_input_is_float32_pixels_and_output_is_one_score_per_class():
    model = build(10)
    (pixels,) = model.inputs
    assert (pixels.name, pixels.shape, pixels.dtype) == ("pixels", (None, 28, 28, 1), "float32")
    assert model.output_shape == (None, 10)


def _effective_pixels(model: "keras.Model") -> np.ndarray:
    """Return whether each pixel, if it alone is 1, changes the hidden layer: bool (28, 28)."""
    random = np.random.default_rng(0)
    # With positive weights and no biases, no ReLU cuts off a signal.
    model.set_weights([
        random.uniform(0.1, 1, w.shape) if w.ndim > 1 else np.zeros(w.shape)
        for w in model.get_weights()
    ])  # fmt: skip
    hidden = keras.Model(model.inputs, model.get_layer("hidden").output)
    single_pixels = np.eye(28 * 28, dtype=np.float32).reshape(-1, 28, 28, 1)
    return (hidden.predict_on_batch(single_pixels) > 0).any(axis=1).reshape(28, 28)


def test_every_pixel_inside_the_crop_affects_the_output():
    inside = np.zeros((28, 28), bool)
    inside[CROP_PX:-CROP_PX, CROP_PX:-CROP_PX] = True
    np.testing.assert_array_equal(_effective_pixels(build(10)), inside)


def test_without_the_crop_six_rows_and_columns_have_no_effect(monkeypatch):
    monkeypatch.setattr("train.model.CROP_PX", 0)
    effective = _effective_pixels(build(10))
    assert effective[:22, :22].all()
    assert not effective[22:].any()
    assert not effective[:, 22:].any()


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_folding_does_not_change_the_scores(temperature):
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
    assert expected.max(axis=1).std() > 0.01, "the scores of the images differ"
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_temperature_0_is_rejected():
    with pytest.raises(EdgeError, match="must be above 0"):
        fold_batch_norm(build_trainable(2), 0.0)


def test_initial_weights_depend_on_the_seed_only():
    first, same, other = (build_trainable(10, seed=s).get_weights() for s in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(first, same, strict=True))
    assert not np.array_equal(first[0], other[0])
