"""Turns EMNIST's images upright and names its classes.

G. Cohen et al., "EMNIST: an extension of MNIST to handwritten letters", 2017. The images of its IDX
and CSV files are transposed. Labels are numbers, which `emnist-SPLIT-mapping.txt` maps to
characters.
"""

import re
import string
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime.errors import DatasetError

SPLITS = ("byclass", "bymerge", "balanced", "letters", "digits", "mnist")
_NAME = re.compile(rf"emnist[-_ ]?({'|'.join(SPLITS)})", re.I)
_BY_CLASS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_MERGED = string.digits + string.ascii_uppercase + "abdefghnqrt"  # the other small letters: capital
# Characters of the labels 0, 1, … of each split, if the folder has no mapping.
_CHARACTERS = {
    "byclass": _BY_CLASS,
    "bymerge": _MERGED,
    "balanced": _MERGED,
    "letters": "?" + string.ascii_uppercase,  # labels 1 to 26, for capital and small letters
    "digits": string.digits,
    "mnist": string.digits,
}
_MAX_MAPPING_BYTES = 10_000


def split_of(name: str) -> str | None:
    """Return the split that a file name of EMNIST contains, such as `letters`; None without one."""
    match = _NAME.match(name)
    return match[1].lower() if match else None


def upright(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return images (N, height, width) with both axes exchanged, as a copy."""
    return np.ascontiguousarray(images.swapaxes(1, 2))


def class_names(folder: Path, split: str, labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return the characters of numeric labels.

    Args:
        folder: the folder of the files, which may contain `emnist-SPLIT-mapping.txt`: lines with a
            label and the code points of its characters, of which the first is used.
        split: one of SPLITS.
        labels: the labels as text.

    Raises:
        DatasetError: a label has no character.
    """
    names = {str(n): character for n, character in enumerate(_CHARACTERS[split])}
    path = folder / f"emnist-{split}-mapping.txt"
    if path.is_file():
        try:
            with open(path, encoding="ascii") as file:
                rows = [line.split() for line in file.read(_MAX_MAPPING_BYTES).splitlines()]
            names = {row[0]: chr(int(row[1])) for row in rows if row}
        except (ValueError, IndexError, OverflowError):
            raise DatasetError(
                f"{path} is not lines of a label and a code point; download it again"
            ) from None
    if unknown := [label for label in labels if label not in names]:
        raise DatasetError(f"EMNIST's split {split} has no class {unknown[0]}; download it again")
    return tuple(names[label] for label in labels)
