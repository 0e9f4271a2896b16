"""Reads images from Parquet files: a column of encoded images, or Hugging Face's `image` struct."""

from collections.abc import Iterator

import pyarrow
import pyarrow.parquet
from pyarrow import types

from runtime.bulk import storage
from runtime.errors import EdgeError, ImageError

SUFFIX = ".parquet"
_STRUCT_FIELD = "bytes"  # of Hugging Face's image: {"bytes": binary, "path": string}
_USUAL_NAMES = ("image", "img")  # preferred if several columns could be images
_BATCH_ROWS = 64  # read at a time: their images are in memory together


def is_parquet(path: str) -> bool:
    """Return whether a file is Parquet, by its suffix."""
    return path.lower().endswith(SUFFIX)


def count(path: str, column: str | None) -> int:
    """Return the number of rows of a Parquet file.

    Args:
        path: a local path or an S3 URL.
        column: the value of --column.

    Raises:
        ImageError: the file is missing or damaged.
        EdgeError: it has no column of images, or several.
    """
    with storage.open_parquet(path) as file:
        _column_of(path, file.schema_arrow, column)
        return int(file.metadata.num_rows)


def read(path: str, column: str | None, rows: list[int]) -> Iterator[bytes | None]:
    """Yield the encoded images of rows; None for a row without one.

    Row groups without any of the rows are skipped.

    Args:
        path: a local path or an S3 URL.
        column: the value of --column.
        rows: numbers of rows, ascending.

    Raises:
        ImageError: the file is missing or damaged, or has fewer rows.
        EdgeError: it has no column of images, or several; or S3 cannot be reached.
    """
    with storage.open_parquet(path) as file:
        name = _column_of(path, file.schema_arrow, column)
        if rows[-1] >= file.metadata.num_rows:
            raise ImageError(
                f"{path}: has {file.metadata.num_rows:,} rows now, fewer than when its images were "
                "listed; classify it into another --out"
            )
        wanted = set(rows)
        start = 0  # row number of the row group's first row
        try:
            for group in range(file.metadata.num_row_groups):
                end = start + file.metadata.row_group(group).num_rows
                if start <= rows[-1] and end > rows[0]:
                    yield from _read_group(file, group, name, start, wanted, rows[-1])
                start = end
        except (pyarrow.ArrowException, OSError) as error:
            if storage.is_outage(error):
                raise storage.unreachable(path, error) from error
            raise ImageError(
                f"{path}: damaged ({' '.join(str(error).split())[:200]}); copy it again"
            ) from error


def _read_group(
    file: pyarrow.parquet.ParquetFile,
    group: int,
    column: str,
    start: int,
    wanted: set[int],
    last: int,
) -> Iterator[bytes | None]:
    """Yield the images of the wanted rows in a row group that begins with row `start`."""
    batches = file.iter_batches(
        _BATCH_ROWS, row_groups=[group], columns=[column], use_threads=False
    )
    for batch in batches:
        places = [n for n in range(len(batch)) if start + n in wanted]
        start += len(batch)
        if places:
            for value in batch.column(0).take(pyarrow.array(places)).to_pylist():
                yield value.get(_STRUCT_FIELD) if isinstance(value, dict) else value
        if start > last:
            return


def _column_of(path: str, schema: pyarrow.Schema, column: str | None) -> str:
    """Return the name of the column of images.

    Raises:
        EdgeError: there is none, or several, or `column` is not one.
    """
    found = [field.name for field in schema if _holds_images(field.type)]
    if column is not None:
        if column in found:
            return column
        names = ", ".join(found) or "none"
        raise EdgeError(
            f"{path}: --column {column} is not a column of images; columns with binary values: "
            f"{names}"
        )
    if not found:
        raise EdgeError(
            f"{path}: has no column of encoded images (binary values, or Hugging Face's structs); "
            "leave the file out of SOURCE"
        )
    usual = [name for name in _USUAL_NAMES if name in found]
    if len(found) > 1 and not usual:
        raise EdgeError(
            f"{path}: several columns could have the images: pass one of them with --column: "
            f"{', '.join(found)}"
        )
    return (usual or found)[0]


def _holds_images(kind: pyarrow.DataType) -> bool:
    if types.is_struct(kind):
        place = kind.get_field_index(_STRUCT_FIELD)
        return place >= 0 and _holds_images(kind.field(place).type)
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))
