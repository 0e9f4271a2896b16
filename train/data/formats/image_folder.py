"""Reads a data set of image files from a folder with one subfolder per class.

Instead, the folder may contain only `train` and `test` folders, and a `val` folder, each with one
subfolder per class.
"""

import sys
from pathlib import Path

import numpy as np

from runtime.errors import DatasetError, plural, printable
from train.data.raw import RawDataSet, RawSplit
from train.data.validate import MAX_CLASSES

# Names of folders with training images, in lower case.
TRAIN_NAMES = ("train", "training", "val", "valid", "validation")
TEST_NAMES = ("test", "testing")  # names of folders with test images, in lower case


def read(folder: Path) -> RawDataSet:
    """Read a folder with one subfolder per class, or with `train`, `val` and `test` folders.

    Images in `val` are used for training, because training holds back validation images itself. If
    several folders are used for training, a message on stderr says so. All files are listed, images
    or not.

    Args:
        folder: the folder to read; its name becomes the name of the data set.

    Returns:
        The data set. The classes are named after the subfolders.

    Raises:
        DatasetError: there are fewer than 2 or more than MAX_CLASSES classes, or at least two
            folders have names of such parts, but there are other folders beside them or none of
            them is for training.
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
    splits = [_read_split(parts, classes) for parts in (train, test) if parts]
    name = folder.resolve().name
    return RawDataSet(name, tuple(classes), splits[0], splits[1] if test else None)


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


def _read_split(folders: list[Path], classes: list[str]) -> RawSplit:
    """List the files of all classes in all folders."""
    files = [
        (file, index)
        for folder in folders
        for index, name in enumerate(classes)
        if (folder / name).is_dir()
        for file in visible_files(folder / name)
    ]
    labels = np.array([index for _, index in files], np.int64)
    return RawSplit(_joined(folders), [file for file, _ in files], labels)
