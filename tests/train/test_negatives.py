"""The drawn negatives: outlines of boxes."""

import numpy as np
import pytest

from runtime import Classifier
from runtime.preprocess.connected_components import find_components
from train.negatives import boxes, draw_negatives

_INK_LEVEL = 60


def test_box_is_an_outline_that_is_wider_than_the_zero_of_a_display() -> None:
    images = boxes(60, np.random.default_rng(0))
    assert images.shape == (60, 28, 28, 1)
    assert images.dtype == np.uint8
    hollow = 0
    for image in images[..., 0]:
        rows, columns = (np.flatnonzero((image > _INK_LEVEL).any(axis=axis)) for axis in (1, 0))
        assert np.ptp(columns) > 0.6 * np.ptp(rows)
        paper = find_components(image <= _INK_LEVEL, np.ones(image.shape, np.float32))
        assert paper is not None
        hollow += len(paper.boxes) > 1
    assert hollow > 50


def test_boxes_are_among_the_negatives_and_the_seed_decides() -> None:
    negatives = draw_negatives(100, 1)
    assert 120 <= len(negatives) <= 130
    assert np.array_equal(negatives, draw_negatives(100, 1))
    assert not np.array_equal(negatives, draw_negatives(100, 2))


@pytest.mark.portable
def test_published_model_rejects_empty_boxes() -> None:
    classifier = Classifier.load()
    images = boxes(200, np.random.default_rng(99))[..., 0]
    accepted = sum(classifier.classify(image).accepted for image in images)
    assert accepted <= 0.05 * len(images)
