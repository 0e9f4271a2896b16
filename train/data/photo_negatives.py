"""Makes negatives, images of none of the classes, from training photographs.

`train.run` adds them to the batches of photographs: their target is the same probability for each
class, so that the confidence falls for what is none of the classes (outlier exposure: Hendrycks et
al., "Deep Anomaly Detection with Outlier Exposure", 2019). They have the colors, light and noise of
the training images, but not their content.
"""

import numpy as np
from PIL import Image

from runtime.backends import Pixels
from train.data.pool import NOT_A_CLASS
from train.data.splits import Split

_PARTS = 4  # rows and columns of parts that are shuffled
_CROP_SHARES = (0.25, 0.5)  # of the height and width; a crop of this size is enlarged


def photo_negatives(split: Split, count: int, seed: int) -> Split:
    """Return negatives: mixtures of two classes, enlarged crops and shuffled parts.

    Args:
        split: training images (N, height, width, channels) of at least two classes.
        count: number of negatives.
        seed: random seed, a whole number from 0.

    Returns:
        uint8 (count, height, width, channels), all with the label NOT_A_CLASS.
    """
    random = np.random.default_rng([seed, count])
    makers = (_mixture, _enlarged_crop, _shuffled_parts)
    images = [makers[number % len(makers)](split, random) for number in range(count)]
    return Split(np.stack(images), np.full(count, NOT_A_CLASS, np.int64))


def _mixture(split: Split, random: np.random.Generator) -> Pixels:
    """Return the mean of two images of different classes, or the left of one beside the other."""
    first = int(random.integers(len(split)))
    others = np.flatnonzero(split.labels != split.labels[first])
    one, other = split.pixels[first], split.pixels[random.choice(others)]
    if random.random() < 0.5:
        mean: Pixels = ((one.astype(np.uint16) + other) // 2).astype(np.uint8)
        return mean
    middle = one.shape[1] // 2
    return np.concatenate([one[:, :middle], other[:, middle:]], axis=1)


def _enlarged_crop(split: Split, random: np.random.Generator) -> Pixels:
    image = split.pixels[random.integers(len(split))]
    height, width, _ = image.shape
    rows, columns = (int(side * random.uniform(*_CROP_SHARES)) for side in (height, width))
    top, left = (int(random.integers(n)) for n in (height - rows + 1, width - columns + 1))
    return _resized(image[top : top + rows, left : left + columns], image.shape)


def _shuffled_parts(split: Split, random: np.random.Generator) -> Pixels:
    image = split.pixels[random.integers(len(split))]
    rows, columns = image.shape[0] // _PARTS, image.shape[1] // _PARTS
    parts = [
        image[row * rows : (row + 1) * rows, column * columns : (column + 1) * columns]
        for row, column in np.ndindex(_PARTS, _PARTS)
    ]
    order = iter(random.permutation(len(parts)))
    shuffled = np.concatenate(
        [np.concatenate([parts[next(order)] for _ in range(_PARTS)], axis=1) for _ in range(_PARTS)]
    )
    return _resized(shuffled, image.shape)


def _resized(image: Pixels, shape: tuple[int, ...]) -> Pixels:
    height, width, channels = shape
    picture = Image.fromarray(image[:, :, 0] if channels == 1 else image)
    resized = picture.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized).reshape(shape)
