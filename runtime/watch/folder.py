"""Find new images in a folder by polling, for the main loop of `digit-edge watch`.

File system events are not used, because not every file system has them. A new image may still be
incomplete. An image counts as complete if it has not changed for the settling time, the option
`--settle` (debounce).
"""

import os
import time
from collections.abc import Iterator
from typing import NamedTuple

from runtime.cli import inputs
from runtime.cli.inputs import UnreadablePath
from runtime.watch.seen_files import FileFingerprint, SeenFiles

# Times the settling time. If an unreadable image has not changed for this long, its error is
# reported. Until then the image may be incomplete, and is tried again only if it changes.
_LAST_TRY_FACTOR = 10


class NewImage(NamedTuple):
    """An image to classify.

    Attributes:
        path: path of the file: the folder's name and the path below the folder.
        fingerprint: size, mtime and inode of the file in this scan.
        last: True if this is the last try. The caller then reports an unreadable image; otherwise
            the caller calls `FolderScanner.defer`.
    """

    path: str
    fingerprint: FileFingerprint
    last: bool


class FolderScanner:
    """Finds new images by polling a folder.

    An image is old if an image with the same path, size and mtime was already processed. It is also
    old if the same inode, size and mtime was processed under another path: the file was moved. All
    other images are new. A new image is complete if its size and mtime have not changed for
    `settle_s`. Empty files are ignored.

    Args:
        folder: the folder to scan, with the folders below it.
        settle_s: settling time in seconds, 0 or more.
        seen_files: the images that were already processed.
    """

    def __init__(self, folder: str, settle_s: float, seen_files: SeenFiles) -> None:
        self._folder, self._settle_s, self._seen_files = folder, settle_s, seen_files
        # New images. Path → fingerprint; time (monotonic, s) since which the file has not changed;
        # whether the file was tried and is unreadable.
        self._pending: dict[str, tuple[FileFingerprint, float, bool]] = {}

    def scan(self) -> list[NewImage] | None:
        """Return the new complete images, the oldest mtime first.

        An image is returned by each scan until `defer` or `mark_done` is called for it.

        Returns:
            An empty list if there are no such images; None if the folder is missing or unreadable.
        """
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
        """Mark an image of the last scan as unreadable.

        `scan` returns the image again after it has changed, and for its last try.
        """
        _, since, _ = self._pending[image.path]
        self._pending[image.path] = (image.fingerprint, since, True)

    def mark_done(self, image: NewImage, result: int) -> None:
        """Mark an image as processed: `scan` does not return it again unless it changes.

        Args:
            image: the image.
            result: number of its result.
        """
        self._pending.pop(image.path, None)
        self._seen_files.add(self.name(image.path), image.fingerprint, result)

    def mark_existing(self) -> int:
        """Mark all images in the folder as processed; return their number."""
        count = 0
        for item in self._fingerprints():
            if item is not None:
                self._seen_files.add(self.name(item[0]), item[1])
                count += 1
        return count

    def name(self, path: str) -> str:
        """Return the path of an image below the folder.

        Args:
            path: path of an image, beginning with the folder's name.
        """
        return path[len(self._folder) :].lstrip(os.sep)

    def _fingerprints(self) -> Iterator[tuple[str, FileFingerprint] | None]:
        """Yield path and fingerprint of each image; yield None if the folder is unreadable."""
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
