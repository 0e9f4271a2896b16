"""Loads a data set: from a path, MNIST from the cache or the network, or scikit-learn's digits.

`digit-edge train`, `digit-edge export` and the benchmarks call `load`.
"""

import importlib.util
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

DATA_VARIABLE = "DIGIT_EDGE_DATA"  # environment variable: the path to use if no path is passed
EMBEDDED = "embedded"  # passed instead of a path, this word selects scikit-learn's digits

# Share of each class that becomes test images, for scikit-learn's digits and for data sets that are
# not divided into training and test images.
TEST_SHARE = 1 / 5
_DIGIT_SIDE_PX = 8  # side of scikit-learn's digits
_ENLARGEMENT = 8  # factor by which these digits are enlarged before the conversion to MNIST's form
_MIN_INK = 1.6  # of 16; fainter gray in an enlarged digit is set to 0, the background


def load(source: str | os.PathLike[str] | None = None, as_is: bool = False) -> DataSet:
    """Load a data set from a path, or a default data set.

    The first of these is used: `source`, $DIGIT_EDGE_DATA, MNIST in the user's cache, MNIST from
    the network, scikit-learn's digits. If scikit-learn's digits replace MNIST, a message on stderr
    states the reason.

    Args:
        source: a folder of IDX files, an `.npz`, a folder with one subfolder of images per class,
            or "embedded" for scikit-learn's digits. None selects the next in the list above.
        as_is: use the images unchanged, because they are in MNIST's form already. Otherwise the
            runtime's preprocessing converts the images.

    Returns:
        Training and test images, uint8 (N, 28, 28, 1), with their labels.

    Raises:
        DatasetError: `source` or $DIGIT_EDGE_DATA is missing, damaged, or unsuitable for training;
            or scikit-learn's digits are needed, and scikit-learn is not installed.
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


def folder_of(source: str | os.PathLike[str] | None) -> Path:
    """Return the folder that `load` reads a data set of files from; see there."""
    source = source or os.environ.get(DATA_VARIABLE)
    if source is None:
        return cache_folder()
    path = Path(source)
    return path if path.is_dir() else path.parent


def cache_folder() -> Path:
    """Return the folder of downloads: $XDG_CACHE_HOME/digit-edge, by default ~/.cache/digit-edge.

    The folder may not exist yet.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "digit-edge"


@lru_cache(maxsize=1)
def sklearn_digits() -> DataSet:
    """Load scikit-learn's 1,797 digits (UCI optdigits, 8 × 8 pixels) in MNIST's form.

    Duplicates are removed first. Then a fifth of each class, always the same images, become test
    images.

    Returns:
        The data set "embedded digits", with images uint8 (N, 28, 28, 1).

    Raises:
        DatasetError: scikit-learn is not installed.
    """
    # The file of `sklearn.datasets.load_digits`. Importing scikit-learn takes 1.3 seconds.
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise DatasetError('the embedded digits need scikit-learn: pip install "digit-edge[train]"')
    rows = np.loadtxt(Path(package.origin).parent / "datasets/data/digits.csv.gz", delimiter=",")
    images, labels = rows[:, :-1].reshape(-1, _DIGIT_SIDE_PX, _DIGIT_SIDE_PX), rows[:, -1]
    pixels = np.stack([to_mnist_format(_enlarge(image)) for image in images])
    undivided = Split(pixels, labels.astype(np.int64))
    train, test = stratified_split(drop_duplicates(undivided), TEST_SHARE, seed=0)
    names = tuple(str(n) for n in range(10))
    return DataSet("embedded digits", digest(names, train, test), names, train, test)


def _enlarge(image: np.ndarray) -> np.ndarray:
    """Enlarge a digit of scikit-learn with smooth edges, for `to_mnist_format`.

    Args:
        image: ink from 0 to 16, (8, 8).

    Returns:
        Ink from 0 to about 16, float32 (80, 80). A margin of one pixel is added to the 8 × 8 digit
        before it is enlarged.
    """
    padded = np.pad(image, 1).astype(np.float32)
    side = (_DIGIT_SIDE_PX + 2) * _ENLARGEMENT
    enlarged = Image.fromarray(padded).resize((side, side), Image.Resampling.BICUBIC)
    ink = np.asarray(enlarged)
    # Faint gray and the ringing of bicubic interpolation would widen the bounding box.
    return np.where(ink > _MIN_INK, ink, 0)
