"""Feature maps, and the images that excite a filter: the frames are what the filter saw."""

import numpy as np
import pytest

from train.lesson import filters

pytest.importorskip("tensorflow")


@pytest.fixture(scope="module")
def network():
    """Return an untrained network with fixed weights."""
    import keras

    from train.model import build

    keras.utils.set_random_seed(0)
    return build(10)


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (12, 28, 28, 1), np.uint8)


def test_maps_are_the_outputs_of_the_convolutions(network, pixels):
    blocks = filters.feature_maps(network, pixels)
    assert [block.shape for block in blocks] == [(12, 20, 20, 32), (12, 8, 8, 64), (12, 2, 2, 64)]
    kernel, bias = network.get_layer("conv1").get_weights()
    window = pixels[5, 3:25, 3:25, 0] / 255
    patches = np.lib.stride_tricks.sliding_window_view(window, (3, 3))
    expected = np.maximum(np.einsum("hwab,abo->hwo", patches, kernel[:, :, 0]) + bias, 0)
    np.testing.assert_allclose(blocks[0][5], expected, atol=1e-5)


@pytest.mark.parametrize("block", [0, 1, 2])
def test_only_pixels_in_the_frame_change_the_value(network, pixels, block):
    maps = filters.feature_maps(network, pixels)[block]
    row, column = (0, maps.shape[2] - 1)
    left, top, right, bottom = filters.receptive_field(block, row, column)
    outside = pixels[:1].copy()
    keep = outside[:, top:bottom, left:right].copy()
    outside[:] = 255 - outside
    outside[:, top:bottom, left:right] = keep
    changed = filters.feature_maps(network, outside)[block]
    np.testing.assert_allclose(changed[0, row, column], maps[0, row, column], atol=1e-5)
    # Each edge of the frame matters to some channel.
    for edge in (np.s_[top, left:right], np.s_[bottom - 1, left:right],
                 np.s_[top:bottom, left], np.s_[top:bottom, right - 1]):  # fmt: skip
        inside = pixels[:1].copy()
        inside[0][edge] = 255 - inside[0][edge]
        value = filters.feature_maps(network, inside)[block][0, row, column]
        assert np.abs(value - maps[0, row, column]).max() > 1e-6


def test_most_exciting_images_come_first_with_their_frame(network, pixels):
    maps = filters.feature_maps(network, pixels)[1]
    channel = int(maps.max(axis=(0, 1, 2)).argmax())
    found = filters.exciting(maps, channel, count=3)
    peaks = maps[:, :, :, channel].max(axis=(1, 2))
    assert [n for n, _ in found] == np.argsort(-peaks, kind="stable")[:3].tolist()
    for n, (left, top, right, bottom) in found:
        row, column = np.unravel_index(maps[n, :, :, channel].argmax(), (8, 8))
        assert (left, top) == (3 + 2 * column, 3 + 2 * row)
        assert (right - left, bottom - top) == (8, 8)
