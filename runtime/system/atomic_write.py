"""Write files and folders atomically: readers see the old content or the new one, never a mixture.

All packages write their models, reports and keys with `write` or `atomic_file`. `digit-edge
export-web` and the offline bundle write folders with `atomic_folder`. Training and export let Keras
and the converters write temporary files into a `temporary_folder`.

A killed process leaves its temporary file or folder behind. The next write to the same path deletes
it. A temporary file that another process is still writing is locked, and is not deleted.
"""

import os
import re
import shutil
import stat
import sys
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path

from runtime.errors import EdgeError
from runtime.system import file_lock, streams

_MAX_SHOWN_NAMES = 3  # files named in an error message; the message counts further files
_AT_FDCWD = -100  # Linux: paths are relative to the working directory (fcntl.h)
_RENAME_EXCHANGE = 2  # Linux: flag of renameat2(2) that swaps two paths


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path; rename the file at this path to `path` if the block succeeds.

    The temporary path is an empty file in the same folder, which the block overwrites. It has the
    same suffix, because some writers choose the format by the suffix. If the block raises, `path`
    is unchanged and the temporary file is deleted. A replaced file keeps its mode and, if the
    process may set it, its owner.

    Args:
        path: the file to create or replace; its folder is created.

    Raises:
        EdgeError: the folder cannot be created or the file cannot be written.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(target, f".{target.stem}-", target.suffix)
        with _temporary_file(target) as temporary:
            yield temporary
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())  # otherwise the file can be empty after a power cut
            keep_mode(target, temporary)
            os.replace(temporary, target)
    except OSError as error:
        raise EdgeError(
            f"cannot write {target}: {error.strerror or error}; "
            "check the folder, its permissions and the space left"
        ) from error


@contextmanager
def _temporary_file(target: Path) -> Iterator[Path]:
    """Create a locked temporary file beside `target`; delete it at the end if it is still there."""
    temporary = target.with_name(f".{target.stem}-{os.urandom(4).hex()}{target.suffix}")
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with suppress(OSError):  # without locks, nobody deletes the files of others
            file_lock.try_lock(descriptor)
        yield temporary
    finally:
        with suppress(OSError):
            temporary.unlink()
        os.close(descriptor)


def _remove_abandoned(target: Path, prefix: str, suffix: str) -> None:
    """Delete the temporary files and folders of killed processes beside `target`.

    Args:
        target: the path that the processes would have written.
        prefix: start of the temporary names.
        suffix: end of the temporary names; between them are 8 random hex digits.
    """
    name = re.compile(f"{re.escape(prefix)}[0-9a-f]{{8}}{re.escape(suffix)}")
    with suppress(OSError), os.scandir(target.parent) as entries:
        for entry in entries:
            if name.fullmatch(entry.name) and not entry.is_symlink():
                with suppress(OSError):
                    _remove_if_unlocked(Path(entry.path))


def _remove_if_unlocked(path: Path) -> None:
    """Delete a file or folder, unless a process has locked it.

    Raises:
        OSError: the path cannot be deleted, or the file system does not support locks.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if file_lock.try_lock(descriptor):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
    finally:
        os.close(descriptor)


def keep_mode(replaced: Path, new: Path) -> None:
    """Give a new file or folder the mode and the owner of the one that it is about to replace.

    Nothing changes if there is no such path. Owner and mode stay if this process may not change
    them, or if the file system has none.
    """
    try:
        status = os.stat(replaced)
    except OSError:
        return
    if hasattr(os, "chown"):  # not on Windows
        with suppress(PermissionError):
            os.chown(new, status.st_uid, status.st_gid)
    with suppress(PermissionError):
        os.chmod(new, stat.S_IMODE(status.st_mode))


def exchange(first: Path, second: Path) -> bool:
    """Swap two paths of one file system in one step; return False if the system cannot.

    Linux swaps files and folders with renameat2(2), on most file systems.

    Raises:
        OSError: the paths cannot be renamed.
    """
    if not sys.platform.startswith("linux"):
        return False
    import ctypes  # here, because classifying an image does not need it

    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):  # a C library without renameat2: glibc before 2.28
        return False
    names = os.fsencode(first), os.fsencode(second)
    return bool(renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0)


def write(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write `content` to `path` atomically.

    Args:
        path: the file to create or replace; its folder is created.
        content: bytes, or text, which is encoded as UTF-8.

    Raises:
        EdgeError: the folder cannot be created or the file cannot be written.
    """
    with atomic_file(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def atomic_folder(out: Path, ours: Collection[str], marks: Collection[str]) -> Iterator[Path]:
    """Yield a new temporary folder; replace `out` with the new folder if the block succeeds.

    If the block raises, `out` is unchanged and the new folder is deleted. If the process is killed,
    the old folder or the new one is at `out`. On a file system that cannot swap two folders in one
    step, `out` may then be missing; the next run moves the old folder back.

    All files in an existing `out` are deleted. So an existing `out` must be empty or an earlier
    output of the same command. An earlier output has all files of `marks`, and each file in it
    matches a pattern of `ours`.

    Args:
        out: the folder to create or replace.
        ours: patterns (`fnmatch`) of the paths, relative to `out`, of all files that this or an
            earlier version of the command writes.
        marks: names of files that every version of the command writes into `out`.

    Raises:
        EdgeError: `out` contains other files, is not a folder, or cannot be written.
    """
    target = out.absolute()
    try:
        _restore_folder(target)
        _check_replaceable(out, ours, marks)
        for part in ("new", "old"):
            _remove_abandoned(target, f".{target.name}-{part}-", "")
        unique = os.urandom(4).hex()
        new, old = (target.with_name(f".{target.name}-{part}-{unique}") for part in ("new", "old"))
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, new, ignore_errors=True)
            new.mkdir(parents=True)
            descriptor = os.open(new, os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, descriptor)
            with suppress(OSError):  # without locks, nobody deletes the folders of others
                file_lock.try_lock(descriptor)
            yield new
            _check_replaceable(out, ours, marks)  # again, because the block may take minutes
            keep_mode(target, new)
            if not target.exists():
                new.rename(target)
            elif not exchange(new, target):
                target.rename(old)
                try:
                    new.rename(target)
                except OSError:
                    old.rename(target)
                    raise
                shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise EdgeError(
            f"cannot write {out}: {error.strerror or error}; check the folder and the space left"
        ) from error


def _restore_folder(target: Path) -> None:
    """Move an old folder back to `target` if a process was killed between its two renames."""
    if target.parent.exists() and not target.exists() and not target.is_symlink():
        prefix = f".{target.name}-old-"
        for old in (each for each in target.parent.iterdir() if each.name.startswith(prefix)):
            old.rename(target)
            return


def _check_replaceable(out: Path, ours: Collection[str], marks: Collection[str]) -> None:
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise EdgeError(f"{out} is not a folder: choose a folder with --out")
    if not out.exists():
        return
    names = {path.name for path in out.iterdir()}
    # If a mark is missing, the command did not write this folder, so all files in it are foreign.
    foreign = sorted(names if not names.issuperset(marks) else _foreign(out, "", ours))
    if foreign:
        shown = ", ".join(foreign[:_MAX_SHOWN_NAMES])
        hidden = len(foreign) - _MAX_SHOWN_NAMES
        more = f" and {hidden} more" if hidden > 0 else ""
        raise EdgeError(
            f"{out} holds other files, which would be deleted ({shown}{more}): move them, or "
            "choose an empty or a new folder with --out"
        )


def _foreign(folder: Path, prefix: str, ours: Collection[str]) -> Iterator[str]:
    """Yield the foreign paths in a folder: those that match no pattern of `ours`.

    Args:
        folder: the folder to list.
        prefix: path of `folder` relative to the output folder: empty, or with a final slash.
        ours: see `atomic_folder`.

    Yields:
        Paths relative to the output folder. A folder of which no pattern knows a file is one path
        with a final slash.
    """
    for entry in folder.iterdir():
        name = prefix + entry.name
        if entry.is_dir() and not entry.is_symlink():
            if any(pattern.startswith(f"{name}/") for pattern in ours):
                yield from _foreign(entry, f"{name}/", ours)
            else:
                yield f"{name}/"
        elif not any(fnmatchcase(name, pattern) for pattern in ours):
            yield name


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a temporary folder and delete it, with all its files, at the end of the block.

    Within the block, `tempfile` creates the temporary files of all libraries in this folder. So
    files that Keras leaves behind on a full disk are deleted too.

    Raises:
        EdgeError: the disk for temporary files is full.
    """
    import tempfile  # here, because classifying an image does not need it

    try:
        with tempfile.TemporaryDirectory(prefix="digit-edge-") as name:
            before, tempfile.tempdir = tempfile.tempdir, name
            try:
                yield Path(name)
            finally:
                tempfile.tempdir = before
    except OSError as error:
        if error.errno not in streams.NO_ROOM:
            raise
        raise EdgeError(
            f"cannot write temporary files in {tempfile.gettempdir()}: {error.strerror}; "
            "make room there, or set TMPDIR to another folder, and run the command again"
        ) from error
