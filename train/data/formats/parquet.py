"""Reads Parquet files of encoded images and labels, as Hugging Face stores data sets.

The column of images has structs with the field `bytes`, or binary values. The names of the classes
come from the file's metadata. pyarrow is imported only here.
"""

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from runtime.errors import DatasetError, printable
from train.data.formats.arrays import MAX_BYTES, Array, index_labels, labels_of
from train.data.formats.label_table import LABEL_NAMES
from train.data.formats.parts import divide, name_of, part_of
from train.data.raw import RawDataSet, RawSplit

if TYPE_CHECKING:
    import pyarrow

SUFFIX = ".parquet"
_IMAGE_NAMES = ("image", "img", "picture")  # preferred if several columns could be images
_STRUCT_FIELD = "bytes"  # of Hugging Face's image: {"bytes": binary, "path": string}
_BATCH_ROWS = 64  # read at a time; fewer if the file has large columns
_BATCH_BYTES = 1 << 28
_MAX_ROWS = 5_000_000
_SHARD = re.compile(r"-\d+-of-\d+")  # in the name of one file of several
_METADATA_KEY = b"huggingface"

# Encoded images, labels as stored, and the names of the classes or None.
_Table = tuple[list[bytes], Array, list[str] | None]


def read(path: Path) -> RawDataSet:
    """Read Parquet files, divided into training and test images by their names or not.

    Args:
        path: a file, or a folder of files such as `train-00000-of-00002.parquet`. With one of
            several files, all of them are read; with training images, the test images too.

    Raises:
        DatasetError: pyarrow is not installed, a file is damaged or too large, or it has no images
            or no labels.
    """
    folder = path if path.is_dir() else path.parent
    files = sorted(
        file for file in folder.iterdir() if file.suffix.lower() == SUFFIX and file.is_file()
    )
    train, test, other = divide(files)
    if path.is_file():
        train = [file for file in files if _SHARD.sub("", file.name) == _SHARD.sub("", path.name)]
        test = test if part_of(path.name) == "train" else []
    elif not train:
        train, test = (other, test) if other else (test, [])
    tables = [_read_files(part) for part in (train, test) if part]
    values = [labels for _, labels, _ in tables]
    names, indices = index_labels(values)
    if stored := tables[0][2]:
        if not all(name.isdecimal() and int(name) < len(stored) for name in names):
            raise DatasetError(
                f"{path}: a label is not one of the {len(stored)} classes of the metadata; save "
                "the file again"
            )
        names = tuple(stored[int(name)] for name in names)
    splits = [
        RawSplit(str(part[0]), images, labels)
        for part, (images, _, _), labels in zip((train, test), tables, indices, strict=False)
    ]
    name = path.name.split(".")[0] if path.is_file() else name_of(path)
    return RawDataSet(name, names, splits[0], splits[1] if len(splits) > 1 else None)


def _read_files(files: list[Path]) -> _Table:
    images: list[bytes] = []
    labels: list[Array] = []
    names: list[str] | None = None
    for file in files:
        more, values, names = _read_file(file)
        images += more
        labels.append(values)
        if sum(map(len, images)) > MAX_BYTES:
            raise _too_large(file)
    return images, np.concatenate(labels), names


def _too_large(path: Path) -> DatasetError:
    return DatasetError(
        f"{path} has more than {_MAX_ROWS:,} rows or {MAX_BYTES} bytes; divide it into smaller "
        "data sets"
    )


def _read_file(path: Path) -> _Table:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise DatasetError(
            f'{path}: reading Parquet needs pyarrow; pip install "digit-edge[bulk]"'
        ) from error
    images: list[bytes] = []
    labels: list[Any] = []
    empty = size = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            image, label = _columns(path, file.schema_arrow)
            unpacked = sum(
                file.metadata.row_group(group).total_byte_size
                for group in range(file.metadata.num_row_groups)
            )
            if file.metadata.num_rows > _MAX_ROWS or unpacked > MAX_BYTES:
                raise _too_large(path)
            names = _class_names(file.schema_arrow, label)
            # A value of a dictionary is stored once and may be repeated in every row.
            rows = min(max(_BATCH_BYTES // max(unpacked, 1), 1), _BATCH_ROWS)
            for batch in file.iter_batches(rows, columns=[image, label], use_threads=False):
                size += batch.nbytes
                if size > MAX_BYTES:
                    raise _too_large(path)
                columns = (batch.column(batch.schema.get_field_index(n)) for n in (image, label))
                for value, target in zip(*(c.to_pylist() for c in columns), strict=True):
                    encoded = value.get(_STRUCT_FIELD) if isinstance(value, dict) else value
                    if not encoded or target is None or target == -1:
                        empty += 1
                        continue
                    images.append(encoded)
                    labels.append(target)
    except (pyarrow.ArrowException, OSError) as error:
        detail = " ".join(str(error).split())[:200]
        raise DatasetError(
            f"{path} is not Parquet or is damaged ({detail}); copy it again"
        ) from None
    if empty:
        print(
            f"{printable(str(path))}: {empty:,} rows without an image or a label are not used",
            file=sys.stderr,
        )
    if not images:
        raise DatasetError(f"{path} has no rows with an image and a label; pass the training data")
    return images, labels_of(f"{path}: {label}", np.array(labels)), names


def _columns(path: Path, schema: "pyarrow.Schema") -> tuple[str, str]:
    """Return the names of the columns of images and of labels.

    Raises:
        DatasetError: there is none.
    """
    from pyarrow import types

    def has_images(kind: "pyarrow.DataType") -> bool:
        if types.is_struct(kind):
            place = kind.get_field_index(_STRUCT_FIELD)
            return place >= 0 and has_images(kind.field(place).type)
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    def has_labels(kind: "pyarrow.DataType") -> bool:
        if types.is_dictionary(kind):
            kind = kind.value_type
        return bool(types.is_integer(kind) or types.is_string(kind) or types.is_large_string(kind))

    images = [field.name for field in schema if has_images(field.type)]
    labels = [field.name for field in schema if has_labels(field.type)]
    lower = {name.lower(): name for name in reversed(labels)}
    named = [lower[name] for name in LABEL_NAMES if name in lower]
    if not images or not (named or len(labels) == 1):
        found = ", ".join(f"{field.name} ({field.type})" for field in schema)[:200]
        raise DatasetError(
            f"{path} has the columns {found}; it needs a column image of encoded images and a "
            "column label of numbers or names"
        )
    usual = [name for name in images if name.lower() in _IMAGE_NAMES]
    return (usual or images)[0], named[0] if named else labels[0]


def _class_names(schema: "pyarrow.Schema", label: str) -> list[str] | None:
    """Return the names of the classes from Hugging Face's metadata; None without them."""
    try:
        content = json.loads((schema.metadata or {})[_METADATA_KEY])
        names = content["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    return [str(name) for name in names] if isinstance(names, list) else None
