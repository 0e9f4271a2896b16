"""Digits on pages, read through the preprocessing."""

import io

import numpy as np
from PIL import Image

from benchmarks import placement
from benchmarks.placement import PlacementResult
from runtime import Classifier
from train.data import embedded


def test_a_page_is_white_larger_than_its_digit_and_repeatable():
    pixels = embedded().test.pixels[0]
    file = placement.page(pixels, np.random.default_rng(3))
    assert file == placement.page(pixels, np.random.default_rng(3))
    paper = np.asarray(Image.open(io.BytesIO(file)))
    assert paper.max() == 255 and paper.min() < 60
    assert np.mean(paper == 255) > 0.5


def test_few_answers_change_on_a_page():
    split = embedded().test.take(np.arange(100))
    result = placement.measure(Classifier.load(), split, "published")
    assert result.n == 100
    # Of 8×8 digits, enlarged once and then again, a few more than of MNIST.
    assert result.accuracy_pages > result.accuracy_pixels - 0.06


def test_a_reader_that_loses_digits_on_a_page_fails():
    class Blind(Classifier):
        """Reads pixels, and takes every page for a 0."""

        def classify(self, image):
            return super().classify(self.spec.golden.pixels[0])

    split = embedded().test.take(np.arange(50))
    assert not placement.measure(Blind(Classifier.load().backend), split, "blind")
    assert PlacementResult("m", 1000, 0.99, 0.985)
    assert not PlacementResult("m", 1000, 0.99, 0.984)
