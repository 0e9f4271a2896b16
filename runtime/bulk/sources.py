"""Finds the images of SOURCE: a folder, a pattern, a list file, Parquet files, or one image.

`find` streams them, so that memory does not grow with their number.
"""

import array
import hashlib
import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import BinaryIO, NamedTuple

import numpy as np

from runtime.bulk import parquet_images, storage
from runtime.cli import inputs
from runtime.errors import EdgeError, ImageError

OWN_FOLDER = "_bulk"  # in the output: marks it, and is not an image or a part of a data set
_HEAD_BYTES = 64  # first bytes of a file, which decide whether it is an image or a list


class Entry(NamedTuple):
    """One image, which has one row in the output.

    Attributes:
        file: the file or object, as UTF-8 text (see `storage.to_text`).
        row: the number of the row in a Parquet file; -1 for an image file.
        error: why there is no image, for a folder or a Parquet file that cannot be read.
    """

    file: str
    row: int = -1
    error: str | None = None

    @property
    def key(self) -> str:
        """The file, with `#` and the number of the row for Parquet; unique in an output."""
        return self.file if self.row < 0 else f"{self.file}#{self.row}"


class Shard(NamedTuple):
    """A share of the images: number `number` of `total`, from 1."""

    number: int
    total: int

    def has(self, path: str, block: int = 0) -> bool:
        """Return whether the shard has a file, or a block of its rows.

        The hash of a path decides, not its place in a listing: shards that list a folder while
        files are added still have no image in common.
        """
        if self.total == 1:
            return True
        return (_hash(path) + block) % self.total == self.number - 1

    @property
    def name(self) -> str:
        """The shard's name in names of files."""
        return f"{self.number:05}-of-{self.total:05}"


def is_list(source: str) -> bool:
    """Return whether SOURCE is a list of paths.

    Raises:
        EdgeError: the file cannot be read.
    """
    if storage.has_wildcard(source) or parquet_images.is_parquet(source):
        return False
    if storage.kind(source) != "file" or source.lower().endswith(inputs.SUFFIXES):
        return False
    with _open(source) as file:
        return not inputs.is_image_data(file.read(_HEAD_BYTES))


def digest_of_list(source: str) -> str:
    """Return the SHA-256 of a list file in hex.

    Raises:
        EdgeError: the file cannot be read.
    """
    sha256 = hashlib.sha256()
    with _open(source) as file:
        while block := file.read(1 << 20):
            sha256.update(block)
    return sha256.hexdigest()


def find(
    source: str, shard: Shard, column: str | None, end: bytes, block_rows: int
) -> Iterator[Entry]:
    """Yield the images of a shard of SOURCE.

    Args:
        source: the command's SOURCE.
        shard: the share of the images.
        column: the column of images in Parquet files; None finds it.
        end: the byte after each path of a list.
        block_rows: rows of a Parquet file that stay in one shard.

    Raises:
        EdgeError: SOURCE does not exist or has no images; a Parquet file has no column of images.
    """
    empty = True
    if storage.has_wildcard(source):
        files: Iterator[Entry] = _match(source)
    elif storage.kind(source) == "folder":
        files = _walk(source)
    elif storage.kind(source) == "missing":
        raise EdgeError(f"{source}: no such file or folder; check the path")
    elif is_list(source):
        files = _unique(source, shard, end)
    else:
        files = iter([Entry(storage.to_text(source))])
    for entry in files:
        if entry.error is not None and empty and entry.file == storage.to_text(source):
            raise EdgeError(entry.error)
        empty = False
        if entry.error is None and parquet_images.is_parquet(entry.file):
            yield from _rows(entry, shard, column, block_rows)
        elif shard.has(entry.file):
            yield entry
    if empty and not is_list(source):
        suffixes = ", ".join((*inputs.SUFFIXES, parquet_images.SUFFIX))
        raise EdgeError(f"{source}: has no images; supported are {suffixes}")


def _rows(entry: Entry, shard: Shard, column: str | None, block_rows: int) -> Iterator[Entry]:
    """Yield the rows of a Parquet file that the shard has."""
    try:
        count = parquet_images.count(entry.file, column)
    except ImageError as error:
        if shard.has(entry.file):
            yield entry._replace(error=str(error))
        return
    for start in range(0, count, block_rows):
        if shard.has(entry.file, start // block_rows):
            for row in range(start, min(start + block_rows, count)):
                yield Entry(entry.file, row)


def _walk(folder: str, pattern: tuple[str, ...] | None = None) -> Iterator[Entry]:
    """Yield the images and Parquet files in a folder and its subfolders, sorted within each folder.

    Hidden files and folders, links to folders and the outputs of this command are skipped.

    Args:
        folder: a local folder or an S3 prefix.
        pattern: the parts of a pattern that paths below the folder must match; None matches all.
    """
    pending: list[tuple[str, tuple[str, ...]]] = [(folder, ())]
    while pending:
        folder, parts = pending.pop()
        try:
            files, folders = storage.names(folder)
        except OSError as error:
            text = storage.to_text(folder)
            message = f"{text}: cannot be read ({error.strerror}); check its permissions"
            yield Entry(text, error=message)
            continue
        if OWN_FOLDER in folders:
            continue
        for name in files:
            wanted = inputs.is_image(name) or (
                parquet_images.is_parquet(name) and not name.startswith((".", "_"))
            )
            if wanted and (pattern is None or _matches((*parts, name), pattern)):
                yield Entry(storage.to_text(storage.join(folder, name)))
        pending += [
            (storage.join(folder, name), (*parts, name))
            for name in reversed(folders)
            if not name.startswith(".")
            and (pattern is None or _may_lead_to((*parts, name), pattern))
        ]


def _match(pattern: str) -> Iterator[Entry]:
    """Yield the images that match a pattern: `*`, `?`, `[…]`, and `**` for any folders."""
    scheme = storage.S3 if storage.is_remote(pattern) else ""
    parts = pattern[len(scheme) :].split("/")
    first = next(n for n, part in enumerate(parts) if any(w in part for w in "*?["))
    folder = scheme + "/".join(parts[:first])
    if folder == storage.S3:
        raise EdgeError(f"{pattern}: the name of the bucket cannot be a pattern")
    if first == 0:
        folder = "."
    elif not folder:
        folder = "/"
    if storage.kind(folder) != "folder":
        return
    for entry in _walk(folder, tuple(parts[first:])):
        yield entry._replace(file=entry.file.removeprefix("./")) if first == 0 else entry


def _matches(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_matches(parts[n:], pattern[1:]) for n in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _may_lead_to(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Return whether a folder may contain paths that match a pattern."""
    if not parts or pattern[:1] == ("**",):
        return True
    return (
        len(pattern) > 1
        and fnmatchcase(parts[0], pattern[0])
        and _may_lead_to(parts[1:], pattern[1:])
    )


def _unique(source: str, shard: Shard, end: bytes) -> Iterator[Entry]:
    """Yield each path of a list once: the shard's, and all Parquet files.

    Only 8 bytes a path are in memory, its hash, and the paths whose hash occurs more than once.
    """
    hashes = array.array("Q")
    for name in _lines(source, end):
        if _concerns(name, shard):
            hashes.append(_hash(name))
    values, counts = np.unique(np.frombuffer(hashes, np.uint64), return_counts=True)
    repeated = frozenset(values[counts > 1].tolist())
    seen = set()
    for name in _lines(source, end):
        if not _concerns(name, shard):
            continue
        if repeated and _hash(name) in repeated:
            if _normal(name) in seen:
                continue
            seen.add(_normal(name))
        yield Entry(name)


def _concerns(path: str, shard: Shard) -> bool:
    return parquet_images.is_parquet(path) or shard.has(path)


def _normal(path: str) -> bytes:
    """Return one spelling of the paths `a`, `./a`, `b/../a` and the absolute path of `a`."""
    if storage.is_remote(path):
        return path.encode()
    return os.fsencode(os.path.abspath(storage.to_name(path)))


def _hash(path: str) -> int:
    return int.from_bytes(hashlib.blake2b(_normal(path), digest_size=8).digest(), "big")


def _lines(source: str, end: bytes) -> Iterator[str]:
    """Yield the paths of a list, without empty lines.

    Raises:
        EdgeError: the file cannot be read.
    """
    rest = b""
    with _open(source) as file:
        while block := file.read(1 << 16):
            *lines, rest = (rest + block).split(end)
            yield from _names(lines, end)
    yield from _names([rest], end)


def _names(lines: list[bytes], end: bytes) -> Iterator[str]:
    for line in lines:
        name = line.removesuffix(b"\r") if end == b"\n" else line
        if name:
            yield storage.to_text(os.fsdecode(name))


def _open(source: str) -> BinaryIO:
    try:
        return storage.open_file(source)
    except OSError as error:
        raise EdgeError(f"{source}: cannot be read ({error}); check the path") from error
