"""Reads a folder with one subfolder of images a class."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from runtime.errors import DatasetError, ImageError
from runtime.preprocess import PIXELS_SHAPE, Pixels, to_pixels
from train.assemble import MAX_CLASSES, assemble
from train.splits import DataSet, Split

TRAIN_NAMES, TEST_NAMES = ("train", "training"), ("test", "testing")
# Unreadable files named one by one; the rest are counted.
LISTED = 10


def read(folder: Path, as_is: bool, test_share: float) -> DataSet:
    """Read a folder with one subfolder a class, or with `train` and `test` of such folders.

    Files that are no readable image are listed on stderr and left out.

    Args:
        folder: its name becomes the data set's.
        as_is: images are 28x28, grey, light on dark, and are taken as they are.
        test_share: of each class, where there is no `test`.

    Raises:
        DatasetError: fewer than two classes, too many, or too few images in one.
    """
    parts = {part.name.lower(): part for part in _subfolders(folder)}
    train = next((parts[name] for name in TRAIN_NAMES if name in parts), None)
    test = next((parts[name] for name in TEST_NAMES if name in parts), None)
    if len(parts) > 2 or train is None or test is None:
        train, test = folder, None
    classes = sorted({c.name for part in (train, test) if part for c in _subfolders(part)})
    if all(name.isdecimal() for name in classes):
        classes.sort(key=int)
    if not 2 <= len(classes) <= MAX_CLASSES:
        raise DatasetError(
            f"{folder} has {len(classes)} subfolders; give one a class, 2 to {MAX_CLASSES}"
        )
    splits = [_read_split(part, classes, as_is) for part in (train, test) if part]
    held_out = splits[1] if test else None
    name = folder.resolve().name
    return assemble(name, splits[0], held_out, tuple(classes), test_share)


def _subfolders(folder: Path) -> list[Path]:
    hidden = (".", "__")  # .git, __MACOSX
    return [p for p in sorted(folder.iterdir()) if p.is_dir() and not p.name.startswith(hidden)]


def _read_split(folder: Path, classes: list[str], as_is: bool) -> Split:
    files = [
        (file, index)
        for index, name in enumerate(classes)
        if (folder / name).is_dir()
        for file in sorted((folder / name).rglob("*"))
        if file.is_file() and not file.name.startswith(".")
    ]
    pixels, labels, refused = [], [], 0
    silent = not sys.stderr.isatty()
    for file, index in tqdm(files, desc=f"reading {folder.name}", leave=False, disable=silent):
        try:
            pixels.append(_read_as_is(file) if as_is else to_pixels(file))
            labels.append(index)
        except ImageError as error:
            refused += 1
            if refused <= LISTED:
                print(f"left out: {error}", file=sys.stderr)
    if refused:
        print(f"{folder}: {refused} of {len(files)} files left out", file=sys.stderr)
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
