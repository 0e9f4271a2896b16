"""Defines `Split` (images with labels) and `DataSet` (train and test), and divides a split in two.

All of `train.data` uses these types. `train.run` holds back validation images with
`stratified_split`; `train.data.validate` and `train.data.load` hold back test images in the same
way.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.errors import DatasetError
from runtime.model.spec import Dataset

MIN_PER_CLASS = 5  # training images; a data set with fewer in any class raises DatasetError


@dataclass(frozen=True, eq=False)
class Split:
    """Images with their classes.

    Attributes:
        pixels: uint8 (N, 28, 28, 1), 0 background, 255 ink; or in another form of a network.
        labels: class indices, int64 (N,).
    """

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: npt.NDArray[np.int64]) -> "Split":
        """Return the images at `indices`, int64 (M,), in the order of the indices."""
        return Split(self.pixels[indices], self.labels[indices])


@dataclass(frozen=True, eq=False)
class DataSet:
    """Training and test images of the same classes.

    Attributes:
        name: "MNIST", "embedded digits", or the name of the file or folder.
        sha256: hexadecimal SHA-256 of the content, see `digest`.
        labels: names of the classes; a class index is an index into this tuple.
        train: training images, including the images held back for validation.
        test: test images, which are used only after training.
    """

    name: str
    sha256: str
    labels: tuple[str, ...]
    train: Split
    test: Split

    @property
    def dataset(self) -> Dataset:
        """The name and the digest, in the form that a model's spec contains."""
        return Dataset(self.name, self.sha256)


def digest(labels: tuple[str, ...], train: Split, test: Split) -> str:
    """Return the hexadecimal SHA-256 of class names, pixels and labels.

    The digest does not depend on the format of the files that the data set was read from.

    Args:
        labels: names of the classes.
        train: training images.
        test: test images.
    """
    sha256 = hashlib.sha256("\n".join(labels).encode())
    for split in (train, test):
        sha256.update(np.ascontiguousarray(split.pixels).data)
        sha256.update(np.ascontiguousarray(split.labels, dtype="<i8").data)
    return sha256.hexdigest()


def stratified_split(split: Split, n_or_share: float, seed: int) -> tuple[Split, Split]:
    """Hold back random images, the same share of each class.

    Args:
        split: images to divide, at least two of each class.
        n_or_share: number of images to hold back, from 1; or the share to hold back, below 1.
        seed: seed of the random choice, a whole number from 0.

    Returns:
        (remaining images, images held back), both in their original order.

    Raises:
        DatasetError: the images held back, or the remaining images, are fewer than the classes.
    """
    classes, counts = np.unique(split.labels, return_counts=True)
    n = round(n_or_share * len(split)) if n_or_share < 1 else int(n_or_share)
    if n < len(classes) or len(split) - n < len(classes):
        raise DatasetError(
            f"cannot hold back {n} of {len(split)} images: each of the {len(classes)} classes "
            "needs one image that is held back and one that is not; pass another --validation, or "
            "more images"
        )
    # Largest remainder method: the images held back add up to n. Each class has at least one image
    # held back, and at least one remaining image.
    exact = counts * (n / len(split))
    held_counts = np.clip(np.floor(exact).astype(int), 1, counts - 1)
    while (missing := n - int(held_counts.sum())) != 0:
        step = 1 if missing > 0 else -1
        can_change = held_counts < counts - 1 if missing > 0 else held_counts > 1
        held_counts[np.argmax(np.where(can_change, step * (exact - held_counts), -np.inf))] += step
    random = np.random.default_rng([seed, len(split)])
    held_back = np.sort(
        np.concatenate(
            [
                random.permutation(np.flatnonzero(split.labels == label))[:count]
                for label, count in zip(classes, held_counts, strict=True)
            ]
        )
    )
    remaining = np.setdiff1d(np.arange(len(split)), held_back)
    return split.take(remaining), split.take(held_back)
