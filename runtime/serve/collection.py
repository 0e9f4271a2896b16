"""Keeps images with the labels that users confirmed, in folders that `digit-edge train` reads.

`runtime.serve.app` calls `Collection.add` for POST /v1/labels. Without `serve --collect` nothing is
kept.
"""

import hashlib
import os
import threading
from pathlib import Path

from runtime.errors import EdgeError, report
from runtime.serve import bodies
from runtime.serve.problem_details import HttpProblem
from runtime.system import atomic_write

_SUFFIX = ".png"
_NAME_CHARS = 16  # hexadecimal digits of the SHA-256 of a file that are its name
_BLOCK_BYTES = 4096  # a small file occupies a block of the disk
_MAX_NAME_BYTES = 255  # of a folder, on Linux, macOS and Windows
_HIDDEN = (".", "__")  # `digit-edge train` ignores folders whose names start like this


class Collection:
    """A folder with one subfolder of PNG files for each label.

    Args:
        folder: the folder; it is created.
        max_bytes: largest size of all its files together, in bytes.

    Raises:
        EdgeError: the folder cannot be created, or files in it cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str], max_bytes: int) -> None:
        self._folder, self._max_bytes = Path(folder), max_bytes
        self._writing = threading.Lock()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EdgeError(
                f"cannot create {folder}: {error.strerror or error}; choose another folder with "
                "--collect"
            ) from error
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise EdgeError(
                f"cannot write into {folder}; change its permissions, or choose another folder "
                "with --collect"
            )

    @property
    def name(self) -> str:
        """The name of the folder, without the folders above it."""
        return self._folder.resolve().name

    def add(self, label: str, png: bytes) -> bodies.Kept:
        """Keep an image; if it is kept with another label, move it.

        Args:
            label: the label, which becomes the name of a subfolder.
            png: the bytes of a PNG file.

        Raises:
            HttpProblem: 422 if a folder cannot have the name of the label; 507 if the folder is
                full, or the file cannot be written.
        """
        _check_label(label)
        name = hashlib.sha256(png).hexdigest()[:_NAME_CHARS] + _SUFFIX
        with self._writing:
            others = [path for path in self._folder.glob(f"*/{name}") if path.parent.name != label]
            target = self._folder / label / name
            if target.parent.exists() and label not in os.listdir(self._folder):
                raise HttpProblem(
                    422, "labels that differ in their case only need a folder on another disk"
                )
            files, size = self._count()
            if not target.exists() and not others:
                size += _occupied(len(png))
                if size > self._max_bytes:
                    raise HttpProblem(
                        507,
                        f"the folder of labeled images is full ({self._max_bytes >> 20} MiB): "
                        "empty it, or start the server with a larger --max-collected",
                    )
                files += 1
            try:
                atomic_write.write(target, png)
                for path in others:
                    path.unlink(missing_ok=True)
            except (EdgeError, OSError) as error:
                report(error if isinstance(error, EdgeError) else EdgeError(str(error)))
                raise HttpProblem(
                    507, "the image cannot be stored: the server's log has the reason"
                ) from error
        return bodies.Kept(label, files)

    def _count(self) -> tuple[int, int]:
        """Return the number of kept images, and their size in bytes on the disk."""
        sizes = []
        for path in self._folder.glob(f"*/*{_SUFFIX}"):
            try:
                sizes.append(_occupied(path.stat().st_size))
            except OSError:  # deleted in the meantime
                continue
        return len(sizes), sum(sizes)


def _check_label(label: str) -> None:
    """Check that a label can be the name of a folder that `digit-edge train` reads.

    Raises:
        HttpProblem: 422 if it cannot.
    """
    if (
        not label
        or label.startswith(_HIDDEN)
        or not label.isprintable()
        or any(separator in label for separator in "/\\")
        or len(label.encode("utf-8", "replace")) > _MAX_NAME_BYTES
    ):
        raise HttpProblem(
            422,
            "the label cannot be the name of a folder: name the class otherwise, and train anew",
        )


def _occupied(size: int) -> int:
    """Return the bytes that a file of this size occupies on the disk, in whole blocks."""
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES
