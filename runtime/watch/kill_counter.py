"""Count how often `digit-edge watch` was killed while it read an image, across restarts.

Decoding an image may need too much memory, or may take so long that systemd's watchdog kills the
program. Such an image would kill the program again after each restart. So `runtime.watch.run`
records each image before reading it, and skips an image after `MAX_KILLS` kills.
"""

import json
import os
from contextlib import suppress
from pathlib import Path

from runtime.watch.seen_files import FileFingerprint

MAX_KILLS = 2  # an image is skipped after this many kills; a single kill may be a coincidence

# Number of images whose kills are remembered; beyond it, the images recorded first are forgotten.
# If the program was killed with more images, the images are not the cause.
_MAX_REMEMBERED_IMAGES = 100


class KillCounter:
    """Records in a file which image is being read, and the number of kills of each image.

    If an image is still recorded as being read at the next start, reading it killed the program.

    The file is one line of JSON: [the image being read or null, [[image, kills], …]]. An image is
    [path below the folder, size in bytes, mtime_ns, inode].

    The file is overwritten in place and not synced to the disk. A killed process does not lose its
    last write; a power cut may lose it, but is not caused by the image. If the file cannot be
    written, kills are not counted.

    Args:
        file: path of the file; None counts nothing.
    """

    def __init__(self, file: Path | None) -> None:
        self._kills: dict[tuple[str, FileFingerprint], int] = {}
        self._descriptor: int | None = None
        if file is None:
            return
        with suppress(OSError):
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            self._descriptor = descriptor
            self._load(os.pread(descriptor, os.fstat(descriptor).st_size, 0))

    def is_deadly(self, path: str, fingerprint: FileFingerprint) -> bool:
        """Return whether the program was killed `MAX_KILLS` times while it read this image.

        Args:
            path: path of the image below the folder.
            fingerprint: size, mtime and inode of the image. A changed image has no kills.
        """
        return self._kills.get((path, fingerprint), 0) >= MAX_KILLS

    def begin(self, path: str, fingerprint: FileFingerprint) -> None:
        """Record that this image is being read; arguments as for `is_deadly`."""
        self._write((path, fingerprint))

    def end(self, path: str, fingerprint: FileFingerprint) -> None:
        """Record that reading this image has ended, with or without an error; forget its kills."""
        self._kills.pop((path, fingerprint), None)
        self._write(None)

    def close(self) -> None:
        """Stop counting."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _load(self, content: bytes) -> None:
        """Load the kills; count one for the image that was being read."""
        try:
            reading, kills = json.loads(content.partition(b"\n")[0])
            self._kills = {
                (path, FileFingerprint(*fingerprint)): int(n) for (path, *fingerprint), n in kills
            }
            if reading is not None:
                path, *fingerprint = reading
                killed = path, FileFingerprint(*fingerprint)
                self._kills[killed] = self._kills.get(killed, 0) + 1
        except (ValueError, TypeError):
            return  # the file is empty, damaged or of another program
        while len(self._kills) > _MAX_REMEMBERED_IMAGES:
            del self._kills[next(iter(self._kills))]
        self._write(None)

    def _write(self, reading: tuple[str, FileFingerprint] | None) -> None:
        """Overwrite the file; truncate it to 0 bytes if that fails.

        Args:
            reading: the image being read, or None.
        """
        if self._descriptor is None:
            return
        record = [
            None if reading is None else [reading[0], *reading[1]],
            [[[path, *fingerprint], count] for (path, fingerprint), count in self._kills.items()],
        ]
        line = json.dumps(record).encode() + b"\n"
        try:
            # Write first; then truncate the file, because the old line may have been longer.
            whole = os.pwrite(self._descriptor, line, 0) == len(line)
            os.ftruncate(self._descriptor, len(line) if whole else 0)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, 0)
