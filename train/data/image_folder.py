"""Reads a folder with one subfolder of images a class."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from runtime.errors import DatasetError, ImageError, printable
from runtime.preprocess.mnist_format import PIXELS_SHAPE, Pixels
from runtime.preprocess.pipeline import to_pixels
from train.data.splits import DataSet, Split
from train.data.validate import MAX_CLASSES, assemble

# What the parts of a divided set are called.
TRAIN_NAMES = ("train", "training", "val", "valid", "validation")
TEST_NAMES = ("test", "testing")
# Unreadable files named one by one; the rest are counted.
LISTED = 10


def read(folder: Path, as_is: bool, test_share: float) -> DataSet:
    """Read a folder with one subfolder a class, or with `train`, `val` and `test` of such folders.

    What `val` holds counts as `train`: training holds back images of its own. That is said on
    stderr, and so is which files are no readable image and left out.

    Args:
        folder: its name becomes the data set's.
        as_is: images are 28x28, gray, light on dark, and are taken as they are.
        test_share: of each class, where there is no `test`.

    Raises:
        DatasetError: fewer than two classes, too many, too few images in one, or a division that
            is none.
    """
    train, test = _parts(folder)
    classes = sorted({c.name for part in train + test for c in _subfolders(part)})
    if all(name.isdecimal() for name in classes):
        classes.sort(key=int)
    if not 2 <= len(classes) <= MAX_CLASSES:
        raise DatasetError(
            f"{_listed(train + test)}: {len(classes)} subfolders; give one a class, "
            f"2 to {MAX_CLASSES}"
        )
    if len(train) > 1:
        print(f"{printable(_listed(train))} are taken as one set to train on", file=sys.stderr)
    splits = [_read_split(parts, classes, as_is) for parts in (train, test) if parts]
    held_out = splits[1] if test else None
    name = folder.resolve().name
    return assemble(name, splits[0], held_out, tuple(classes), test_share)


def _parts(folder: Path) -> tuple[list[Path], list[Path]]:
    """The folders to train on and to test with; of an undivided set itself, and none."""
    subfolders = _subfolders(folder)
    train = [part for part in subfolders if part.name.lower() in TRAIN_NAMES]
    test = [part for part in subfolders if part.name.lower() in TEST_NAMES]
    if len(train + test) < 2:
        return [folder], []
    if not train or len(train + test) < len(subfolders):
        names = ", ".join(part.name for part in subfolders)
        raise DatasetError(
            f"{folder} is divided into {names}; give train, test and val, and nothing beside them"
        )
    return train, test


def _listed(folders: list[Path]) -> str:
    return " and ".join(map(str, folders))


def _subfolders(folder: Path) -> list[Path]:
    hidden = (".", "__")  # .git, __MACOSX
    return [p for p in sorted(folder.iterdir()) if p.is_dir() and not p.name.startswith(hidden)]


def _read_split(folders: list[Path], classes: list[str], as_is: bool) -> Split:
    files = [
        (file, index)
        for folder in folders
        for index, name in enumerate(classes)
        if (folder / name).is_dir()
        for file in sorted((folder / name).rglob("*"))
        if file.is_file() and not file.name.startswith(".")
    ]
    pixels, labels, refused = [], [], 0
    silent = not sys.stderr.isatty()
    title = f"reading {printable(folders[0].name)}"
    for file, index in tqdm(files, desc=title, leave=False, disable=silent):
        try:
            pixels.append(_read_as_is(file) if as_is else to_pixels(file))
            labels.append(index)
        except ImageError as error:
            refused += 1
            if refused <= LISTED:
                print(f"left out: {printable(str(error))}", file=sys.stderr)
    if refused:
        told = f"{_listed(folders)}: {refused} of {len(files)} files left out"
        print(printable(told), file=sys.stderr)
    stacked = np.stack(pixels) if pixels else np.empty((0, *PIXELS_SHAPE), np.uint8)
    return Split(stacked, np.array(labels, np.int64))


def _read_as_is(file: Path) -> Pixels:
    try:
        with Image.open(file) as image:
            if image.size != PIXELS_SHAPE[:2]:
                raise ImageError(
                    f"{file} is {image.width}x{image.height}, not 28x28; "
                    "leave --as-is away to have it brought into that form"
                )
            return np.asarray(image.convert("L"), np.uint8).reshape(PIXELS_SHAPE)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(f"{file} cannot be read as an image ({error})") from error
