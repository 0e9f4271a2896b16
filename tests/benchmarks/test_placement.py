"""Tests the placement benchmark: digits at random positions on white pages."""

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


def first_images(test_set: TestSet, n: int) -> TestSet:
    return dataclasses.replace(test_set, pixels=test_set.pixels[:n], labels=test_set.labels[:n])


def test_page_is_mostly_white_with_dark_ink():
    file = placement.page(sklearn_digits().test.pixels[0], np.random.default_rng(3))
    paper = np.asarray(Image.open(io.BytesIO(file)))
    assert paper.max() == 255
    assert paper.min() < 60
    assert np.mean(paper == 255) > 0.5


def test_equal_seeds_give_identical_pages():
    pixels = sklearn_digits().test.pixels[0]
    pages = [placement.page(pixels, np.random.default_rng(3)) for _ in range(2)]
    assert pages[0] == pages[1]


def test_published_model_loses_little_accuracy_on_pages(test_set):
    result = placement.measure(Classifier.load(), first_images(test_set, 100), "published")
    assert result.n == 100
    # The 8×8 digits are enlarged twice, so they lose more accuracy than MNIST's.
    assert result.accuracy_pages > result.accuracy_pixels - 0.06


def test_model_that_fails_on_pages_does_not_pass(test_set):
    class FailsOnPages(Classifier):
        """Predicts pixels correctly, and the same digit for every page."""

        def classify(self, image):
            return super().classify(self.spec.golden.pixels[0])

    few = first_images(test_set, 50)
    assert not placement.measure(FailsOnPages(Classifier.load().backend), few, "fails on pages")


@pytest.mark.parametrize(("accuracy_pages", "passes"), [(0.985, True), (0.984, False)])
def test_result_passes_up_to_the_allowed_drop(accuracy_pages: float, passes: bool):
    assert bool(PlacementResult("m", 1000, 0.99, accuracy_pages)) == passes


@pytest.mark.parametrize("names", ["JIHGFEDCBA", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"])
def test_data_set_of_other_classes_is_rejected(test_set, names: str):
    other = dataclasses.replace(first_images(test_set, 20), class_names=tuple(names))
    with pytest.raises(DatasetError, match=f"has the classes {', '.join(names)}, but published"):
        placement.measure(Classifier.load(), other, "published")


def test_negative_seed_is_rejected_before_data_is_loaded(tmp_path):
    with pytest.raises(EdgeError, match="--seed"):
        placement.main(["--seed", "-1", "--data", str(tmp_path / "never")])


def test_margin_changes_accuracy_little(test_set):
    _, _, *rows = placement.measure_margins(Classifier.load(), first_images(test_set, 60))
    assert len(rows) == 2 * len(placement.CROP_SCALES)
    for row in rows:
        shares = [float(share.rstrip("%")) for share in row.split()[2:]]
        assert len(shares) == len(placement.MARGINS)
        assert max(shares) - min(shares) < 8


def test_original_size_changes_no_label(test_set):
    _, _, nearest, bilinear = placement.measure_sizes(Classifier.load(), first_images(test_set, 20))
    assert nearest.split()[1] == bilinear.split()[1] == "0.00%"
