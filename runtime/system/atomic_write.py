"""Write files and folders atomically: readers see the old content or the new one, never a mixture.

All packages write their models, reports and keys with `write` or `atomic_file`. `digit-edge
export-web` and the offline bundle write folders with `atomic_folder`. Training and export let Keras
and the converters write temporary files into a `temporary_folder`.
"""

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path

from runtime.errors import EdgeError
from runtime.system import streams

_MAX_SHOWN_NAMES = 3  # files named in an error message; the message counts further files


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path; rename the file at this path to `path` if the block succeeds.

    The block must create the file. The temporary path is in the same folder and has the same
    suffix, because some writers choose the format by the suffix. If the block raises, `path` is
    unchanged and the temporary file is deleted.

    Args:
        path: the file to create or replace; its folder is created.

    Raises:
        EdgeError: the folder cannot be created or the file cannot be written.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.stem}-{os.urandom(4).hex()}{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())  # otherwise the file can be empty after a power cut
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

    If the block raises, `out` is unchanged and the new folder is deleted.

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
    try:
        _check_replaceable(out, ours, marks)
        target = out.absolute()
        unique = os.urandom(4).hex()
        new, old = (target.with_name(f".{target.name}-{part}-{unique}") for part in ("new", "old"))
        try:
            new.mkdir(parents=True)
            yield new
            _check_replaceable(out, ours, marks)  # again, because the block may take minutes
            if target.exists():
                target.rename(old)
            new.rename(target)
        finally:
            if old.exists() and not target.exists():
                old.rename(target)
            for leftover in (new, old):
                shutil.rmtree(leftover, ignore_errors=True)
    except OSError as error:
        raise EdgeError(
            f"cannot write {out}: {error.strerror or error}; check the folder and the space left"
        ) from error


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
