"""Reads the writers of MNIST's images from QMNIST's label files."""

import gzip
import io
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime.errors import DatasetError

_HEADER_BYTES = 12
_MAGIC = b"\x00\x00\x0c\x02"  # int32, two axes
_COLUMNS = 8
_LABEL = 0  # column of the class
_WRITER = 2  # column of the writer

MAX_BYTES = 64 << 20


def read(path: Path, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Read the writer of each image.

    Args:
        path: of `qmnist-train-labels-idx2-int.gz` or its like for the test images, of
            facebookresearch/qmnist (C. Yadav and L. Bottou, "Cold Case: The Lost MNIST Digits",
            2019): big-endian int32 of 8 columns, the class first, the writer third.
        labels: (N,) of the images; the file's first N rows have to be of the same classes.

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
        raise DatasetError(
            f"{path} is not a label file of QMNIST; give qmnist-train-labels-idx2-int.gz"
        )
    rows = np.frombuffer(data[_HEADER_BYTES:], ">i4").reshape(-1, _COLUMNS).astype(np.int64)
    if len(rows) < len(labels) or not np.array_equal(rows[: len(labels), _LABEL], labels):
        raise DatasetError(f"{path} names the writers of other images; --writers needs MNIST's")
    return rows[: len(labels), _WRITER]


def hold_back(
    writers: npt.NDArray[np.int64] | None, n: int, share: float, seed: int
) -> npt.NDArray[np.bool_]:
    """Choose the images to validate with: all of some writers, or single ones.

    Args:
        writers: (N,) of each image; None if unknown.
        n: number of images.
        share: of the writers, or of the images.
        seed: decides which.

    Returns:
        (N,) True for the images that are held back.
    """
    random = np.random.default_rng((seed, n))
    if writers is None:
        return random.random(n) < share
    names = np.unique(writers)
    held = random.permutation(names)[: max(round(share * len(names)), 1)]
    return np.isin(writers, held)
