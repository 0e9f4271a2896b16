"""Reads the images of a listing's entries, in their order and with a bounded number in memory.

Local files are left to the worker that classifies them.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby

from runtime.bulk import parquet_images, storage
from runtime.bulk.rows import Item
from runtime.bulk.sources import Entry
from runtime.cli.inputs import Found, PipedImage, UnreadablePath
from runtime.errors import ImageError

_THREADS = 16  # S3 objects that are read at a time
_READ_AHEAD = 64  # S3 objects that are read or waiting


def read(entries: Iterable[Entry], column: str | None) -> Iterator[Item]:
    """Yield each image; one that cannot be read is replaced by its error.

    Args:
        entries: from the listing. Rows of one Parquet file are read together.
        column: the column of images in Parquet files; None finds it.

    Raises:
        EdgeError: S3 cannot be reached, or a Parquet file lost its column of images.
    """
    for kind, group in groupby(entries, _kind):
        if kind is _whole:
            yield from map(_whole, group)
        elif kind is _object:
            yield from _objects(group)
        else:
            for path, rows in groupby(group, lambda entry: entry.file):
                yield from _rows(path, list(rows), column)


def _kind(entry: Entry) -> object:
    if entry.error is None and entry.row >= 0:
        return _rows
    return _object if entry.error is None and storage.is_remote(entry.file) else _whole


def _whole(entry: Entry) -> Item:
    if entry.error is not None:
        return Item(entry, UnreadablePath(entry.file, entry.error))
    name = storage.to_name(entry.file)
    if os.path.exists(name) and not (os.path.isfile(name) or os.path.isdir(name)):
        # Reading a pipe could wait for ever.
        return Item(entry, UnreadablePath(entry.file, f"{entry.file}: not a regular file"))
    return Item(entry, name)


def _object(entry: Entry) -> Item:
    image: Found
    try:
        image = PipedImage(entry.file, storage.read_bytes(entry.file))
    except ImageError as error:
        image = UnreadablePath(entry.file, str(error))
    return Item(entry, image)


def _objects(entries: Iterable[Entry]) -> Iterator[Item]:
    waiting: deque[Future[Item]] = deque()
    with ThreadPoolExecutor(_THREADS) as threads:
        for entry in entries:
            waiting.append(threads.submit(_object, entry))
            if len(waiting) == _READ_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _rows(path: str, entries: Sequence[Entry], column: str | None) -> Iterator[Item]:
    """Yield the images of some rows of a Parquet file."""
    read = 0  # rows that were read before an error
    try:
        for data in parquet_images.read(path, column, [entry.row for entry in entries]):
            entry = entries[read]
            read += 1
            if data:
                yield Item(entry, PipedImage(entry.key, data))
            else:
                yield Item(entry, UnreadablePath(entry.key, f"{entry.key}: has no image"))
    except ImageError as error:
        for entry in entries[read:]:
            yield Item(entry, UnreadablePath(entry.key, str(error)))
