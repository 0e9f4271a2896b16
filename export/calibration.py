"""Representative samples: the images from which an int8 model's ranges are read."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.backends import Pixels
from runtime.errors import DatasetError
from runtime.model.spec import Dataset
from train.data.splits import DataSet

DEFAULT_SIZE = 500


@dataclass(frozen=True, eq=False)
class Calibration:
    """Images for calibration, pixels (N, 28, 28, 1) uint8, and what data they are.

    `counts` says how many of them are of each label.
    """

    pixels: Pixels
    dataset: Dataset
    counts: tuple[int, ...]

    def batches(self) -> Iterator[npt.NDArray[np.float32]]:
        """Each image as the float model takes it: (1, 28, 28, 1) float32 from 0 to 1.

        Images from 0 to 255 would give an input scale of 1 and a model that sees nothing.
        """
        for image in self.pixels:
            yield np.divide(image[np.newaxis], 255, dtype=np.float32)


def choose(data: DataSet, size: int = DEFAULT_SIZE, seed: int = 0) -> Calibration:
    """Draw `size` training images, as many of each class as of any other.

    Raises:
        DatasetError: fewer images are asked for than there are classes, or a class has no
            training image that is not in the test set too; such images are left out.
    """
    classes = len(data.labels)
    if size < classes:
        raise DatasetError(f"{size} images cannot cover {classes} classes: calibrate with more")
    tested = {image.tobytes() for image in data.test.pixels}
    generator = np.random.default_rng(seed)
    chosen: list[int] = []
    for label in range(classes):
        # Images that the test set holds too would measure what they calibrated.
        members = [
            index
            for index in generator.permutation(np.flatnonzero(data.train.labels == label))
            if data.train.pixels[index].tobytes() not in tested
        ]
        if not members:
            raise DatasetError(
                f"{data.name} has no training image of {data.labels[label]!r} that is not in its "
                "test set: calibration needs every class"
            )
        chosen += members[: size // classes + (label < size % classes)]
    pixels = data.train.pixels[np.sort(chosen)]
    digest = hashlib.sha256(pixels.tobytes()).hexdigest()
    name = f"{len(pixels)} training images of {data.name}"
    counts = np.bincount(data.train.labels[chosen], minlength=classes).tolist()
    return Calibration(pixels, Dataset(name, digest), tuple(counts))
