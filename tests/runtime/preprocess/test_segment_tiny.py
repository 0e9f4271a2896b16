"""`segment_tiny` agrees with `segment` on small pictures, and leaves difficult ones to it."""

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from runtime.preprocess import connected_components, segment, segment_tiny
from runtime.preprocess.mnist_format import to_mnist_format
from runtime.preprocess.pipeline import preprocess

pytestmark = pytest.mark.portable

Array = np.ndarray[Any, np.dtype[Any]]
DIGITS = [to_mnist_format(digit)[:, :, 0] for digit in load_digits().images[:60]]


def gray(values: Array, noise: float = 0.0) -> Array:
    noisy = values + np.random.default_rng(0).normal(0, noise, values.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("dark", [True, False])
@pytest.mark.parametrize("noise", [0, 4])
def test_segment_tiny_agrees_with_segment(dark: bool, noise: float) -> None:
    correlations = []
    for digit in DIGITS:
        moved = np.roll(digit.astype(float), (2, -3), (0, 1))
        picture = gray(235 - 0.8 * moved if dark else 20 + 0.7 * moved, noise)
        fast, full = segment_tiny.segment_digit(picture), segment.segment_digit(picture)
        assert fast is not None
        assert full is not None
        assert fast.dark == full.dark == dark
        assert np.abs(np.subtract(fast.box, full.box)).max() <= 3
        fast_pixels, full_pixels = to_mnist_format(fast.ink), to_mnist_format(full.ink)
        correlations.append(np.corrcoef(fast_pixels.ravel(), full_pixels.ravel())[0, 1])
    assert np.min(correlations) > 0.8
    assert np.mean(correlations) > 0.97  # small pictures keep their soft edges


@pytest.mark.parametrize("shape", [(28, 28), (31, 17), (12, 31)])
def test_near_pieces_are_kept_and_distant_specks_removed(shape: tuple[int, int]) -> None:
    picture = np.full(shape, 230, np.uint8)
    picture[2:9, 6:8] = 40  # two pieces of one stroke
    picture[10:11, 6:8] = 40
    picture[1, 13] = 60  # a distant speck
    segmented = segment_tiny.segment_digit(picture)
    assert segmented is not None
    assert segmented.box == (6, 2, 8, 11)


def test_flood_fill_and_box_agree_with_connected_components() -> None:
    random = np.random.default_rng(1)
    for _ in range(200):
        height, width = random.integers(10, 32, 2)
        mask = random.random((height, width)) < 0.3
        mask[:, 0] = False
        bits = int("".join("01"[pixel] for pixel in mask.ravel().tolist()), 2)
        seed = bits & -bits
        grown = segment_tiny._grow(seed, bits, int(width))
        starts, ends = connected_components.find_runs(mask)
        labels = connected_components.find_components(mask, mask.astype(np.float32)).labels
        last = starts.size - 1  # the seed is the lowest bit, which is the last pixel
        box = segment_tiny._box(grown, int(width), int(height))
        chosen = labels == labels[last]
        area = int((ends - starts)[chosen].sum())
        assert grown.bit_count() == area
        left, right = starts[chosen] % (width + 1), ends[chosen] % (width + 1)
        top, bottom = starts[chosen][0] // (width + 1), starts[chosen][-1] // (width + 1) + 1
        assert box == (left.min(), top, right.max(), bottom)


@pytest.mark.parametrize(
    "picture",
    [
        np.full((28, 28), 200, np.uint8),
        gray(np.tile(np.linspace(60, 220, 28), (28, 1))),
        np.where(np.arange(784).reshape(28, 28) % 7 < 3, 0, 255).astype(np.uint8),
    ],
    ids=["blank", "uneven light", "ink at the rim"],
)
def test_difficult_picture_is_left_to_segment(picture: Array) -> None:
    assert segment_tiny.segment_digit(picture) is None
    assert preprocess(picture[:, :, None].repeat(3, axis=2)).method in ("blank", "luminance")
