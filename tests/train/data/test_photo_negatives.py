"""Negatives made from training photographs."""

import numpy as np
import pytest

from train.data.photo_negatives import photo_negatives
from train.data.pool import NOT_A_CLASS
from train.data.splits import Split


@pytest.mark.parametrize("shape", [(16, 17, 1), (32, 20, 3), (33, 96, 3)])
def test_negatives_differ_from_the_images_they_are_made_from(shape):
    random = np.random.default_rng(0)
    split = Split(random.integers(0, 256, (12, *shape), np.uint8), np.arange(12) % 3)
    negatives = photo_negatives(split, 30, 1)
    assert negatives.pixels.shape == (30, *shape)
    assert negatives.pixels.dtype == np.uint8
    assert set(negatives.labels.tolist()) == {NOT_A_CLASS}
    known = {image.tobytes() for image in split.pixels}
    assert not known & {image.tobytes() for image in negatives.pixels}
    again = photo_negatives(split, 30, 1)
    assert np.array_equal(negatives.pixels, again.pixels)
