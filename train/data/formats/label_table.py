"""Reads `labels.csv` beside images: rows of a file name and a label.

The table may also be `metadata.jsonl`, as Hugging Face's image folders have it, or have one column
per class with a 1 for the class of the image, as Roboflow exports it.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from itertools import islice
from pathlib import Path, PurePosixPath, PureWindowsPath

from runtime.errors import DatasetError
from train.data.formats import text_file

JSON_LINES = ".jsonl"
_NOT_LABELS = "submission"  # Kaggle's sample_submission.csv has an arbitrary label for each image
# Names of the column of labels in lower case, the most certain first. The other names are those of
# columns of numbers, which may be a class or an identifier.
LABEL_NAMES = (
    "label", "labels", "class", "class_name", "classname", "category", "target", "digit", "letter",
    "character", "char", "text", "word", "y", "class_id", "label_id", "species", "value", "choice",
)  # fmt: skip
_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm")
_MAX_COLUMNS = 1100  # a file name, other columns and one column per class
_MAX_ROWS = 5_000_000
_TRIED_ROWS = 20  # from the start: the column of file names is the one whose files exist
_LISTED = 3  # missing files that a message names

Rows = list[list[str]]


def tables(folder: Path) -> list[Path]:
    """Return the tables in a folder that list existing images, sorted."""
    found = []
    for path in sorted(folder.iterdir()):
        is_json = path.suffix.lower() == JSON_LINES
        if path.name.startswith(".") or _NOT_LABELS in path.name.lower():
            continue
        if not (is_json or text_file.is_table(path)):
            continue
        if path.is_file() and _lists_images(path):
            found.append(path)
    return found


def _lists_images(path: Path) -> bool:
    rows = _rows(path, _TRIED_ROWS + 1)
    files = _Files(path.parent)
    return bool(rows) and _file_column(rows, files) is not None


def read(path: Path) -> list[tuple[Path, str]]:
    """Read a table and return each image with its label.

    Args:
        path: a table that `tables` returned. File names are relative to its folder or to any
            folder below it, and may lack their suffix.

    Raises:
        DatasetError: the table has no labels, several columns could be the labels, an image is
            missing or outside the folder, or a row has another number of cells than the first.
    """
    rows = _rows(path, _MAX_ROWS + 1)
    if len(rows) > _MAX_ROWS:
        raise DatasetError(f"{path} has more than {_MAX_ROWS:,} rows; divide it")
    files = _Files(path.parent)
    column = _file_column(rows[: _TRIED_ROWS + 1], files) if rows else None
    if column is None:
        raise DatasetError(
            f"{path}: no column names images of its folder; provide the columns "
            "file and label, or label and one column per pixel"
        )
    header = None if files.find(rows[0][column]) else rows.pop(0)
    for number, row in enumerate(rows, start=1 if header is None else 2):
        if len(row) != len(rows[0]) or (header is not None and len(row) != len(header)):
            raise DatasetError(
                f"{path}: row {number} has {len(row)} cells, the first has "
                f"{len(rows[0] if header is None else header)}; correct it, or quote cells that "
                "contain the separator"
            )
    labels = _labels(path, header, rows, column)
    listing, missing = [], []
    for row, label in zip(rows, labels, strict=True):
        file = files.find(row[column])
        if file is None:
            missing.append(row[column])
        elif not label:
            raise DatasetError(f"{path}: {row[column]} has no label; add it or remove the row")
        else:
            listing.append((file, label))
    _check_folders(path, listing)
    if missing:
        raise DatasetError(
            f"{path}: {len(missing):,} of {len(rows):,} images are not in {path.parent}: "
            f"{', '.join(missing[:_LISTED])}; copy them there, or remove their rows"
        )
    return listing


def _check_folders(path: Path, listing: Sequence[tuple[Path, str]]) -> None:
    """Raise DatasetError if the images are in folders of the classes, but of other ones.

    Such a table may contain the predictions of a model.
    """
    folders = {file.parent.name for file, _ in listing}
    if len(folders) < 2 or 2 * len(folders & {label for _, label in listing}) < len(folders):
        return
    other = [(file, label) for file, label in listing if file.parent.name != label]
    if other:
        file, label = other[0]
        raise DatasetError(
            f"{path}: {len(other):,} of {len(listing):,} labels differ from the folder of the "
            f"image, such as {label} for {file.relative_to(path.parent)}; remove the table, or "
            "move the images into one folder"
        )


def _rows(path: Path, limit: int) -> Rows:
    """Return at most `limit` rows; an empty list if the table has too many or too few columns."""
    rows: Rows = []
    with text_file.opened(path) as file:
        lines = text_file.lines(path, file)
        if path.suffix.lower() == JSON_LINES:
            return _json_rows(path, [line for line, _ in zip(lines, range(limit), strict=False)])
        separator = None
        for line in lines:
            separator = separator or text_file.separator_of(line)
            row = text_file.cells_of(line, separator)
            if not rows and not 2 <= len(row) <= _MAX_COLUMNS:
                return []
            rows.append(row)
            if len(rows) == limit:
                break
    return rows


def _json_rows(path: Path, lines: list[str]) -> Rows:
    try:
        records = [json.loads(line) for line in lines]
    except (ValueError, RecursionError):
        raise DatasetError(
            f"{path} is not JSON Lines; write one object with file_name and label per line"
        ) from None
    if not records or not all(isinstance(record, dict) for record in records):
        return []
    header = list(records[0])
    rows = [header]
    for record in records:
        cells = [record.get(name) for name in header]
        rows.append(["" if cell is None else str(cell) for cell in cells])
    return rows


class _Files:
    """Finds the images that a table in a folder names, without leaving the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._by_name: dict[str, list[Path]] | None = None

    def find(self, text: str) -> Path | None:
        """Return the path of the image that a cell names; None if there is none or several."""
        if not text or len(text) > 500:
            return None
        name = PureWindowsPath(text).as_posix() if "\\" in text else text
        parts = [part for part in PurePosixPath(name).parts if part not in (".", "/")]
        if not parts or ".." in parts or ":" in parts[0]:
            return None
        direct = self._folder.joinpath(*parts)
        if direct.is_file() and direct.suffix.lower() in _IMAGE_SUFFIXES:
            return direct
        if self._by_name is None:
            self._by_name = defaultdict(list)
            for path in sorted(islice(self._folder.rglob("*"), _MAX_ROWS)):
                if path.suffix.lower() in _IMAGE_SUFFIXES and path.is_file():
                    self._by_name[path.name].append(path)
                    self._by_name[path.stem].append(path)
        found = self._by_name.get(parts[-1], [])
        if len(found) > 1:  # the same name in several folders
            found = [path for path in found if list(path.parts[-len(parts) :]) == parts]
        return found[0] if len(found) == 1 else None


def _file_column(rows: Rows, files: _Files) -> int | None:
    """Return the column in which most of the tried rows name different images; None without one."""
    tried = rows[1:] or rows
    counts = [
        len({files.find(row[column]) for row in tried if column < len(row)} - {None})
        for column in range(len(rows[0]))
    ]
    best = max(counts)
    return counts.index(best) if 2 * best > len(tried) else None


def _labels(path: Path, header: list[str] | None, rows: Rows, column: int) -> Sequence[str]:
    """Return the label of each row."""
    width = len(rows[0]) if rows else 0
    others = [n for n in range(width) if n != column]
    if header is not None:
        lower = [name.strip().lower() for name in header]
        for name in LABEL_NAMES:
            if name in lower and lower.index(name) != column:
                return [row[lower.index(name)] for row in rows]
    if len(others) == 1:
        return [row[others[0]] for row in rows]
    if header is not None and all(
        sorted(row[n] for n in others) == ["0"] * (len(others) - 1) + ["1"] for row in rows
    ):
        return [header[next(n for n in others if row[n] == "1")] for row in rows]
    names = [str(n) for n in others] if header is None else [header[n] for n in others]
    raise DatasetError(
        f"{path}: the column of labels is ambiguous ({', '.join(names[:10])}); name it label in "
        "the first row"
    )
