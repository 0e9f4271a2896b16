"""Reads who wrote MNIST's images, holds back whole writers, and evaluates accuracy by writer.

QMNIST's label files name the writer of each image. The writers come from two series of NIST's
forms: hsf_0 by employees of the Census Bureau, hsf_4 by high-school students.
"""

import gzip
import io
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime.errors import DatasetError
from train.data import download, load
from train.data.mnist import MNIST
from train.data.splits import DataSet, Split

# The files, without ".gz" → SHA-256 of the decompressed content.
TRAIN_FILE = "qmnist-train-labels-idx2-int"
TEST_FILE = "qmnist-test-labels-idx2-int"
SHA256 = {
    TRAIN_FILE: "bb1b6e1ec7b04fd5696f1ed50b5f58f8ef195118edd5c93c81783df9740b8ac5",
    TEST_FILE: "92d0ccb8c25f9c6534270fb4be7e1d24a1c6d315edfc8a638bfbd31c70f362dd",
}
MIRRORS = ("https://raw.githubusercontent.com/facebookresearch/qmnist/master/",)
DOWNLOAD = "download"  # passed instead of a path, this word downloads the files

_HEADER_BYTES = 12
_MAGIC = b"\x00\x00\x0c\x02"  # int32, two axes
_COLUMNS = 8
_LABEL = 0  # column of the class
_SERIES = 1  # column of the series
_WRITER = 2  # column of the writer

MAX_BYTES = 64 << 20
_RESAMPLES = 10_000  # of the writers, for a confidence interval

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Writers:
    """Who wrote the images of a split.

    Attributes:
        writer: number of the writer of each image, int64 (N,).
        series: number of the writer's series of forms, int64 (N,): 0 for hsf_0, 4 for hsf_4.
    """

    writer: Integers
    series: Integers


@dataclass(frozen=True)
class SeriesAccuracy:
    """The accuracy on the images of one series of writers.

    Attributes:
        series: "hsf_0", "hsf_4", or "all".
        writers: number of writers.
        n: number of images.
        correct: number of correct predictions.
        low: lower bound of the accuracy's 95 % interval over writers, from 0 to 1.
        high: its upper bound.
    """

    series: str
    writers: int
    n: int
    correct: int
    low: float
    high: float

    @property
    def accuracy(self) -> float:
        """The share of correct predictions."""
        return self.correct / self.n


def find(
    data_set: DataSet, source: str | None, path: str | None = None
) -> tuple[Writers | None, Writers | None]:
    """Return the writers of a data set's training and test images, if they are known.

    Args:
        data_set: the data set.
        source: the path that `load.load` read the data set from.
        path: QMNIST's label file of the training images, or "download". The file of the test images
            is expected beside it. With None, both are expected beside MNIST's files.

    Returns:
        (writers of the training images, writers of the test images); None if a file is missing.

    Raises:
        DatasetError: a file is damaged or of other images, or cannot be downloaded.
    """
    if path is None:
        if data_set.name != MNIST:
            return None, None
        folder = load.folder_of(source)
        train_path = folder / f"{TRAIN_FILE}.gz"
    elif path == DOWNLOAD:
        folder = load.cache_folder()
        download.download(folder, MIRRORS, SHA256, "--writers")
        train_path = folder / f"{TRAIN_FILE}.gz"
    else:
        train_path = Path(path)
    train = None
    if path is not None or train_path.exists():
        train = read(train_path, data_set.train.labels)
    test_path = train_path.with_name(f"{TEST_FILE}.gz")
    test = read(test_path, data_set.test.labels) if test_path.exists() else None
    return train, test


def read(path: Path, labels: Integers) -> Writers:
    """Read the writer of each image.

    Args:
        path: of `qmnist-train-labels-idx2-int.gz` or its like for the test images, of
            facebookresearch/qmnist (C. Yadav and L. Bottou, "Cold Case: The Lost MNIST Digits",
            2019): big-endian int32 of 8 columns, the class first, the series second, the writer
            third.
        labels: (N,) of the images; the file's first N rows must be of the same classes.

    Raises:
        DatasetError: the file cannot be read, or is of other images.
    """
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            with gzip.open(io.BytesIO(data)) as file:
                data = file.read(MAX_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"cannot read {path} ({error}); download it again") from error
    if data[:4] != _MAGIC or (len(data) - _HEADER_BYTES) % (4 * _COLUMNS):
        raise DatasetError(f"{path} is not a label file of QMNIST; pass {TRAIN_FILE}.gz")
    rows = np.frombuffer(data[_HEADER_BYTES:], ">i4").reshape(-1, _COLUMNS).astype(np.int64)
    if len(rows) < len(labels) or not np.array_equal(rows[: len(labels), _LABEL], labels):
        raise DatasetError(f"{path} names the writers of other images; --writers needs MNIST's")
    rows = rows[: len(labels)]
    return Writers(rows[:, _WRITER], rows[:, _SERIES])


def hold_back(writer: Integers | None, n: int, share: float, seed: int) -> Flags:
    """Choose the images to validate with: all of some writers, or single ones.

    Args:
        writer: (N,) of each image; None if unknown.
        n: number of images.
        share: of the writers, or of the images.
        seed: decides which.

    Returns:
        (N,) True for the images that are held back.
    """
    random = np.random.default_rng((seed, n))
    if writer is None:
        return random.random(n) < share
    names = np.unique(writer)
    held = random.permutation(names)[: max(round(share * len(names)), 1)]
    return np.isin(writer, held)


def split_by_writer(
    split: Split, writer: Integers, n_or_share: float, seed: int
) -> tuple[Split, Split]:
    """Hold back all images of some writers.

    Args:
        split: the images to divide.
        writer: number of the writer of each image, (N,).
        n_or_share: about the number of images to hold back, from 1; or the share of the writers,
            below 1.
        seed: seed of the random choice, a whole number from 0.

    Returns:
        (remaining images, images held back), both in their original order.

    Raises:
        DatasetError: the images held back, or the remaining ones, are not of all classes.
    """
    share = n_or_share if n_or_share < 1 else n_or_share / len(split)
    held = hold_back(writer, len(split), min(share, 1.0), seed)
    parts = split.take(np.flatnonzero(~held)), split.take(np.flatnonzero(held))
    classes = len(np.unique(split.labels))
    if any(len(np.unique(part.labels)) < classes for part in parts):
        raise DatasetError(
            f"cannot hold back {len(parts[1])} of {len(split)} images by writer: the others, or "
            "these, lack a class; pass another --validation"
        )
    return parts


def accuracy_by_series(correct: Flags, writers: Writers) -> tuple[SeriesAccuracy, ...]:
    """Return the accuracy on each series of writers, and on all.

    The interval is a cluster bootstrap's: whole writers are drawn with replacement, because the
    images of one writer are alike.

    Args:
        correct: whether each prediction is correct, (N,).
        writers: who wrote the images.
    """
    parts = {f"hsf_{n}": writers.series == n for n in np.unique(writers.series).tolist()}
    if len(parts) > 1:
        parts["all"] = np.ones(len(correct), np.bool_)
    rows = []
    for name, part in parts.items():
        _, of_writer = np.unique(writers.writer[part], return_inverse=True)
        images = np.bincount(of_writer)
        right = np.bincount(of_writer, correct[part])
        random = np.random.default_rng(len(images))
        draws = random.multinomial(len(images), np.full(len(images), 1 / len(images)), _RESAMPLES)
        low, high = np.quantile((draws @ right) / (draws @ images), (0.025, 0.975)).tolist()
        n = int(images.sum())
        rows.append(SeriesAccuracy(name, len(images), n, int(right.sum()), low, high))
    return tuple(rows)
