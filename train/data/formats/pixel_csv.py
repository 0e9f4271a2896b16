"""Reads CSV files of pixels: one image per row, a label and one value per pixel.

Kaggle's `train.csv` has a header and the label first; OpenML's `mnist_784.csv` has the label last;
EMNIST's files have no header and transposed images.
"""

import math
import re
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime.errors import DatasetError, printable
from train.data.formats import emnist, text_file
from train.data.formats.arrays import MAX_BYTES, index_labels, labels_of, to_levels
from train.data.formats.label_table import LABEL_NAMES
from train.data.formats.parts import divide, name_of, part_of
from train.data.raw import RawDataSet, RawSplit

_MIN_PIXELS = 64  # of an image, 8 × 8; tables of features have fewer columns
_MAX_PIXELS = 1 << 18  # 512 × 512
_MAX_ROWS = 5_000_000
_CHUNK_ROWS = 2000  # parsed at a time
# Names of columns of pixels: pixel0, 1x1, px_3, 0, V1; the other columns are labels.
_PIXEL_NAME = re.compile(r"(pixels?|px|p|x|v|f|feature|att|attr|col)?[ _.-]*\d+([x_.]\d+)?", re.I)

Table = tuple[npt.NDArray[np.uint8], npt.NDArray[np.generic]]  # images, labels


def is_pixel_table(path: Path) -> bool:
    """Return whether a table has enough columns for images of pixels."""
    return path.is_file() and text_file.is_table(path) and _width(path) >= _MIN_PIXELS


def _width(path: Path) -> int:
    with text_file.opened(path) as file:
        first = next(text_file.lines(path, file), "")
    return first.count(text_file.separator_of(first)) + 1


def read(path: Path) -> RawDataSet:
    """Read a CSV file of pixels, and the file of test images beside it, or a folder of them.

    Args:
        path: the file; or a folder with one file, or with files whose names contain the words
            train and test. A file of test images that has no labels is not used; stderr says so.

    Raises:
        DatasetError: a file is damaged or not a table of square images, or has no labels.
    """
    folder = path if path.is_dir() else path.parent
    names = [other for other in sorted(folder.iterdir()) if is_pixel_table(other)]
    train, test, other = divide(names)
    if path.is_file():
        partner = [each for each in test if _without_part(each) == _without_part(path)]
        train, test = [path], partner if part_of(path.name) == "train" else []
    elif not train:
        train, test = (other, test) if other else (test, [])
    if len(train) > 1 or len(test) > 1:
        files = ", ".join(each.name for each in (train if len(train) > 1 else test))
        raise DatasetError(f"{folder} contains {files}; pass the path of one of them")
    tables = [_read_table(train[0])]
    if test:
        if _is_labeled(test[0]):
            tables.append(_read_table(test[0]))
        else:
            print(
                f"{printable(str(test[0]))}: the images have no labels and are not used",
                file=sys.stderr,
            )
    labels, indices = index_labels([labels for _, labels in tables])
    split = emnist.split_of(train[0].name)
    splits = [
        RawSplit(str(source), images if split is None else emnist.upright(images), index)
        for source, (images, _), index in zip(train + test, tables, indices, strict=False)
    ]
    if split is not None:
        labels = emnist.class_names(train[0].parent, split, labels)
    name = path.name.split(".")[0] if path.is_file() else name_of(path)
    return RawDataSet(name, labels, splits[0], splits[1] if len(splits) > 1 else None)


def _without_part(path: Path) -> str:
    return re.sub("train(ing)?|test(ing)?", "", path.name.lower())


def _is_labeled(path: Path) -> bool:
    """Return whether a table has a column of labels: without it, the columns make a square."""
    with text_file.opened(path) as file:
        lines = text_file.lines(path, file)
        first = next(lines, "")
    cells = text_file.cells_of(first, text_file.separator_of(first))
    if any(cell.lower() in LABEL_NAMES for cell in cells):
        return True
    return _side(len(cells)) is None


def _side(pixels: int) -> tuple[int, ...] | None:
    """Return (side, side) or (side, side, 3) of a square image with this number of values."""
    for channels in ((), (3,)):
        count = pixels // 3 if channels else pixels
        side = math.isqrt(count)
        if side * side * (3 if channels else 1) == pixels:
            return (side, side, *channels)
    return None


def _read_table(path: Path) -> Table:
    """Read the images and labels of a file.

    Raises:
        DatasetError: see `read`.
    """
    with text_file.opened(path) as file:
        lines = text_file.lines(path, file)
        head = list(islice(lines, _CHUNK_ROWS))
        separator = text_file.separator_of(head[0]) if head else ","
        first = text_file.cells_of(head[0], separator) if head else []
        header = first if _is_header(first) else None
        if header is not None:
            head = head[1:]
        if not head:
            raise DatasetError(f"{path} has no rows of images; export it again")
        label, columns = _columns(path, header, head, separator)
        shape = _side(len(columns))
        if shape is None or not _MIN_PIXELS <= len(columns) <= _MAX_PIXELS:
            raise DatasetError(
                f"{path}: {len(first)} columns are not a label and the pixels of a square image; "
                "write a label and height · width values per row"
            )
        parts, labels, size, number = [], [], 0, 1 if header is None else 2
        while head:
            try:
                values = np.loadtxt(
                    head,
                    np.float32,
                    comments=None,
                    delimiter=separator,
                    usecols=columns,
                    ndmin=2,
                    quotechar='"',
                )
            except ValueError as error:
                raise DatasetError(
                    f"{path}: a row from line {number} on is not a label and {len(columns)} "
                    f"numbers ({error}); correct it"
                ) from None
            labels += [_cell(line, separator, label, len(first)) for line in head]
            if any(line.count(separator) != len(first) - 1 for line in head if '"' not in line):
                raise DatasetError(
                    f"{path}: a row from line {number} on has not {len(first)} cells as the first; "
                    "correct it"
                )
            is_level = (values >= 0) & (values <= 255) & (values == np.rint(values))
            parts.append(values.astype(np.uint8) if is_level.all() else values)
            size += parts[-1].nbytes
            if size > MAX_BYTES or number > _MAX_ROWS:
                raise DatasetError(
                    f"{path} has more than {MAX_BYTES} bytes of pixels or {_MAX_ROWS:,} rows; "
                    "divide it, or write whole numbers from 0 to 255"
                )
            number += len(head)
            head = list(islice(lines, _CHUNK_ROWS))
    images = np.concatenate(parts)
    return (
        to_levels(str(path), images).reshape(-1, *shape),
        labels_of(f"{path}: labels", _typed(np.array(labels))),
    )


def _is_header(cells: list[str]) -> bool:
    """Return whether a row contains names; a label may be text in any row, but not a pixel."""
    ends = cells[:1] + cells[-1:]
    return any(cell.lower() in LABEL_NAMES for cell in ends) or any(
        not _is_number(cell) for cell in cells[1:-1]
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _cell(line: str, separator: str, column: int, columns: int) -> str:
    """Return one cell of a line; fast for the first and the last."""
    if '"' in line:
        return text_file.cells_of(line, separator)[column]
    if column == 0:
        return line.split(separator, 1)[0].strip()
    if column == columns - 1:
        return line.rsplit(separator, 1)[-1].strip()
    return line.split(separator, column + 1)[column].strip()


def _typed(labels: npt.NDArray[np.str_]) -> npt.NDArray[np.generic]:
    """Return labels as numbers if all of them are whole numbers, such as 7 or 7.0."""
    try:
        numbers = labels.astype(np.float64)
    except ValueError:
        return labels
    return numbers if np.array_equal(numbers, np.rint(numbers)) else labels


def _columns(
    path: Path, header: list[str] | None, rows: list[str], separator: str
) -> tuple[int, list[int]]:
    """Return the column of labels and the columns of pixels.

    Raises:
        DatasetError: there is no column of labels, or several columns could be it.
    """
    if header is None:
        cells = [text_file.cells_of(row, separator) for row in rows[:_CHUNK_ROWS]]
        width = len(cells[0])
        if _side(width) is not None and _side(width - 1) is None:
            raise DatasetError(
                f"{path} has {width} columns of pixels and no labels; pass the file of the "
                "training images"
            )
        # The corner of an image is usually constant, the label is not.
        label = 0 if len({row[0] for row in cells}) > 1 or len(rows) == 1 else width - 1
        return label, [n for n in range(width) if n != label]
    lower = [name.strip().lower() for name in header]
    pixels = [n for n, name in enumerate(lower) if _PIXEL_NAME.fullmatch(name)]
    others = [n for n in range(len(lower)) if n not in set(pixels)]
    named = [lower.index(name) for name in LABEL_NAMES if name in lower]
    if named or len(others) == 1:
        label = named[0] if named else others[0]
        if len(pixels) < _MIN_PIXELS:
            pixels = [n for n in range(len(lower)) if n != label]
        return label, pixels
    if not others:
        raise DatasetError(
            f"{path} has {len(lower)} columns of pixels and no column label; pass the file of the "
            "training images"
        )
    names = ", ".join(header[n] for n in others[:5])
    raise DatasetError(f"{path}: the column of labels is ambiguous ({names}); name it label")
