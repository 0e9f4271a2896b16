"""Validates a data set: classes, sizes, duplicates."""

import math

import numpy as np

from runtime.errors import DatasetError
from runtime.preprocess.mnist_format import PIXELS_SHAPE
from train.data.mnist import MNIST, is_mnist
from train.data.splits import MIN_PER_CLASS, DataSet, Split, digest, stratified_split

MAX_CLASSES = 1000


def assemble(
    name: str, train: Split, test: Split | None, labels: tuple[str, ...], test_share: float
) -> DataSet:
    """Make a data set of what was read, and refuse one unfit to train on.

    Raises:
        DatasetError: too few or too many classes, or too few images in one.
    """
    name = name.encode(errors="backslashreplace").decode()  # of a file whose name is not UTF-8
    if not 2 <= len(labels) <= MAX_CLASSES:
        raise DatasetError(f"{name} has {len(labels)} classes; give 2 to {MAX_CLASSES}")
    # A model's spec takes no other names; better refused now than after the training.
    if odd := [label for label in labels if not label or not label.isprintable()]:
        raise DatasetError(f"{name}: a class named {odd[0]!r}; give names that can be printed")
    if test is None:
        train = drop_duplicates(train)
    counts = np.bincount(train.labels, minlength=len(labels))
    if (few := np.flatnonzero(counts < MIN_PER_CLASS)).size:
        named = ", ".join(f"{labels[n]!r} has {counts[n]}" for n in few[:5])
        more = f" and {few.size - 5} more classes" if few.size > 5 else ""
        raise DatasetError(
            f"{name}: too few different images to train on: {named}{more}; "
            f"give each class at least {MIN_PER_CLASS}, or remove it"
        )
    if test is None:
        train, test = stratified_split(train, max(test_share, len(labels) / len(train)), seed=0)
    elif len(test) == 0:
        raise DatasetError(f"{name} has no test images; give some, or one undivided set")
    if is_mnist(train, test):
        name = MNIST
    return DataSet(name, digest(labels, train, test), labels, train, test)


def drop_duplicates(split: Split) -> Split:
    """The split without images that another one equals in every pixel, in the same order."""
    flat = split.pixels.reshape(len(split), math.prod(PIXELS_SHAPE))
    _, first = np.unique(flat, axis=0, return_index=True)
    return split.take(np.sort(first))
