"""Reads, writes and lists local files and S3 objects.

A path that begins with `s3://` is an object or a prefix, any other path is local. Local names that
are not UTF-8 are `file://` URLs in results, because Parquet's strings are UTF-8.
"""

import functools
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import BinaryIO, cast
from urllib.parse import quote_from_bytes, unquote_to_bytes

import pyarrow
import pyarrow.fs
import pyarrow.parquet

from runtime.cli import inputs
from runtime.errors import EdgeError, ImageError
from runtime.system import atomic_write

S3 = "s3://"
FILE = "file://"  # begins the URL of a local file whose name is not UTF-8
_WILDCARDS = "*?["

# Errors of S3 that concern one object. All others (network, credentials) concern every object.
_OBJECT_ERRORS = ("ACCESS_DENIED", "NO_SUCH_KEY", "RESOURCE_NOT_FOUND", "INVALID_OBJECT_STATE")
_DAMAGED = (pyarrow.ArrowException, ValueError, OSError)  # pyarrow's errors for a damaged file


def is_remote(path: str) -> bool:
    """Return whether a path is an S3 URL."""
    return path.startswith(S3)


def to_text(name: str) -> str:
    """Return a local path as UTF-8 text: a `file://` URL if its bytes are not UTF-8."""
    try:
        name.encode()
        return name
    except UnicodeEncodeError:
        return FILE + quote_from_bytes(os.fsencode(os.path.abspath(name)))


def to_name(text: str) -> str:
    """Return the local path that `to_text` has converted; other texts are unchanged."""
    return os.fsdecode(unquote_to_bytes(text[len(FILE) :])) if text.startswith(FILE) else text


def join(folder: str, name: str) -> str:
    """Return the path of a name in a folder."""
    return f"{folder.rstrip('/')}/{name}" if is_remote(folder) else os.path.join(folder, name)


def has_wildcard(path: str) -> bool:
    """Return whether a path is a pattern, and no file or folder has that very name."""
    if not any(wildcard in path for wildcard in _WILDCARDS):
        return False
    return is_remote(path) or not os.path.lexists(path)


def filesystem(path: str) -> tuple[pyarrow.fs.FileSystem, str]:
    """Return pyarrow's file system of a path, and the path in this file system.

    Raises:
        EdgeError: the bucket's region cannot be determined.
    """
    if not is_remote(path):
        return pyarrow.fs.LocalFileSystem(), to_name(path)
    inside = path[len(S3) :].rstrip("/")
    return _s3(inside.partition("/")[0]), inside


@functools.cache
def _s3(bucket: str) -> pyarrow.fs.S3FileSystem:
    # The AWS SDK in pyarrow reads the credentials, but not this variable.
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        return pyarrow.fs.S3FileSystem(endpoint_override=endpoint)
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    try:
        return pyarrow.fs.S3FileSystem(region=region or pyarrow.fs.resolve_s3_region(bucket))
    except OSError as error:
        raise EdgeError(
            f"cannot find the region of {S3}{bucket} ({_short(error)}): check the name of the "
            "bucket, or set AWS_REGION, or AWS_ENDPOINT_URL for other S3 servers"
        ) from error


def open_file(path: str) -> BinaryIO:
    """Open a file or an object for reading.

    Raises:
        OSError: it cannot be opened.
    """
    if not is_remote(path):
        return open(to_name(path), "rb")  # pyarrow's file system takes UTF-8 names only
    system, inside = filesystem(path)
    return cast(BinaryIO, system.open_input_file(inside))


def read_bytes(path: str) -> bytes:
    """Return the bytes of an S3 object.

    Raises:
        ImageError: there is no such object, or it may not be read.
        EdgeError: S3 cannot be reached, or rejects the credentials.
    """
    try:
        with open_file(path) as file:
            return file.read()
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such object; check the path") from error
    except OSError as error:
        if _concerns_object(error):
            raise ImageError(f"{path}: cannot be read ({_short(error)})") from error
        raise unreachable(path, error) from error


def unreachable(path: str, error: Exception) -> EdgeError:
    """Return the error for a path that cannot be read or written now, but may be later."""
    remedy = "check the network and the credentials" if is_remote(path) else "check the path"
    return EdgeError(f"{path}: {_short(error)}; {remedy}, then continue with --resume")


def is_outage(error: Exception) -> bool:
    """Return whether an error of S3 concerns every object: the network or the credentials."""
    return "AWS Error" in str(error) and not _concerns_object(error)


def _concerns_object(error: Exception) -> bool:
    return any(name in str(error) for name in _OBJECT_ERRORS)


def _short(error: Exception) -> str:
    return " ".join(str(error).split("(Request ID")[0].split())[:300]


def write(path: str, data: bytes) -> None:
    """Write a whole file or object; readers see all of it or nothing.

    Raises:
        EdgeError: it cannot be written.
    """
    with output(path) as file:
        file.write(data)


@contextmanager
def output(path: str) -> Iterator[BinaryIO]:
    """Open a file for writing, which appears at `path` at the end of the block.

    If the block raises, a local file does not appear; an S3 object may.

    Raises:
        EdgeError: it cannot be written.
    """
    if not is_remote(path):
        with atomic_write.atomic_file(path) as temporary, temporary.open("wb") as local:
            yield local
        return
    system, inside = filesystem(path)
    try:
        # S3 shows an object when its upload is completed, which `close` does. It happens after an
        # exception too: a caller that writes in pieces must mark a complete object otherwise.
        with system.open_output_stream(inside) as stream:
            yield cast(BinaryIO, stream)
    except OSError as error:
        raise unreachable(path, error) from error


def read_text(path: str) -> str | None:
    """Return the text of a small file or object; None if it does not exist.

    Raises:
        EdgeError: it cannot be read.
    """
    try:
        with open_file(path) as file:
            return file.read().decode()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise unreachable(path, error) from error


def names(folder: str) -> tuple[list[str], list[str]]:
    """Return the names of the files and of the folders in a folder, both sorted.

    Local links to folders, pipes and devices are neither.

    Raises:
        EdgeError: the S3 prefix cannot be listed.
        OSError: the local folder cannot be listed.
    """
    files, folders = [], []
    if not is_remote(folder):
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif inputs.may_be_file(entry):
                    files.append(entry.name)
        return sorted(files), sorted(folders)
    system, inside = filesystem(folder)
    try:
        found = system.get_file_info(pyarrow.fs.FileSelector(inside, allow_not_found=True))
    except OSError as error:
        raise unreachable(folder, error) from error
    for info in found:
        if info.type == pyarrow.fs.FileType.Directory:
            folders.append(info.base_name)
        else:
            files.append(info.base_name)
    return sorted(files), sorted(folders)


def kind(path: str) -> str:
    """Return "file", "folder" or "missing".

    Raises:
        EdgeError: S3 cannot be reached.
    """
    if not is_remote(path):
        if os.path.isdir(path):
            return "folder"
        return "file" if os.path.lexists(path) else "missing"
    system, inside = filesystem(path)
    try:
        info = system.get_file_info(inside)
    except OSError as error:
        raise unreachable(path, error) from error
    kinds = {pyarrow.fs.FileType.File: "file", pyarrow.fs.FileType.Directory: "folder"}
    return kinds.get(info.type, "missing")


def remove(path: str) -> None:
    """Delete a local file if it exists."""
    with suppress(OSError):
        os.unlink(path)


@contextmanager
def open_parquet(path: str) -> Iterator[pyarrow.parquet.ParquetFile]:
    """Open a Parquet file for the block.

    Read from it with `use_threads=False`. A thread of pyarrow that still frees the Python file
    while the interpreter ends aborts the process (SIGABRT in 4 of 160 runs).

    Raises:
        ImageError: it is missing, damaged or not Parquet.
        EdgeError: S3 cannot be reached.
    """
    with ExitStack() as closing:
        try:
            file = closing.enter_context(open_file(path))
            # Not buffered ahead: a row group may have gigabytes of images.
            opened = pyarrow.parquet.ParquetFile(file, pre_buffer=False)
        except FileNotFoundError as error:
            raise ImageError(f"{path}: no such file; check the path") from error
        except _DAMAGED as error:
            if is_outage(error):
                raise unreachable(path, error) from error
            raise ImageError(
                f"{path}: not a readable Parquet file ({_short(error)}); write it again"
            ) from error
        yield opened
