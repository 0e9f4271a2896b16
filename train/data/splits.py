"""Splits: images with labels, and dividing them into parts without overlap."""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.errors import DatasetError
from runtime.model.spec import Dataset

MIN_PER_CLASS = 5


@dataclass(frozen=True, eq=False)
class Split:
    """Images with their classes.

    Attributes:
        pixels: uint8 (N, 28, 28, 1), 0 background, 255 ink.
        labels: int64 (N,), indices of classes.
    """

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: npt.NDArray[np.int64]) -> "Split":
        """The images at `indices`, in that order."""
        return Split(self.pixels[indices], self.labels[indices])


@dataclass(frozen=True, eq=False)
class DataSet:
    """Images to train on and images to measure with.

    Attributes:
        name: "MNIST", "embedded digits", or what its source is called.
        sha256: of the content: names of the classes, images and labels of both splits.
        labels: names of the classes, in the order of their indices.
        train: to train on and to hold back from.
        test: to measure with, once.
    """

    name: str
    sha256: str
    labels: tuple[str, ...]
    train: Split
    test: Split

    @property
    def dataset(self) -> Dataset:
        """Name and digest, as a model's spec names what it was trained on."""
        return Dataset(self.name, self.sha256)


def digest(labels: tuple[str, ...], train: Split, test: Split) -> str:
    """SHA-256 of a data set's content, whatever files it came in."""
    sha256 = hashlib.sha256("\n".join(labels).encode())
    for split in (train, test):
        sha256.update(np.ascontiguousarray(split.pixels))
        sha256.update(np.ascontiguousarray(split.labels, dtype="<i8"))
    return sha256.hexdigest()


def stratified_split(split: Split, n_or_share: float, seed: int) -> tuple[Split, Split]:
    """Divide a split into (the rest, what is held back), each class by the same share.

    Args:
        split: with at least two images of each class it has.
        n_or_share: images to hold back, or their share where it is below 1.
        seed: decides which.

    Raises:
        DatasetError: fewer than one image a class would be held back, or left.
    """
    classes, counts = np.unique(split.labels, return_counts=True)
    n = round(n_or_share * len(split)) if n_or_share < 1 else int(n_or_share)
    if n < len(classes) or len(split) - n < len(classes):
        raise DatasetError(
            f"cannot hold back {n} of {len(split)} images: each of {len(classes)} classes needs "
            "one on either side; give another --validation, or more images"
        )
    # Largest remainders: the shares of the classes add up to n exactly, none takes or leaves 0.
    exact = counts * (n / len(split))
    taken = np.clip(np.floor(exact).astype(int), 1, counts - 1)
    while (missing := n - int(taken.sum())) != 0:
        step = 1 if missing > 0 else -1
        room = taken < counts - 1 if missing > 0 else taken > 1
        taken[np.argmax(np.where(room, step * (exact - taken), -np.inf))] += step
    random = np.random.default_rng([seed, len(split)])
    held = np.sort(
        np.concatenate(
            [
                random.permutation(np.flatnonzero(split.labels == label))[:count]
                for label, count in zip(classes, taken, strict=True)
            ]
        )
    )
    rest = np.setdiff1d(np.arange(len(split)), held)
    return split.take(rest), split.take(held)
