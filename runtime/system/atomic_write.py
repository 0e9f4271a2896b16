"""Writes a file or a folder whole or not at all; makes a folder for temporary files."""

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path

from runtime.errors import EdgeError
from runtime.system import streams

_SHOWN = 3  # names of foreign files in a message


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it over `path` when the block ends well.

    The temporary name keeps the suffix, for writers that choose a format by it. When the block
    fails, `path` is as it was and the temporary file is gone.

    Raises:
        EdgeError: the folder cannot be made or the file cannot be written.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.stem}-{os.urandom(4).hex()}{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())  # else a power cut can leave the new name on an empty file
        os.replace(temporary, target)
    except OSError as error:
        raise EdgeError(
            f"cannot write {target}: {error.strerror or error}; "
            "check the folder, its permissions and the space left"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write `content` (text as UTF-8) to `path`, replacing the file in one step.

    Raises:
        EdgeError: as `atomic_file`.
    """
    with atomic_file(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def atomic_folder(out: Path, ours: Collection[str], marks: Collection[str]) -> Iterator[Path]:
    """Yield a new folder beside `out`; put it in the place of `out` when the block ends well.

    When the block fails, `out` is as it was and the new folder is gone. What is replaced is
    deleted: so an older folder must hold all of `marks`, and nothing but `ours`.

    Args:
        out: an empty folder or an older one there is replaced.
        ours: patterns (`fnmatch`) of the paths, below `out`, of the files that the command writes
            or wrote in an earlier version.
        marks: names in `out` that every version of the command wrote.

    Raises:
        EdgeError: something else is there, or it cannot be written.
    """
    try:
        _check_replaceable(out, ours, marks)
        target = out.absolute()
        mark = os.urandom(4).hex()
        fresh, old = (target.with_name(f".{target.name}-{part}-{mark}") for part in ("new", "old"))
        try:
            fresh.mkdir(parents=True)
            yield fresh
            _check_replaceable(out, ours, marks)  # the block may have taken minutes
            if target.exists():
                target.rename(old)
            fresh.rename(target)
        finally:
            if old.exists() and not target.exists():
                old.rename(target)
            for leftover in (fresh, old):
                shutil.rmtree(leftover, ignore_errors=True)
    except OSError as error:
        raise EdgeError(
            f"cannot write {out}: {error.strerror or error}; check the folder and the space left"
        ) from error


def _check_replaceable(out: Path, ours: Collection[str], marks: Collection[str]) -> None:
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise EdgeError(f"{out} is no folder: choose another with --out")
    if not out.exists():
        return
    names = {path.name for path in out.iterdir()}
    # Without its marks it is none of the command's folders, whatever its files are called.
    foreign = sorted(names if not names.issuperset(marks) else _foreign(out, "", ours))
    if foreign:
        shown = ", ".join(foreign[:_SHOWN])
        more = f" and {len(foreign) - _SHOWN} more" if len(foreign) > _SHOWN else ""
        raise EdgeError(
            f"{out} holds other files, which would be deleted ({shown}{more}): move them, or "
            "choose an empty or a new folder with --out"
        )


def _foreign(folder: Path, prefix: str, ours: Collection[str]) -> Iterator[str]:
    """The paths in a folder that match none of `ours`; of a foreign folder its own path alone."""
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
    """Yield a folder that is removed at the end, and let libraries put their temporary files there.

    Keras leaves its own behind if the disk is full.

    Raises:
        EdgeError: there is no room for temporary files.
    """
    import tempfile  # a process that reads an image need not load it

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
            "make room there, or set TMPDIR to another folder, and run it again"
        ) from error
