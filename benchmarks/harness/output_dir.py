"""Checks that results can be written to a folder, before minutes of measuring."""

import tempfile
from pathlib import Path

from runtime.errors import EdgeError


def check_folder(folder: Path) -> None:
    """Try to write a nameless file into a folder, or where it would be made; nothing is left.

    Raises:
        EdgeError: no file can be written there.
    """
    try:
        there = next(place for place in (folder, *folder.parents) if place.exists())
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise EdgeError(
            f"cannot write into {folder}: {error.strerror}; name another folder"
        ) from error


def check_file(path: Path) -> None:
    """The same for the folder of a file.

    Raises:
        EdgeError: it cannot be written.
    """
    if path.is_dir():
        raise EdgeError(f"cannot write {path}: it is a folder; name a file")
    check_folder(path.parent)
