"""Reads a data set of image files from a folder with one subfolder per class.

Instead, the folder may contain only `train` and `test` folders, and a `val` folder, each with one
subfolder per class. `train.data.idx_npz` calls `read`.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from runtime.errors import DatasetError, ImageError, plural, printable
from runtime.preprocess.mnist_format import PIXELS_SHAPE, Pixels
from runtime.preprocess.pipeline import to_pixels
from train.data.splits import DataSet, Split
from train.data.validate import MAX_CLASSES, assemble

# Names of folders with training images, in lower case.
TRAIN_NAMES = ("train", "training", "val", "valid", "validation")
TEST_NAMES = ("test", "testing")  # names of folders with test images, in lower case
MAX_LISTED_FILES = 10  # unreadable files that get a message each; further ones are only counted


def read(folder: Path, as_is: bool, test_share: float) -> DataSet:
    """Read a folder with one subfolder per class, or with `train`, `val` and `test` folders.

    Images in `val` are used for training, because training holds back validation images itself. If
    several folders are used for training, a message on stderr says so. Files that are not readable
    images are skipped; stderr names the first of them and their number.

    Args:
        folder: the folder to read; its name becomes the name of the data set.
        as_is: use the images unchanged; they are 28 × 28 pixels, gray, light on dark.
        test_share: share of each class that becomes test images, from 0 to 1, if there is no
            `test` folder.

    Returns:
        The data set. The classes are named after the subfolders.

    Raises:
        DatasetError: there are fewer than 2 or more than MAX_CLASSES classes, a class has too few
            images, or at least two folders have names of such parts, but there are other folders
            beside them or none of them is for training.
    """
    train, test = _parts(folder)
    classes = sorted({c.name for part in train + test for c in visible_subfolders(part)})
    if all(name.isdecimal() for name in classes):
        classes.sort(key=int)
    if not 2 <= len(classes) <= MAX_CLASSES:
        raise DatasetError(
            f"{_joined(train + test)}: {plural(len(classes), 'subfolder')}; provide one per class, "
            f"at least 2 and at most {MAX_CLASSES}"
        )
    if len(train) > 1:
        print(f"{printable(_joined(train))} are both used for training", file=sys.stderr)
    splits = [_read_split(parts, classes, as_is) for parts in (train, test) if parts]
    test_split = splits[1] if test else None
    name = folder.resolve().name
    return assemble(name, splits[0], test_split, tuple(classes), test_share)


def _parts(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return (folders of training images, folders of test images).

    If fewer than two subfolders have the names of such parts, this is ([folder], []).
    """
    subfolders = visible_subfolders(folder)
    train = [part for part in subfolders if part.name.lower() in TRAIN_NAMES]
    test = [part for part in subfolders if part.name.lower() in TEST_NAMES]
    if len(train + test) < 2:
        return [folder], []
    if not train or len(train + test) < len(subfolders):
        names = ", ".join(part.name for part in subfolders)
        raise DatasetError(
            f"{folder} is divided into {names}; divide it into train, test and optionally val, "
            "and remove other folders"
        )
    return train, test


def _joined(folders: list[Path]) -> str:
    return " and ".join(map(str, folders))


def visible_subfolders(folder: Path) -> list[Path]:
    """Return the subfolders, sorted, without hidden ones."""
    hidden = (".", "__")  # .git, __MACOSX
    return [p for p in sorted(folder.iterdir()) if p.is_dir() and not p.name.startswith(hidden)]


def visible_files(folder: Path) -> list[Path]:
    """Return the files in a folder and its subfolders, sorted, without hidden ones."""
    return [p for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.startswith(".")]


def _read_split(folders: list[Path], classes: list[str], as_is: bool) -> Split:
    """Read the images of all classes from all folders, with a progress bar on a terminal."""
    files = [
        (file, index)
        for folder in folders
        for index, name in enumerate(classes)
        if (folder / name).is_dir()
        for file in visible_files(folder / name)
    ]
    pixels, labels, skipped = [], [], 0
    silent = not sys.stderr.isatty()
    title = f"reading {printable(folders[0].name)}"
    for file, index in tqdm(files, desc=title, leave=False, disable=silent):
        try:
            pixels.append(_read_as_is(file) if as_is else to_pixels(file))
            labels.append(index)
        except ImageError as error:
            skipped += 1
            if skipped <= MAX_LISTED_FILES:
                print(f"skipped: {printable(str(error))}", file=sys.stderr)
    if skipped:
        summary = f"{_joined(folders)}: {skipped} of {plural(len(files), 'file')} skipped"
        print(printable(summary), file=sys.stderr)
    stacked = np.stack(pixels) if pixels else np.empty((0, *PIXELS_SHAPE), np.uint8)
    return Split(stacked, np.array(labels, np.int64))


def _read_as_is(file: Path) -> Pixels:
    """Read a 28x28 image without preprocessing, as uint8 (28, 28, 1)."""
    try:
        with Image.open(file) as image:
            if image.size != PIXELS_SHAPE[:2]:
                raise ImageError(
                    f"{file} is {image.width}x{image.height}, not 28x28; "
                    "omit --as-is to have it converted"
                )
            return np.asarray(image.convert("L"), np.uint8).reshape(PIXELS_SHAPE)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(f"{file} cannot be read as an image ({error})") from error
