"""Feature maps: the engines compute the convolutions that NumPy computes from the weights."""

from pathlib import Path

import numpy as np
import pytest

import runtime
from runtime import Classifier
from runtime.backends import open_backend
from runtime.backends.feature_maps import open_feature_maps
from runtime.errors import ArtifactError, BackendUnavailable
from runtime.model import artifact

PRETRAINED = Path(runtime.__file__).parent / "pretrained"
CROP_PX = 3
INT8_ERROR = 0.15  # of activations up to 3: some steps of 1/32


@pytest.fixture(scope="module")
def pixels():
    """Return a digit, uint8 (28, 28, 1)."""
    return artifact.read(PRETRAINED / "digits.onnx").spec.golden.pixels[3]


@pytest.fixture(scope="module")
def expected(pixels):
    """Return the outputs of the three convolutions, computed with NumPy."""
    onnx = pytest.importorskip("onnx")
    graph = onnx.load_from_string(artifact.read(PRETRAINED / "digits.onnx").data).graph
    weights = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    x = pixels[CROP_PX:-CROP_PX, CROP_PX:-CROP_PX, 0].astype(np.float32)[np.newaxis] / 255
    blocks = []
    for n in (1, 2, 3):
        windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
        bias = weights[f"conv{n}.bias"][:, np.newaxis, np.newaxis]
        x = np.maximum(np.einsum("ihwab,oiab->ohw", windows, weights[f"conv{n}.weight"]) + bias, 0)
        blocks.append(x)
        channels, height, width = x.shape
        x = x.reshape(channels, height // 2, 2, width // 2, 2).max(axis=(2, 4))
    return blocks


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("digits.tflite", 1e-5),
        ("digits.onnx", 1e-5),
        ("digits-int8.tflite", INT8_ERROR),
        ("digits-int8.onnx", INT8_ERROR),
    ],
)
def test_maps_are_the_outputs_of_the_convolutions(name, error, pixels, expected):
    maps = Classifier.load(PRETRAINED / name).feature_maps(pixels)
    assert [each.shape for each in maps] == [(32, 20, 20), (64, 8, 8), (64, 2, 2)]
    for block, reference in zip(maps, expected, strict=True):
        np.testing.assert_allclose(block, reference, atol=error)


def test_scores_are_unchanged_after_feature_maps(pixels):
    classifier = Classifier.load(PRETRAINED / "digits-int8.tflite")
    before = classifier.scores(pixels[np.newaxis])
    classifier.feature_maps(pixels)
    np.testing.assert_array_equal(classifier.scores(pixels[np.newaxis]), before)


def test_network_without_max_pooling_is_rejected():
    opened = artifact.read(PRETRAINED / "digits.onnx")
    data = opened.data.replace(b"MaxPool", b"LpsPool")
    with pytest.raises(ArtifactError, match="no max pooling"):
        open_feature_maps(artifact.Artifact(opened.path, data, opened.spec))


def test_classifier_without_a_file_says_what_to_use():
    backend = open_backend(artifact.read(PRETRAINED / "digits-int8.tflite"))
    with pytest.raises(BackendUnavailable, match=r"Classifier\.load"):
        Classifier(backend).feature_maps(np.zeros((28, 28, 1), np.uint8))
