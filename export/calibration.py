"""Draws the calibration images of an int8 model.

The converters in `export.tflite` and `export.onnx` run the model on these images. The smallest and
largest value of each tensor then determine its quantization scale. `export.cli` calls `choose`.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.backends import Pixels
from runtime.errors import DatasetError
from runtime.model.spec import Dataset
from train.data.splits import DataSet

DEFAULT_IMAGES = 500  # number of calibration images without --calibration, all classes together

_WHITE = 255  # the highest level of a pixel


def scale_to_1(pixels: Pixels) -> npt.NDArray[np.float32]:
    """Return pixels scaled from 0–255 to 0–1, the input of the models of this project."""
    return np.divide(pixels, 255, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Calibration:
    """Calibration images.

    Attributes:
        pixels: uint8 (N, height, width, channels) in the model's form.
        dataset: name and SHA-256 of these images, for the artifact's spec.
        counts: number of images per class, in the order of the classes.
        encode: converts pixels uint8 (N, 28, 28, 1) to the float model's input.
        has_float_io: whether the quantized model takes and returns float32.
    """

    pixels: Pixels
    dataset: Dataset
    counts: tuple[int, ...]
    encode: Callable[[Pixels], npt.NDArray[Any]] = scale_to_1
    has_float_io: bool = False

    def batches(self) -> Iterator[npt.NDArray[Any]]:
        """Yield each image as the float model's input, a batch of one.

        Photographs seldom have black and white pixels. Then a copy of the first image with one
        pixel of each follows, so that the scale of the input covers all levels.
        """
        for image in self.pixels:
            yield self.encode(image[np.newaxis])
        if self.pixels.min() > 0 or self.pixels.max() < _WHITE:
            extreme = self.pixels[:1].copy()
            extreme[0, 0, 0], extreme[0, -1, -1] = 0, _WHITE
            yield self.encode(extreme)


def choose(data: DataSet, size: int = DEFAULT_IMAGES, seed: int = 0) -> Calibration:
    """Draw training images that are not in the test set, the same number of each class.

    If `size` is not a multiple of the number of classes, the first classes get one image more. If a
    class has too few images, all its images are used, and the result has fewer images than `size`.

    Args:
        data: the data set that the model was trained on.
        size: number of images.
        seed: random seed, a whole number from 0.

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
        # Calibrating on test images would bias the test accuracy.
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
