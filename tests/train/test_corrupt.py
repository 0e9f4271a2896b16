"""Spoilt images: a share of the batch, each in one way and within its amounts."""

import dataclasses

import numpy as np
import pytest

from train.corrupt import Corruption, corrupt

tf = pytest.importorskip("tensorflow")

N = 60
ALL = Corruption(0.6, 0.8, 0.4, 0.3, 1.6, 1.4, 9.0)
WAYS = ("contrast", "brightness", "noise", "blur_px", "stroke_px", "occlusion_px")


@pytest.fixture(scope="module")
def images():
    """White bars on black, (60, 28, 28, 1)."""
    bars = np.zeros((N, 28, 28, 1), np.float32)
    bars[:, 6:22, 12:15] = 1
    return bars


def _corrupt(images, corruption, seed=(1, 2)):
    spoilt = corrupt(tf.constant(images), len(images), corruption, tf.constant(seed)).numpy()
    assert spoilt.shape == images.shape
    assert spoilt.min() >= 0
    assert spoilt.max() <= 1
    return spoilt


def _alone(way):
    return dataclasses.replace(Corruption(share=1.0), **{way: getattr(ALL, way)})


def _changed(images, spoilt):
    return np.abs(spoilt - images).max(axis=(1, 2, 3)) > 1e-3


def test_the_share_asked_for_is_spoilt_and_the_rest_left(images):
    changed = _changed(images, _corrupt(images, ALL))
    assert changed[:36].mean() > 0.9
    assert not changed[36:].any()
    np.testing.assert_array_equal(_corrupt(images, Corruption()), images)
    assert not _changed(images, _corrupt(images, dataclasses.replace(ALL, share=0.0))).any()


def test_the_same_seed_spoils_alike(images):
    first = _corrupt(images, ALL)
    np.testing.assert_array_equal(first, _corrupt(images, ALL))
    assert not np.array_equal(first, _corrupt(images, ALL, seed=(1, 3)))


@pytest.mark.parametrize("size", [1, 2, 7])
def test_a_small_batch_keeps_its_size(images, size):
    assert len(_corrupt(images[:size], ALL)) == size


@pytest.mark.parametrize("way", WAYS)
def test_each_way_is_drawn_for_each_image(images, way):
    spoilt = _corrupt(images, _alone(way))
    assert _changed(images, spoilt).mean() > 0.9
    assert len(np.unique(spoilt.reshape(N, -1), axis=0)) > N / 4


def test_contrast_keeps_the_mean_and_narrows_the_range(images):
    spoilt = _corrupt(images, _alone("contrast"))
    np.testing.assert_allclose(spoilt.mean(axis=(1, 2, 3)), images.mean(axis=(1, 2, 3)), rtol=1e-5)
    ranges = np.ptp(spoilt, axis=(1, 2, 3))
    assert 0.2 <= ranges.min() < 0.4
    assert 0.8 < ranges.max() <= 1


def test_brightness_lifts_the_background_and_nothing_passes_white(images):
    lifts = _corrupt(images, _alone("brightness"))[:, 0, 0, 0]
    assert 0 <= lifts.min() < 0.1
    assert 0.3 < lifts.max() <= 0.4


def test_noise_has_the_deviation_drawn_for_its_image(images):
    gray = np.full_like(images, 0.5)
    deviations = (_corrupt(gray, _alone("noise")) - gray).std(axis=(1, 2, 3))
    assert deviations.min() < 0.08
    assert 0.2 < deviations.max() < 0.32


def test_blur_spreads_the_ink_and_loses_none_of_it(images):
    spoilt = _corrupt(images, _alone("blur_px"))
    np.testing.assert_allclose(spoilt.sum(axis=(1, 2, 3)), 16 * 3, rtol=2e-2)
    assert (spoilt[:, 13, 11, 0] > 0).all()
    assert spoilt[:, 13, 13, 0].min() < 0.75


def test_strokes_grow_in_one_half_and_shrink_in_the_other(images):
    ink = _corrupt(images, _alone("stroke_px")).sum(axis=(1, 2, 3))
    assert (ink[: N // 2] >= 48).all()
    assert (ink[N // 2 :] <= 48).all()
    # At most seven tenths of the way to a bar a pixel larger, or smaller, on every side.
    assert ink.max() <= 48 + 0.7 * (5 * 18 - 48) + 0.1
    assert ink.min() >= 48 - 0.7 * (48 - 1 * 14) - 0.1


def test_a_square_of_background_lies_on_the_ink(images):
    spoilt = _corrupt(images, _alone("occlusion_px"))
    lost = (images - spoilt)[..., 0]
    assert ((lost == 0) | (lost == 1)).all()
    rows = lost.max(axis=2).sum(axis=1)
    assert rows.min() >= 1
    assert rows.max() <= 9
