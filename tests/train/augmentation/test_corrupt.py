"""Corruption: a share of the batch, each image with one kind and within its amounts."""

import dataclasses

import numpy as np
import pytest

from train.augmentation.corrupt import Corruption, corrupt

tf = pytest.importorskip("tensorflow")

N = 60
ALL = Corruption(0.6, 0.8, 0.4, 0.3, 1.6, 1.4, 9.0)
KINDS = ("contrast", "brightness", "noise", "blur_px", "stroke_px", "occlusion_px")


@pytest.fixture(scope="module")
def images():
    """Return white bars on black, (60, 28, 28, 1)."""
    bars = np.zeros((N, 28, 28, 1), np.float32)
    bars[:, 6:22, 12:15] = 1
    return bars


def _corrupt(images, corruption, seed=(1, 2)):
    """Corrupt a batch, and check its shape and range."""
    corrupted = corrupt(tf.constant(images), len(images), corruption, tf.constant(seed)).numpy()
    assert corrupted.shape == images.shape
    assert corrupted.min() >= 0
    assert corrupted.max() <= 1
    return corrupted


def _only(kind):
    """Return a corruption of all images by one kind."""
    return dataclasses.replace(Corruption(share=1.0), **{kind: getattr(ALL, kind)})


def _changed(images, corrupted):
    return np.abs(corrupted - images).max(axis=(1, 2, 3)) > 1e-3


def test_only_the_requested_share_is_corrupted(images):
    changed = _changed(images, _corrupt(images, ALL))
    assert changed[:36].mean() > 0.9
    assert not changed[36:].any()


@pytest.mark.parametrize("corruption", [Corruption(), dataclasses.replace(ALL, share=0.0)])
def test_no_kinds_or_no_share_change_nothing(images, corruption):
    np.testing.assert_array_equal(_corrupt(images, corruption), images)


def test_same_seed_gives_same_corruption(images):
    first = _corrupt(images, ALL)
    np.testing.assert_array_equal(first, _corrupt(images, ALL))
    assert not np.array_equal(first, _corrupt(images, ALL, seed=(1, 3)))


@pytest.mark.parametrize("size", [1, 2, 7])
def test_small_batch_keeps_its_size(images, size):
    assert len(_corrupt(images[:size], ALL)) == size


@pytest.mark.parametrize("kind", KINDS)
def test_each_image_has_its_own_amount_of_each_kind(images, kind):
    corrupted = _corrupt(images, _only(kind))
    assert _changed(images, corrupted).mean() > 0.9
    assert len(np.unique(corrupted.reshape(N, -1), axis=0)) > N / 4


def test_contrast_keeps_the_mean_and_narrows_the_range(images):
    corrupted = _corrupt(images, _only("contrast"))
    means = corrupted.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(means, images.mean(axis=(1, 2, 3)), rtol=1e-5)
    ranges = np.ptp(corrupted, axis=(1, 2, 3))
    assert 0.2 <= ranges.min() < 0.4
    assert 0.8 < ranges.max() <= 1


def test_brightness_raises_the_background_up_to_its_maximum(images):
    background = _corrupt(images, _only("brightness"))[:, 0, 0, 0]
    assert 0 <= background.min() < 0.1
    assert 0.3 < background.max() <= 0.4


def test_noise_has_a_different_deviation_per_image(images):
    gray = np.full_like(images, 0.5)
    deviations = (_corrupt(gray, _only("noise")) - gray).std(axis=(1, 2, 3))
    assert deviations.min() < 0.08
    assert 0.2 < deviations.max() < 0.32


def test_blur_spreads_the_ink_and_keeps_its_sum(images):
    corrupted = _corrupt(images, _only("blur_px"))
    np.testing.assert_allclose(corrupted.sum(axis=(1, 2, 3)), 16 * 3, rtol=2e-2)
    assert (corrupted[:, 13, 11, 0] > 0).all()
    assert corrupted[:, 13, 13, 0].min() < 0.75


def test_strokes_are_thicker_in_one_half_and_thinner_in_the_other(images):
    ink = _corrupt(images, _only("stroke_px")).sum(axis=(1, 2, 3))
    assert (ink[: N // 2] >= 48).all()
    assert (ink[N // 2 :] <= 48).all()
    # 0.7 px (half of stroke_px) on each side of a bar of 16 × 3 pixels.
    assert ink.max() <= 48 + 0.7 * (5 * 18 - 48) + 0.1
    assert ink.min() >= 48 - 0.7 * (48 - 1 * 14) - 0.1


def test_occlusion_removes_a_square_of_ink(images):
    corrupted = _corrupt(images, _only("occlusion_px"))
    removed = (images - corrupted)[..., 0]
    assert ((removed == 0) | (removed == 1)).all()
    rows = removed.max(axis=2).sum(axis=1)
    assert rows.min() >= 1
    assert rows.max() <= 9
