"""Augmentation: reproducible by its seed, and within its amounts."""

import dataclasses

import numpy as np
import pytest

from train.augmentation.augment import Augmentation, augment

tf = pytest.importorskip("tensorflow")

ALL = Augmentation(12, 0.12, 0.2, 2.5, 1.0, 5)


@pytest.fixture(scope="module")
def images():
    """Return equal off-center blobs, (64, 28, 28, 1), smooth so that interpolation loses little."""
    y, x = np.mgrid[:28, :28]
    blob = np.exp(-((x - 12) ** 2 / 18 + (y - 15) ** 2 / 8)).astype(np.float32)
    return tf.constant(np.repeat(blob[None, ..., None], 64, axis=0))


def _distort(images, distortion, strength=1.0, seed=(1, 2), margin=0):
    return augment(images, distortion, tf.constant(strength), tf.constant(seed), margin).numpy()


@pytest.mark.parametrize("distortion", [ALL, dataclasses.replace(ALL, elastic_px=0.0)])
def test_same_seed_gives_same_distortions(images, distortion):
    first = _distort(images, distortion)
    np.testing.assert_array_equal(first, _distort(images, distortion))
    assert np.abs(first - _distort(images, distortion, seed=(1, 3))).max() > 0.1


@pytest.mark.parametrize("distortion", [ALL, dataclasses.replace(ALL, elastic_px=0.0)])
def test_each_image_of_a_batch_is_distorted_differently(images, distortion):
    distorted = _distort(images, distortion)
    assert np.abs(distorted[0] - distorted[1]).max() > 0.05


@pytest.mark.parametrize("distortion", [ALL, dataclasses.replace(ALL, elastic_px=0.0)])
def test_strength_0_changes_nothing(images, distortion):
    np.testing.assert_allclose(_distort(images, distortion, 0.0), images, atol=1e-5)


def test_augmentation_none_returns_the_same_tensor(images):
    assert augment(images, Augmentation.none(), tf.constant(1.0), tf.constant([1, 2])) is images


def test_elastic_and_affine_resampling_agree(images):
    """A negligible elastic displacement uses the other resampling code for the same images."""
    affine = dataclasses.replace(ALL, elastic_px=0.0)
    elastic = dataclasses.replace(ALL, elastic_px=1e-6)
    np.testing.assert_allclose(_distort(images, affine), _distort(images, elastic), atol=2e-3)


def test_margin_does_not_change_the_window_inside(images):
    affine = dataclasses.replace(ALL, elastic_px=0.0)
    whole, window = _distort(images, affine), _distort(images, affine, margin=3)
    np.testing.assert_allclose(window[:, 3:-3, 3:-3], whole[:, 3:-3, 3:-3], atol=1e-3)


@pytest.mark.parametrize("elastic", [0.0, 0.8])
def test_margin_is_filled_with_background(images, elastic):
    window = _distort(images, dataclasses.replace(ALL, elastic_px=elastic), margin=3)
    outside = np.ones((28, 28), bool)
    outside[3:-3, 3:-3] = False
    assert window.shape == (64, 28, 28, 1)
    assert not window[:, outside].any()


def test_shifts_reach_their_maximum_and_do_not_exceed_it(images):
    moved = _distort(images, Augmentation(0, 0, 0, 2.5, 0))[..., 0]
    y, x = np.mgrid[:28, :28]
    for axis, start in ((x, 12), (y, 15)):
        shifts = (moved * axis).sum((1, 2)) / moved.sum((1, 2)) - start
        assert 2.0 < np.abs(shifts).max() < 2.6
        assert abs(shifts.mean()) < 0.8


def test_rotation_is_about_the_center_and_at_most_its_maximum():
    """A dot 8 px from the center moves along a circle, by 12 degrees at most."""
    dots = np.zeros((64, 28, 28, 1), np.float32)
    dots[:, 13:15, 21:23] = 1
    turned = _distort(tf.constant(dots), Augmentation(12, 0, 0, 0, 0))[..., 0]
    y, x = np.mgrid[:28, :28] - 13.5
    dx = (turned * x).sum((1, 2)) / turned.sum((1, 2))
    dy = (turned * y).sum((1, 2)) / turned.sum((1, 2))
    np.testing.assert_allclose(np.hypot(dx, dy), 8, atol=0.1)
    angles = np.degrees(np.arctan2(dy, dx))
    assert 9 < np.abs(angles).max() < 12.5
