"""Checks before a benchmark starts that its results can be written, and fails early if not."""

import tempfile
from pathlib import Path

from runtime.errors import EdgeError


def check_folder(folder: Path) -> None:
    """Check that files can be created in a folder, without leaving a trace.

    If the folder does not exist, its nearest existing parent is checked.

    Raises:
        EdgeError: no file can be created there.
    """
    try:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise EdgeError(
            f"cannot write into {folder}: {error.strerror}; name another folder"
        ) from error


def check_file(path: Path) -> None:
    """Check that a file can be created in its folder, without leaving a trace.

    Raises:
        EdgeError: the path is a folder, or no file can be created in its folder.
    """
    if path.is_dir():
        raise EdgeError(f"cannot write {path}: it is a folder; name a file")
    check_folder(path.parent)
