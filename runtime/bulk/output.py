"""The output folder: the manifest, each shard's listing and lock, and the part files.

    part-00001-of-00001-0000000.parquet …   the rows
    _bulk/manifest.json                     the options that decide the rows
    _bulk/00001-of-00001.listing.parquet    all images of a shard; a row group for each part
    _bulk/00001-of-00001.json               written after the listing: it is complete
    _bulk/ray/                              Ray's checkpoint, instead of part names

A part's name and images are decided by the listing, so a part that is written twice has the same
rows.
"""

import errno
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, NamedTuple

import pyarrow
import pyarrow.compute
import pyarrow.parquet

from runtime.bulk import storage
from runtime.bulk.sources import OWN_FOLDER, Entry, Shard
from runtime.errors import EdgeError, ImageError
from runtime.system import atomic_write

_LISTING_SCHEMA = pyarrow.schema(
    [
        ("path", pyarrow.string()),  # the key of the row: Ray's checkpoint compares it
        ("file", pyarrow.string()),
        ("row", pyarrow.int64()),
        ("error", pyarrow.string()),
    ]
)
# Errors of file systems without locks, as some network file systems are.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)
_COMPRESSION = "zstd"


@dataclass(frozen=True)
class Manifest:
    """Everything that decides the rows of an output, and which part has which.

    Attributes:
        source: SOURCE.
        folder: the working directory, if SOURCE or the paths in it can be relative to it.
        list_sha256: SHA-256 of the list file; None if SOURCE is something else.
        null: whether the paths of the list end with NUL.
        column: the column of images in Parquet files; None finds it.
        read: whether numbers are read.
        model: digest of the model.
        engine: name of the engine.
        shards: number of shards.
        part_rows: rows of a part.
        ray: whether a Ray cluster classifies.
    """

    source: str
    folder: str | None
    list_sha256: str | None
    null: bool
    column: str | None
    read: bool
    model: str
    engine: str
    shards: int
    part_rows: int
    ray: bool


# Attribute of the manifest → the option that a user knows.
_OPTIONS = {
    "source": "SOURCE",
    "folder": "the working directory, to which SOURCE is relative,",
    "list_sha256": "the content of the list SOURCE",
    "null": "--null",
    "column": "--column",
    "read": "--read",
    "model": "--model",
    "engine": "--backend",
    "shards": "--shard",
    "part_rows": "--part-rows",
    "ray": "--ray",
}


class Totals(NamedTuple):
    """Counts of rows: all, those whose prediction is accepted, those with an error."""

    rows: int
    accepted: int
    errors: int


class Output:
    """An output folder, local or on S3."""

    def __init__(self, folder: str) -> None:
        self.folder = folder.rstrip("/") or folder
        self._own = storage.join(self.folder, OWN_FOLDER)
        self._manifest = storage.join(self._own, "manifest.json")

    def claim(self, manifest: Manifest) -> None:
        """Create the folder and its manifest, or compare the manifest with the present options.

        Until images are listed, the options may change: SOURCE or --column may have been wrong.

        Raises:
            EdgeError: the folder has other files or other options, or cannot be written.
        """
        text = json.dumps(asdict(manifest), indent=2) + "\n"
        stored = storage.read_text(self._manifest)
        if stored is None:
            self._check_empty()
            if storage.is_remote(self.folder):
                storage.write(self._manifest, text.encode())
            else:
                _write_new(self._manifest, text)
        elif stored != text and not self._has_listing():
            storage.write(self._manifest, text.encode())
        self.check(manifest)

    def check(self, manifest: Manifest) -> None:
        """Compare the manifest with the present options.

        Raises:
            EdgeError: they differ, or the manifest is damaged.
        """
        stored = storage.read_text(self._manifest)
        self._compare(asdict(manifest), self._manifest, stored or "")

    def _has_listing(self) -> bool:
        """Return whether the images of any shard are listed."""
        marks = set(storage.names(self._own)[0]) - {"manifest.json"}
        return any(name.endswith(".json") for name in marks)

    def _check_empty(self) -> None:
        if storage.kind(self.folder) == "missing":
            return
        try:
            files, folders = storage.names(self.folder)
        except OSError as error:
            raise EdgeError(
                f"cannot write {self.folder}: {error.strerror}; choose a folder with --out"
            ) from error
        others = [
            name for name in (*files, *folders) if name != OWN_FOLDER and not name.startswith(".")
        ]
        if others:
            raise EdgeError(
                f"{self.folder} has other files ({others[0]}{', …' if others[1:] else ''}): choose "
                "an empty or a new folder with --out"
            )

    def _compare(self, current: dict[str, Any], path: str, stored_text: str) -> None:
        try:
            stored = json.loads(stored_text)
            if not isinstance(stored, dict):
                raise ValueError("it is not an object")
        except ValueError as error:
            raise EdgeError(
                f"{path} is damaged ({error}); choose another folder with --out"
            ) from error
        differing = [
            f"{_OPTIONS[name]} was {_shown(stored.get(name))}, is {_shown(value)}"
            for name, value in current.items()
            if stored.get(name) != value
        ]
        if differing:
            raise EdgeError(
                f"{self.folder} was begun with other options ({'; '.join(differing)}): pass the "
                "same ones, or choose another folder with --out"
            )

    @contextmanager
    def locked(self, shard: Shard) -> Iterator[None]:
        """Lock a shard of a local output, so that two processes do not write it at a time.

        Raises:
            EdgeError: another process has locked it.
        """
        if storage.is_remote(self.folder):
            yield
            return
        import fcntl  # here, because Windows does not have this module, and --help works on Windows

        path = storage.join(self._own, f"{shard.name}.lock")
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
        except OSError as error:
            raise EdgeError(
                f"cannot write {path}: {error.strerror}; check its permissions"
            ) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
            yield
        except BlockingIOError as error:
            raise EdgeError(
                f"another process is writing shard {shard.number}/{shard.total} of {self.folder}: "
                "wait until it ends, or pass another --shard"
            ) from error
        finally:
            os.close(descriptor)

    def listing(self, shard: Shard) -> "Listing | None":
        """Return the complete listing of a shard; None if there is none yet.

        Raises:
            EdgeError: it cannot be read.
        """
        text = storage.read_text(self._path(shard, "json"))
        if text is None:
            return None
        try:
            return Listing(self.listing_path(shard), json.loads(text)["images"])
        except (ValueError, KeyError, TypeError) as error:
            raise EdgeError(
                f"{self._path(shard, 'json')} is damaged: choose another folder with --out"
            ) from error

    def write_listing(
        self, shard: Shard, entries: Iterable[Entry], manifest: Manifest
    ) -> "Listing":
        """List the images of a shard, a row group for each part.

        Raises:
            EdgeError: the listing cannot be written, or another process has begun the output with
                other options in the meantime.
        """
        part_rows = manifest.part_rows
        images, remaining = 0, iter(entries)
        with (
            storage.output(self.listing_path(shard)) as file,
            pyarrow.parquet.ParquetWriter(
                file, _LISTING_SCHEMA, compression=_COMPRESSION
            ) as writer,
        ):
            while part := list(islice(remaining, part_rows)):
                columns = {
                    "path": [entry.key for entry in part],
                    "file": [entry.file for entry in part],
                    "row": [entry.row for entry in part],
                    "error": [entry.error for entry in part],
                }
                table = pyarrow.table(columns, schema=_LISTING_SCHEMA)
                writer.write_table(table, row_group_size=part_rows)
                images += len(part)
        self.check(manifest)
        storage.write(self._path(shard, "json"), json.dumps({"images": images}).encode())
        return Listing(self.listing_path(shard), images)

    def parts(self, shard: Shard) -> set[int]:
        """Return the numbers of the parts of a shard that are written."""
        name = re.compile(rf"part-{shard.name}-(\d+)\.parquet")
        files, _ = storage.names(self.folder)
        return {int(match[1]) for file in files if (match := name.fullmatch(file))}

    def write_part(self, shard: Shard, number: int, table: pyarrow.Table) -> None:
        """Write a part; readers see all of it or nothing.

        Raises:
            EdgeError: it cannot be written.
        """
        buffer = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(table, buffer, compression=_COMPRESSION)
        storage.write(self._part(shard, number), buffer.getvalue().to_pybytes())

    def remove_temporary(self, shard: Shard) -> None:
        """Delete the temporary files of a killed process."""
        if storage.is_remote(self.folder):
            return
        for folder, begin in (
            (self.folder, f".part-{shard.name}-"),
            (self._own, f".{shard.name}"),
        ):
            for name in storage.names(folder)[0]:
                if name.startswith(begin):
                    storage.remove(storage.join(folder, name))

    def totals(self, shard: Shard | None) -> Totals:
        """Count the rows that are written.

        Args:
            shard: count those of a shard; None counts all files.

        Raises:
            EdgeError: a file cannot be read.
        """
        rows = accepted = errors = 0
        begin = "" if shard is None else f"part-{shard.name}-"
        for name in storage.names(self.folder)[0]:
            if not (name.startswith(begin) and name.endswith(".parquet")):
                continue
            path = storage.join(self.folder, name)
            try:
                with storage.open_parquet(path) as file:
                    table = file.read(["accepted", "error"], use_threads=False)
            except (ImageError, pyarrow.ArrowException, OSError) as error:
                raise EdgeError(
                    f"{path}: cannot be read; if it is damaged, delete it and continue with "
                    "--resume"
                ) from error
            rows += len(table)
            accepted += pyarrow.compute.sum(table["accepted"]).as_py() or 0
            errors += len(table) - table["error"].null_count
        return Totals(rows, accepted, errors)

    @property
    def checkpoint(self) -> str:
        """The folder of Ray's checkpoint."""
        return storage.join(self._own, "ray")

    def listing_path(self, shard: Shard) -> str:
        """Return the path of a shard's listing."""
        return self._path(shard, "listing.parquet")

    def _path(self, shard: Shard, suffix: str) -> str:
        return storage.join(self._own, f"{shard.name}.{suffix}")

    def _part(self, shard: Shard, number: int) -> str:
        return storage.join(self.folder, f"part-{shard.name}-{number:07}.parquet")


@dataclass(frozen=True)
class Listing:
    """All images of a shard.

    Attributes:
        path: its file.
        images: their number.
    """

    path: str
    images: int

    def parts(self, done: set[int]) -> Iterator[tuple[int, list[Entry]]]:
        """Yield (number, images) of each part that is not done.

        Raises:
            EdgeError: the file cannot be read.
        """
        try:
            with storage.open_parquet(self.path) as file:
                for number in range(file.num_row_groups):
                    if number not in done:
                        columns = file.read_row_group(
                            number, ["file", "row", "error"], use_threads=False
                        ).columns
                        lists = (column.to_pylist() for column in columns)
                        yield number, [Entry(*values) for values in zip(*lists, strict=True)]
        except (ImageError, pyarrow.ArrowException, OSError) as error:
            raise storage.unreachable(self.path, error) from error

    def sizes(self, done: set[int]) -> list[tuple[int, int]]:
        """Return (number, number of images) of each part that is not done.

        Raises:
            EdgeError: the file cannot be read.
        """
        try:
            with storage.open_parquet(self.path) as file:
                groups = [
                    (number, file.metadata.row_group(number).num_rows)
                    for number in range(file.num_row_groups)
                ]
        except (ImageError, pyarrow.ArrowException, OSError) as error:
            raise storage.unreachable(self.path, error) from error
        return [(number, count) for number, count in groups if number not in done]


def _write_new(path: str, text: str) -> None:
    """Write a file atomically unless it exists: of several shards that start, one writes it."""
    temporary = f"{path}-{os.urandom(4).hex()}"
    atomic_write.write(temporary, text)
    try:
        with suppress(FileExistsError):
            os.link(temporary, path)
    except OSError:  # a file system without links
        atomic_write.write(path, text)
    finally:
        storage.remove(temporary)


def _shown(value: object) -> str:
    if isinstance(value, str) and len(value) == 64:
        return value[:12]  # of a digest
    if value is None or isinstance(value, bool):
        return "passed" if value else "not passed"
    return str(value)
