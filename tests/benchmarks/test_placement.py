"""Digits on pages, read through the preprocessing."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from benchmarks import placement
from benchmarks.harness.test_set import TestSet
from benchmarks.placement import PlacementResult
from runtime import Classifier
from runtime.errors import DatasetError, EdgeError
from train.data.load import sklearn_digits


def some(test_set: TestSet, n: int) -> TestSet:
    return dataclasses.replace(test_set, pixels=test_set.pixels[:n], labels=test_set.labels[:n])


def test_a_page_is_white_larger_than_its_digit_and_repeatable():
    pixels = sklearn_digits().test.pixels[0]
    file = placement.page(pixels, np.random.default_rng(3))
    assert file == placement.page(pixels, np.random.default_rng(3))
    paper = np.asarray(Image.open(io.BytesIO(file)))
    assert paper.max() == 255
    assert paper.min() < 60
    assert np.mean(paper == 255) > 0.5


def test_few_answers_change_on_a_page(test_set):
    result = placement.measure(Classifier.load(), some(test_set, 100), "published")
    assert result.n == 100
    # Of 8×8 digits, enlarged once and then again, a few more than of MNIST.
    assert result.accuracy_pages > result.accuracy_pixels - 0.06


def test_a_reader_that_loses_digits_on_a_page_fails(test_set):
    class Blind(Classifier):
        """Reads pixels, and takes every page for a 0."""

        def classify(self, image):
            return super().classify(self.spec.golden.pixels[0])

    few = some(test_set, 50)
    assert not placement.measure(Blind(Classifier.load().backend), few, "blind")
    assert PlacementResult("m", 1000, 0.99, 0.985)
    assert not PlacementResult("m", 1000, 0.99, 0.984)


@pytest.mark.parametrize("names", ["JIHGFEDCBA", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"])
def test_a_data_set_of_other_classes_is_refused(test_set, names: str):
    other = dataclasses.replace(some(test_set, 20), class_names=tuple(names))
    with pytest.raises(DatasetError, match=f"has the classes {', '.join(names)}, published"):
        placement.measure(Classifier.load(), other, "published")


def test_a_seed_below_0_is_refused_before_any_data_are_looked_for(tmp_path):
    with pytest.raises(EdgeError, match="--seed"):
        placement.main(["--seed", "-1", "--data", str(tmp_path / "never")])
