"""Finds a data set by name or path, or downloads MNIST."""

import os
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from runtime.errors import DatasetError, printable
from runtime.preprocess.mnist_format import to_mnist_format
from train.data import download, idx_npz
from train.data.mnist import MNIST
from train.data.splits import DataSet, Split, digest, stratified_split
from train.data.validate import drop_duplicates

__all__ = ["DataSet", "Split", "cache_folder", "load", "sklearn_digits", "stratified_split"]

VARIABLE = "DIGIT_EDGE_DATA"
EMBEDDED = "embedded"
# Of the embedded digits and of sets that come undivided, what is kept to measure with.
TEST_SHARE = 1 / 5


def load(source: str | os.PathLike[str] | None = None, as_is: bool = False) -> DataSet:
    """Load a data set: `source`, else $DIGIT_EDGE_DATA, else MNIST from the user's cache, else
    MNIST from the network, else the embedded digits, which is said on stderr.

    Args:
        source: a folder of IDX files, an `.npz`, a folder with one subfolder a class, or
            "embedded" for the embedded digits.
        as_is: images are in MNIST's form already, and only checked; else the runtime's
            preprocessing brings them into it.

    Raises:
        DatasetError: the source named is absent, damaged, or unfit to train on.
    """
    if source is None:
        source = os.environ.get(VARIABLE) or None
    if source == EMBEDDED:
        return sklearn_digits()
    if source is not None:
        return idx_npz.read(Path(source), as_is, TEST_SHARE)
    folder = cache_folder()
    try:
        if any(folder.glob("*-ubyte*")):
            cached = idx_npz.read(folder, as_is, TEST_SHARE)
            if cached.name == MNIST:
                return cached
            print(f"{printable(str(folder))}: not MNIST; downloading it again", file=sys.stderr)
    except DatasetError as error:
        print(f"{printable(str(error))}; downloading it again", file=sys.stderr)
    try:
        download.download(folder)
        return idx_npz.read(folder, as_is, TEST_SHARE)
    except DatasetError as error:
        print(
            f"MNIST cannot be had: {printable(str(error))}\n"
            "USING THE 1,797 DIGITS EMBEDDED IN SCIKIT-LEARN, WHICH ARE NOT MNIST.",
            file=sys.stderr,
        )
        return sklearn_digits()


def cache_folder() -> Path:
    """Where downloaded data are kept: digit-edge in the user's cache directory."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "digit-edge"


@lru_cache(maxsize=1)
def sklearn_digits() -> DataSet:
    """Load scikit-learn's 1,797 digits (UCI optdigits, 8x8) in MNIST's form.

    The split is fixed, a fifth of each class to measure with, and no image stands in both.

    Raises:
        DatasetError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DatasetError(
            'the embedded digits need scikit-learn: pip install "digit-edge[train]"'
        ) from error
    digits = load_digits()
    pixels = np.stack([to_mnist_format(_enlarge(image)) for image in digits.images])
    whole = Split(pixels, digits.target.astype(np.int64))
    train, test = stratified_split(drop_duplicates(whole), TEST_SHARE, seed=0)
    labels = tuple(str(n) for n in range(10))
    return DataSet("embedded digits", digest(labels, train, test), labels, train, test)


def _enlarge(image: np.ndarray) -> np.ndarray:
    """An 8x8 digit, ink 0 to 16, eight times as large and smooth: normalizing keeps blocks."""
    padded = np.pad(image, 1).astype(np.float32)
    large = Image.fromarray(padded).resize((80, 80), Image.Resampling.BICUBIC)
    # What bicubic interpolation rings, and the faintest gray, would widen the bounding box.
    ink = np.asarray(large)
    return np.where(ink > 1.6, ink, 0)
