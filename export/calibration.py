"""Draws the calibration images, from which the converters read the ranges of an int8 model."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.backends import Pixels
from runtime.errors import DatasetError
from runtime.model.spec import Dataset
from train.data.splits import DataSet

DEFAULT_IMAGES = 500  # training images, the same number of each class


@dataclass(frozen=True, eq=False)
class Calibration:
    """Calibration images.

    Attributes:
        pixels: uint8 (N, 28, 28, 1).
        dataset: name and SHA-256 of these images, for the artifact's spec.
        counts: number of images per class.
    """

    pixels: Pixels
    dataset: Dataset
    counts: tuple[int, ...]

    def batches(self) -> Iterator[npt.NDArray[np.float32]]:
        """Yield each image as the float model's input: float32 (1, 28, 28, 1) from 0 to 1."""
        for image in self.pixels:
            yield np.divide(image[np.newaxis], 255, dtype=np.float32)


def choose(data: DataSet, size: int = DEFAULT_IMAGES, seed: int = 0) -> Calibration:
    """Draw training images that are not in the test set, the same number of each class.

    Args:
        data: the data set that the model was trained on.
        size: number of images.
        seed: random seed.

    Raises:
        DatasetError: `size` is less than the number of classes, or all training images of a class
            are also in the test set.
    """
    classes = len(data.labels)
    if size < classes:
        raise DatasetError(
            f"{size} calibration images cannot cover {classes} classes: pass --calibration "
            f"{classes} or more"
        )
    test_images = {image.tobytes() for image in data.test.pixels}
    random = np.random.default_rng(seed)
    chosen: list[int] = []
    for label in range(classes):
        # Calibrating on test images would bias the accuracy measured on them.
        members = [
            index
            for index in random.permutation(np.flatnonzero(data.train.labels == label))
            if data.train.pixels[index].tobytes() not in test_images
        ]
        if not members:
            raise DatasetError(
                f"{data.name} has no training image of {data.labels[label]!r} that is not in its "
                "test set: add some, as calibration needs every class"
            )
        chosen += members[: size // classes + (label < size % classes)]
    pixels = data.train.pixels[np.sort(chosen)]
    digest = hashlib.sha256(pixels.tobytes()).hexdigest()
    name = f"{len(pixels)} training images of {data.name}"
    counts = np.bincount(data.train.labels[chosen], minlength=classes).tolist()
    return Calibration(pixels, Dataset(name, digest), tuple(counts))
