"""Loads a data set: the given one, MNIST from the cache or the network, or scikit-learn's digits.

`digit-edge train`, `digit-edge export` and the benchmarks use it.
"""

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

DATA_VARIABLE = "DIGIT_EDGE_DATA"  # environment variable with the default of `source`
EMBEDDED = "embedded"  # the `source` that names scikit-learn's digits
# Share of each class used as test images, for the embedded digits and undivided data sets.
TEST_SHARE = 1 / 5


def load(source: str | os.PathLike[str] | None = None, as_is: bool = False) -> DataSet:
    """Load a data set from a path, or a default one.

    The first of these is used: `source`, $DIGIT_EDGE_DATA, MNIST in the user's cache, MNIST from
    the network, the embedded digits. If only the last is available, a message on stderr says so.

    Args:
        source: a folder of IDX files, an `.npz`, a folder with one subfolder per class, or
            "embedded" for the embedded digits.
        as_is: use the images unchanged: they are in MNIST's form already. Otherwise the runtime's
            preprocessing converts them.

    Raises:
        DatasetError: `source` or $DIGIT_EDGE_DATA is missing, damaged, or unsuitable for training.
    """
    if source is None:
        source = os.environ.get(DATA_VARIABLE) or None
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
            print(
                f"{printable(str(folder))} is not MNIST; downloading MNIST again", file=sys.stderr
            )
    except DatasetError as error:
        print(f"{printable(str(error))}; downloading it again", file=sys.stderr)
    try:
        download.download(folder)
        return idx_npz.read(folder, as_is, TEST_SHARE)
    except DatasetError as error:
        print(
            f"MNIST cannot be downloaded: {printable(str(error))}\n"
            "USING THE 1,797 DIGITS EMBEDDED IN SCIKIT-LEARN, WHICH ARE NOT MNIST.",
            file=sys.stderr,
        )
        return sklearn_digits()


def cache_folder() -> Path:
    """Return the folder of downloaded data: digit-edge in the user's cache directory."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "digit-edge"


@lru_cache(maxsize=1)
def sklearn_digits() -> DataSet:
    """Load scikit-learn's 1,797 digits (UCI optdigits, 8x8 pixels) in MNIST's form.

    The split is fixed: a fifth of each class are test images. Duplicates are removed before.

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
    undivided = Split(pixels, digits.target.astype(np.int64))
    train, test = stratified_split(drop_duplicates(undivided), TEST_SHARE, seed=0)
    labels = tuple(str(n) for n in range(10))
    return DataSet("embedded digits", digest(labels, train, test), labels, train, test)


def _enlarge(image: np.ndarray) -> np.ndarray:
    """Enlarge an 8x8 digit (ink 0 to 16) eightfold with smooth edges, for `to_mnist_format`."""
    padded = np.pad(image, 1).astype(np.float32)
    enlarged = Image.fromarray(padded).resize((80, 80), Image.Resampling.BICUBIC)
    ink = np.asarray(enlarged)
    # Remove the faintest gray and the ringing of bicubic interpolation, which would widen the
    # bounding box.
    return np.where(ink > 1.6, ink, 0)
