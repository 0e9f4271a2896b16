"""Scans a folder for new images that are complete."""

import os
import time
from collections.abc import Iterator
from typing import NamedTuple

from runtime.cli import inputs
from runtime.cli.inputs import UnreadablePath
from runtime.watch.seen_files import FileFingerprint, SeenFiles

# An image that cannot be read may be half an image: it gets this many times the settling time.
_PATIENCE = 10


class NewImage(NamedTuple):
    """An image to be classified. `last` says that it is to be taken as it is, whole or not."""

    path: str
    fingerprint: FileFingerprint
    last: bool


class FolderScanner:
    """Finds new images by looking at the folder again and again; that works on every file system.

    An image is new when no image of this path, size and time of change was dealt with, nor one of
    this inode, size and time under another path: moving it about in the folder makes none new.
    It is whole when size and time have been the same for `settle_s`.
    """

    def __init__(self, folder: str, settle_s: float, seen_files: SeenFiles) -> None:
        self._folder, self._settle_s, self._seen_files = folder, settle_s, seen_files
        # Since when each image that is not dealt with looks as it does; and whether it was tried.
        self._pending: dict[str, tuple[FileFingerprint, float, bool]] = {}

    def scan(self) -> list[NewImage] | None:
        """Return the new complete images, the oldest first; None if the folder is missing."""
        now = time.monotonic()
        present: dict[str, tuple[FileFingerprint, float, bool]] = {}
        ready = []
        for item in self._fingerprints():
            if item is None:
                return None
            path, fingerprint = item
            if fingerprint.size == 0 or self._seen_files.knows(self.name(path), fingerprint):
                continue
            before, since, tried = self._pending.get(path, (fingerprint, now, False))
            if before != fingerprint:
                since, tried = now, False
            present[path] = (fingerprint, since, tried)
            unchanged_s = now - since
            last = unchanged_s >= self._settle_s * _PATIENCE
            if last or (unchanged_s >= self._settle_s and not tried):
                ready.append(NewImage(path, fingerprint, last))
        self._pending = present
        self._seen_files.forget_gone()
        return sorted(ready, key=lambda image: (image.fingerprint.mtime_ns, image.path))

    def defer(self, image: NewImage) -> None:
        """Say that it could not be read: it comes again once it changes, or as the `last`."""
        _, since, _ = self._pending[image.path]
        self._pending[image.path] = (image.fingerprint, since, True)

    def mark_done(self, image: NewImage) -> None:
        """Say that it is dealt with: it comes no more."""
        self._pending.pop(image.path, None)
        self._seen_files.add(self.name(image.path), image.fingerprint)

    def mark_existing(self) -> None:
        """Take all that is there now as dealt with."""
        for item in self._fingerprints():
            if item is not None:
                self._seen_files.add(self.name(item[0]), item[1])

    def name(self, path: str) -> str:
        """Return the path below the folder: the same whatever way the folder is named."""
        return path[len(self._folder) :].lstrip(os.sep)

    def _fingerprints(self) -> Iterator[tuple[str, FileFingerprint] | None]:
        """Return each image's path and fingerprint; None if the folder is missing."""
        for path in inputs.walk(self._folder):
            if isinstance(path, UnreadablePath):
                if path.image == self._folder:
                    yield None
                continue  # a folder below, gone between being listed and being read
            try:
                found = os.stat(path)
            except OSError:
                continue
            yield path, FileFingerprint(found.st_size, found.st_mtime_ns, found.st_ino)
