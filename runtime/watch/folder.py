"""Scans a folder for new images that are complete, for `runtime.watch.run`.

Polls the folder, because file system events do not exist on every file system. An image is complete
if it has not changed for some time (debounce).
"""

import os
import time
from collections.abc import Iterator
from typing import NamedTuple

from runtime.cli import inputs
from runtime.cli.inputs import UnreadablePath
from runtime.watch.seen_files import FileFingerprint, SeenFiles

# Settling times. An unreadable image that has not changed for this long is reported; until then it
# may be incomplete.
_LAST_TRY_FACTOR = 10


class NewImage(NamedTuple):
    """An image to be classified.

    Attributes:
        path: of the file.
        fingerprint: of the file when it was found.
        last: whether this is the last try: if the image is unreadable, report it.
    """

    path: str
    fingerprint: FileFingerprint
    last: bool


class FolderScanner:
    """Finds new images by polling a folder.

    An image is new unless one with the same path, size and mtime, or the same inode, size and mtime
    (a moved file), was already processed. It is complete if size and mtime have not changed for
    `settle_s`.

    Args:
        folder: to scan, with the folders below it.
        settle_s: settling time in seconds.
        seen_files: the images that were already processed.
    """

    def __init__(self, folder: str, settle_s: float, seen_files: SeenFiles) -> None:
        self._folder, self._settle_s, self._seen_files = folder, settle_s, seen_files
        # Path → fingerprint, time since which it has not changed, and whether reading it failed.
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
            before, since, failed = self._pending.get(path, (fingerprint, now, False))
            if before != fingerprint:
                since, failed = now, False
            present[path] = (fingerprint, since, failed)
            unchanged_s = now - since
            last = unchanged_s >= self._settle_s * _LAST_TRY_FACTOR
            if last or (unchanged_s >= self._settle_s and not failed):
                ready.append(NewImage(path, fingerprint, last))
        self._pending = present
        self._seen_files.forget_gone()
        return sorted(ready, key=lambda image: (image.fingerprint.mtime_ns, image.path))

    def defer(self, image: NewImage) -> None:
        """Mark an image as unreadable: return it again after it changed, or for its `last` try."""
        _, since, _ = self._pending[image.path]
        self._pending[image.path] = (image.fingerprint, since, True)

    def mark_done(self, image: NewImage) -> None:
        """Mark an image as processed, so that it is not returned again."""
        self._pending.pop(image.path, None)
        self._seen_files.add(self.name(image.path), image.fingerprint)

    def mark_existing(self) -> int:
        """Mark all images in the folder as processed; return their number."""
        count = 0
        for item in self._fingerprints():
            if item is not None:
                self._seen_files.add(self.name(item[0]), item[1])
                count += 1
        return count

    def name(self, path: str) -> str:
        """Return the path relative to the folder, independent of how the folder was spelled."""
        return path[len(self._folder) :].lstrip(os.sep)

    def _fingerprints(self) -> Iterator[tuple[str, FileFingerprint] | None]:
        """Yield path and fingerprint of each image; None if the folder is missing."""
        for path in inputs.walk(self._folder):
            if isinstance(path, UnreadablePath):
                if path.image == self._folder:
                    yield None
                continue  # a subfolder that was removed during the scan
            try:
                status = os.stat(path)
            except OSError:
                continue
            yield path, FileFingerprint(status.st_size, status.st_mtime_ns, status.st_ino)
