"""Reads a folder of image files with one subfolder per class.

The folder may be divided into training and test folders, such as `train/a` and `test/a`. The
subfolders of the classes may be repeated in several folders, such as one per writer.
"""

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from runtime.errors import DatasetError, plural, printable
from train.data.formats import label_table
from train.data.formats.parts import divide, joined, name_of
from train.data.raw import RawDataSet, RawSplit
from train.data.splits import MIN_PER_CLASS
from train.data.validate import MAX_CLASSES

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
_HIDDEN = (".", "__")  # beginnings of the names of hidden folders: .git, __MACOSX
_MAX_LEVELS = 5  # of folders that are searched for the level of the classes
_LISTED_NAMES = 5  # folders that a message names
_DIGITS = frozenset("0123456789")
# A file name that begins with its label: 7_0001.jpg, 0.5_a.jpg, NaN_12.png, A-3.png; or a word and
# a dot: cat.1.jpg.
_LABEL_PREFIX = re.compile(
    r"(?:(?P<short>\d{1,2}(?:\.\d)?|[^\W\d_]|NaN)[_\- ]|(?P<word>[^\W\d_]\w*)\..+\.).+"
)

# A file with the name of its class.
Listing = list[tuple[Path, str]]


def read(folder: Path) -> RawDataSet:
    """Read a folder of images with one subfolder per class, or divided into such folders.

    Images for validation are used for training, because training holds back validation images
    itself. If several folders are used for training, a message on stderr says so. All files are
    listed, images or not.

    Args:
        folder: the folder to read; its name becomes the name of the data set.

    Returns:
        The data set. The classes are named after the subfolders, or listed in a `labels.csv`.

    Raises:
        DatasetError: there are fewer than 2 or more than MAX_CLASSES classes, or it is ambiguous
            which folders are the classes. At least two folders have names like `train` and `test`,
            but there are other folders beside them, or none of them is for training.
    """
    if tables := label_table.tables(folder):
        return read_tables(folder, tables)
    train, test = _parts(folder)
    listings = []
    for parts in (train, [part for part in test if _is_labeled(part)]):
        listings.append([entry for part in parts for entry in _listing(part)])
    classes = in_order({name for listing in listings for _, name in listing})
    if not 2 <= len(classes) <= MAX_CLASSES:
        found = sum(len(visible_subfolders(part)) for part in train + test)
        raise DatasetError(
            f"{joined(train + test)}: {plural(max(found, len(classes)), 'subfolder')}; provide one "
            f"per class, at least 2 and at most {MAX_CLASSES}, or list the images in a labels.csv"
            + _contents_of([*train, *test])
        )
    if len(train) > 1:
        print(f"{printable(joined(train))} are both used for training", file=sys.stderr)
    if test and not listings[1]:
        print(
            f"{printable(joined(test))}: the images have no labels and are not used",
            file=sys.stderr,
        )
    splits = [
        _split(parts, listing, classes)
        for parts, listing in zip((train, test), listings, strict=True)
    ]
    return RawDataSet(
        name_of(folder), tuple(classes), splits[0], splits[1] if listings[1] else None
    )


def read_tables(folder: Path, tables: list[Path]) -> RawDataSet:
    """Read images whose labels are listed in tables, which may be divided by their names."""
    train, test, other = divide(tables)
    if not train:
        train, test = (other, test) if other else (test, [])
    elif other:
        print(f"{printable(joined(other))}: not used", file=sys.stderr)
    listings = [
        [entry for table in part for entry in label_table.read(table)] for part in (train, test)
    ]
    classes = in_order({name for listing in listings for _, name in listing})
    splits = [
        _split(part, listing, classes)
        for part, listing in zip((train, test), listings, strict=True)
    ]
    return RawDataSet(name_of(folder), tuple(classes), splits[0], splits[1] if test else None)


def _split(parts: Sequence[Path], listing: Listing, classes: Sequence[str]) -> RawSplit:
    index = {name: n for n, name in enumerate(classes)}
    labels = np.array([index[name] for _, name in listing], np.int64)
    return RawSplit(joined(parts), [file for file, _ in listing], labels)


def in_order(names: set[str]) -> list[str]:
    """Return class names sorted; in numerical order if all of them are whole numbers."""
    if all(name.isdecimal() for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def _parts(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return (folders of training images, folders of test images).

    If fewer than two subfolders have the names of such parts, this is ([folder], []).
    """
    subfolders = visible_subfolders(folder)
    train, test, other = divide(subfolders)
    if len(train + test) < 2:
        return [folder], []
    if not train or other:
        names = ", ".join(part.name for part in subfolders)
        raise DatasetError(
            f"{folder} is divided into {names}; divide it into train, test and optionally val, "
            "and remove other folders"
        )
    return train, test


def unwrapped(folder: Path) -> Path:
    """Return the folder inside folders that contain nothing but one folder of folders.

    Archives add such folders: `trainingSet/trainingSet/0`, `archive/letters/A`. A folder with one
    class is not opened, unless it repeats the name of its parent.
    """
    for _ in range(_MAX_LEVELS):
        subfolders = visible_subfolders(folder)
        files = (path for path in folder.iterdir() if is_visible_file(path))
        if len(subfolders) != 1 or any(path.suffix.lower() in IMAGE_SUFFIXES for path in files):
            break
        (inner,) = subfolders
        if inner.name != folder.name and not any(path.is_dir() for path in inner.iterdir()):
            break
        folder = inner
    return folder


def _is_labeled(part: Path) -> bool:
    part = unwrapped(part)
    return bool(visible_subfolders(part) or label_table.tables(part) or _label_prefixes(part))


def _listing(part: Path) -> Listing:
    """Return the files of a part of the data set, with the names of their classes."""
    part = unwrapped(part)
    if tables := label_table.tables(part):
        return [entry for table in tables for entry in label_table.read(table)]
    subfolders = visible_subfolders(part)
    if not subfolders and _label_prefixes(part):
        names = _label_prefixes(part)
        print(
            f"{printable(str(part))}: the labels are the beginnings of the file names: "
            f"{printable(', '.join(in_order(names)[:_LISTED_NAMES]))} …",
            file=sys.stderr,
        )
        return [
            (file, match["short"] or match["word"])
            for file in visible_files(part)
            if (match := _LABEL_PREFIX.fullmatch(file.name))
        ]
    level = _class_level(part)
    if level > 1:
        outer = [path.name for path in subfolders]
        print(
            f"{printable(str(part))}: the classes are the innermost folders; the "
            f"{plural(len(outer), 'folder')} above them ({printable(_named(outer))}) are joined "
            "and divided at random",
            file=sys.stderr,
        )
    folders = _folders_at(part, level)
    by_name = defaultdict(list)
    for path in folders:
        by_name[path.name].append(path)
    return [
        (file, name)
        for name in in_order(set(by_name))
        for path in by_name[name]
        for file in visible_files(path)
    ]


def _class_level(folder: Path) -> int:
    """Return the level of subfolders whose names are the classes: 1, or deeper if names repeat.

    In `writer/digit/*.png`, the folders on level 2 have the same names in each writer. They are the
    classes if their names look more like classes than those on level 1: digits or single letters.

    Raises:
        DatasetError: the names of both levels look like classes, or neither.
    """
    scores = {1: _looks_like_classes({path.name for path in visible_subfolders(folder)})}
    for level in range(2, _MAX_LEVELS):
        paths = _folders_at(folder, level)
        counts = Counter(path.name for path in paths)
        repeated = [name for name, count in counts.items() if count > 1]
        if len(repeated) >= 2 and 2 * len(repeated) >= len(counts):
            scores[level] = _looks_like_classes(set(counts))
    best = max(scores.values())
    levels = [level for level, score in scores.items() if score == best]
    if len(levels) > 1:
        outer = [path.name for path in _folders_at(folder, levels[0])]
        inner = sorted({path.name for path in _folders_at(folder, levels[1])})
        raise DatasetError(
            f"{folder}: the folders {_named(outer)} have the same subfolders {_named(inner)}, and "
            "either could be the classes; keep one level of folders with one folder per class, or "
            "list the images in a labels.csv with the columns file and label"
        )
    return levels[0]


def _looks_like_classes(names: set[str]) -> int:
    """Return how surely folder names are classes: 3 for all ten digits, 0 for words."""
    if names >= _DIGITS:
        return 3
    if all(len(name) == 1 for name in names):
        return 2
    return 1 if all(name.isdecimal() and len(name) <= 2 for name in names) else 0


def _folders_at(folder: Path, level: int) -> list[Path]:
    """Return the visible folders on a level below a folder, sorted; links are followed once."""
    paths = [folder]
    for depth in range(level):
        paths = [
            inner
            for path in paths
            if depth < 2 or not path.is_symlink()
            for inner in visible_subfolders(path)
        ]
    return paths


def _label_prefixes(folder: Path) -> set[str]:
    """Return the labels that the file names begin with, if all images have one and labels repeat.

    Camera names such as `IMG_0001.jpg` do not begin with a digit or a single letter.
    """
    images = [path for path in visible_files(folder) if path.suffix.lower() in IMAGE_SUFFIXES]
    matches = [_LABEL_PREFIX.fullmatch(path.name) for path in images]
    counts = Counter(match["short"] or match["word"] for match in matches if match)
    if not all(matches) or len(counts) < 2 or min(counts.values()) < MIN_PER_CLASS:
        return set()
    return set(counts)


def _named(names: Sequence[str]) -> str:
    """Return the first names as text."""
    more = ", …" if len(names) > _LISTED_NAMES else ""
    return ", ".join(names[:_LISTED_NAMES]) + more


def _contents_of(folders: Sequence[Path]) -> str:
    """Return the kinds of files in folders, for a message: `; found 3 .pdf, 1 .txt`."""
    counts = Counter(
        path.suffix.lower() or "files without suffix"
        for folder in folders
        for path in folder.iterdir()
        if is_visible_file(path)
    )
    kinds = [f"{count:,} {suffix}" for suffix, count in counts.most_common(_LISTED_NAMES)]
    return f" (found {', '.join(kinds)})" if kinds else ""


def visible_subfolders(folder: Path) -> list[Path]:
    """Return the subfolders, sorted, without hidden ones."""
    return [p for p in sorted(folder.iterdir()) if p.is_dir() and not p.name.startswith(_HIDDEN)]


def is_visible_file(path: Path) -> bool:
    """Return whether a path is a file that is not hidden."""
    return path.is_file() and not path.name.startswith(".")


def visible_files(folder: Path) -> list[Path]:
    """Return the files in a folder and its subfolders, sorted, without hidden ones."""
    return [p for p in sorted(folder.rglob("*")) if is_visible_file(p)]
