"""Validates labeled images after they were read, and assembles them into a `DataSet`.

`train.data.load` calls `assemble`, which checks the number and names of the classes and the number
of images per class. It removes duplicates from a data set that is not divided into training and
test images.
"""

import math

import numpy as np

from runtime.errors import DatasetError, plural
from train.data.mnist import MNIST, is_mnist
from train.data.splits import MIN_PER_CLASS, DataSet, Split, digest, stratified_split

MAX_CLASSES = 1000  # a data set with more classes raises DatasetError
_LISTED_CLASSES = 5  # classes with too few images that a message lists; the others are counted


def assemble(
    name: str, train: Split, test: Split | None, labels: tuple[str, ...], test_share: float
) -> DataSet:
    """Validate the images of a data set, and split off test images if there are none.

    Args:
        name: the data set's name, usually that of its file or folder. If the images are MNIST's,
            the name becomes "MNIST".
        train: training images; all images if `test` is None, and duplicates are then removed.
        test: test images; None if the data set is not divided.
        labels: names of the classes, in the order of the class indices.
        test_share: share of the images that become test images, from 0 to 1, if `test` is None. At
            least one image of each class becomes a test image.

    Raises:
        DatasetError: there are too few or too many classes, an unprintable class name, too few
            images in a class, or no test images.
    """
    name = name.encode(errors="backslashreplace").decode()  # file names may not be UTF-8
    if not 2 <= len(labels) <= MAX_CLASSES:
        raise DatasetError(
            f"{name} has {plural(len(labels), 'class', 'classes')}; provide at least 2 and at most "
            f"{MAX_CLASSES}"
        )
    # A model's spec rejects such names too, but only after training.
    if unprintable := [label for label in labels if not label or not label.isprintable()]:
        raise DatasetError(
            f"{name}: the class name {unprintable[0]!r} is empty or unprintable; rename the class"
        )
    if test is None:
        train = drop_duplicates(train)
    counts = np.bincount(train.labels, minlength=len(labels))
    if (few := np.flatnonzero(counts < MIN_PER_CLASS)).size:
        listed = ", ".join(f"{labels[n]!r} has {counts[n]}" for n in few[:_LISTED_CLASSES])
        unlisted = few.size - _LISTED_CLASSES
        more = f" and {unlisted} more" if unlisted > 0 else ""
        raise DatasetError(
            f"{name}: too few different training images: {listed}{more}; "
            f"provide at least {MIN_PER_CLASS} per class, or remove the class"
        )
    if test is None:
        train, test = stratified_split(train, max(test_share, len(labels) / len(train)), seed=0)
    elif len(test) == 0:
        raise DatasetError(
            f"{name} has no test images; add some, or remove the division into train and test"
        )
    if is_mnist(train, test):
        name = MNIST
    return DataSet(name, digest(labels, train, test), labels, train, test)


def drop_duplicates(split: Split) -> Split:
    """Return a split without duplicates; of equal images, only the first stays."""
    flat = split.pixels.reshape(len(split), math.prod(split.pixels.shape[1:]))
    _, first = np.unique(flat, axis=0, return_index=True)
    return split.take(np.sort(first))
