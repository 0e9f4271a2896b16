"""Finds out from the name of a file or folder whether it has training or test images."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

TRAIN = "train"
TEST = "test"
_SUFFIX = r"(set|data|images?|img|imgs|samples?)?"
_WORDS = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+")  # splits trainSet and MNIST_train
# Validation images are used for training, because training holds back validation images itself.
_TRAIN_WORD = re.compile(rf"(train(ing)?|val(id(ation)?)?){_SUFFIX}")
_TEST_WORD = re.compile(rf"(test(ing)?|t10k){_SUFFIX}")
_GENERAL_NAMES = ("raw", "gzip", "data")  # folders that do not name the data set in them

_Named = TypeVar("_Named", str, Path)


def part_of(name: str) -> str | None:
    """Return TRAIN or TEST if one of the name's words says so, otherwise None.

    A word ends at a capital letter or at a character that is not a letter or a digit:
    `trainingSet`, `mnist_test` and `MNIST - JPG - training` are parts, `trainer` is not.
    """
    words = [word.lower() for word in _WORDS.findall(name)]
    train = any(_TRAIN_WORD.fullmatch(word) for word in words)
    test = any(_TEST_WORD.fullmatch(word) for word in words)
    if train == test:
        return None
    return TRAIN if train else TEST


def divide(names: Iterable[_Named]) -> tuple[list[_Named], list[_Named], list[_Named]]:
    """Return (training, test, other) names or paths, each in the order of `names`."""
    found: dict[str | None, list[_Named]] = {TRAIN: [], TEST: [], None: []}
    for name in names:
        found[part_of(name.name if isinstance(name, Path) else name)].append(name)
    return found[TRAIN], found[TEST], found[None]


def joined(paths: Sequence[Path]) -> str:
    """Return the paths as text, separated by "and"."""
    return " and ".join(map(str, paths))


def name_of(folder: Path) -> str:
    """Return the name of a folder, or of the first one above it that names the data set."""
    folder = folder.resolve()
    while folder.parent.name and (
        _TRAIN_WORD.fullmatch(folder.name.lower()) or folder.name.lower() in _GENERAL_NAMES
    ):
        folder = folder.parent
    return folder.name
