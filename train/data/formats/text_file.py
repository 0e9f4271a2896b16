"""Opens text files with rows of cells: CSV, other separators, compressed with gzip or not."""

import csv
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from runtime.errors import DatasetError

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
MAX_LINE_CHARACTERS = 1 << 22  # 500,000 values; more is not a row of an image
_SEPARATORS = (",", ";", "\t")  # the first line is divided by the most frequent one
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")  # first bytes of "Unicode text" saved by Excel


def is_table(path: Path) -> bool:
    """Return whether a file is a table, by its suffix."""
    return path.name.lower().endswith(SUFFIXES)


@contextmanager
def opened(path: Path) -> Iterator[IO[str]]:
    """Open a table as UTF-8 text.

    Raises:
        DatasetError: inside the context, the file is not UTF-8, or is damaged.
    """
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError:
        with opener(path, "rb") as binary:
            utf16 = binary.read(2) in _UTF16_MARKS
        found = "UTF-16" if utf16 else "not UTF-8 text"
        raise DatasetError(f"{path} is {found}; save it as CSV UTF-8") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DatasetError(f"{path} is truncated or damaged ({error}); copy it again") from None


def lines(path: Path, file: IO[str]) -> Iterator[str]:
    """Yield the lines that are not blank, without line ends.

    Raises:
        DatasetError: a line is too long, or contains a NUL.
    """
    while line := file.readline(MAX_LINE_CHARACTERS):
        if len(line) == MAX_LINE_CHARACTERS:
            raise DatasetError(
                f"{path}: a line has more than {MAX_LINE_CHARACTERS:,} characters; save one image "
                "per line"
            )
        if "\0" in line:
            raise DatasetError(f"{path} contains NUL and is not text; save it as CSV UTF-8")
        if stripped := line.strip("\r\n"):
            yield stripped


def separator_of(line: str) -> str:
    """Return the separator of the cells: comma, semicolon or tab."""
    return max(_SEPARATORS, key=line.count)


def cells_of(line: str, separator: str) -> list[str]:
    """Divide a line into cells; quotes are removed."""
    if '"' not in line:
        return [cell.strip() for cell in line.split(separator)]
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=separator))]
    except csv.Error:  # a quoted cell is longer than 128 KiB
        return [cell.strip(' "') for cell in line.split(separator)]
