"""Looks inside a trained network: its feature maps, and the images that excite a filter most.

The notebook main.ipynb shows both. On a device, `runtime.Classifier.feature_maps` does the first.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from train.model import CROP_PX, FILTERS

if TYPE_CHECKING:
    import keras

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels; right and bottom exclusive
Maps = npt.NDArray[np.float32]  # (N, height, width, channels)

MAP_SIDES = (20, 8, 2)  # of the feature maps of the three blocks
_BATCH_SIZE = 1000  # images that Keras predicts at once


def feature_maps(network: "keras.Model", pixels: npt.NDArray[np.uint8]) -> list[Maps]:
    """Return the outputs of the three convolutions, before the pooling.

    Args:
        network: a network of `train.model.build`.
        pixels: uint8 (N, 28, 28, 1).

    Returns:
        For each block, float32 (N, height, width, channels): sides of 20, 8 and 2.
    """
    import keras

    layers = [network.get_layer(f"conv{n}").output for n in range(1, len(FILTERS) + 1)]
    inner = keras.Model(network.input, layers)
    starts = range(0, len(pixels), _BATCH_SIZE)
    batches = [
        inner.predict_on_batch(np.divide(pixels[n : n + _BATCH_SIZE], 255, dtype=np.float32))
        for n in starts
    ]
    return [np.concatenate(block) for block in zip(*batches, strict=True)]


def exciting(maps: Maps, channel: int, count: int) -> list[tuple[int, Box]]:
    """Find the images in which a filter's largest output is highest.

    Args:
        maps: the feature maps of one block, from `feature_maps`.
        channel: number of the filter, from 0.
        count: number of images to return, at most N.

    Returns:
        (index of the image, the part of it that the filter sees there), the most exciting first.
    """
    outputs = maps[:, :, :, channel]
    peaks = outputs.reshape(len(outputs), -1).argmax(axis=1)
    best = np.argsort(-outputs.max(axis=(1, 2)), kind="stable")[:count]
    rows, columns = np.divmod(peaks, outputs.shape[2])
    block = MAP_SIDES.index(outputs.shape[1])
    return [(int(n), receptive_field(block, int(rows[n]), int(columns[n]))) for n in best]


def receptive_field(block: int, row: int, column: int) -> Box:
    """Return the part of the image that one value of a feature map depends on.

    A convolution of 3 × 3 adds two steps to the side, a pooling of 2 × 2 one step and doubles the
    step: sides of 3, 8 and 18 pixels in steps of 1, 2 and 4.

    Args:
        block: number of the block, from 0.
        row: row of the value in its map.
        column: column of the value in its map.
    """
    step, side = 1, 3
    for _ in range(block):
        side += step
        step *= 2
        side += 2 * step
    left, top = CROP_PX + column * step, CROP_PX + row * step
    return left, top, left + side, top + side
