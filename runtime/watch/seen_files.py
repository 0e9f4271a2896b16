"""Remember which images were processed, across restarts of `digit-edge watch`.

`SeenFiles` keeps size, mtime and inode of each image in memory and in a state file.
`runtime.watch.folder` asks it for each image; `runtime.watch.run` saves it.
"""

import json
import os
from collections import deque
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from runtime.errors import EdgeError, report
from runtime.system import atomic_write
from runtime.system.state_folder import state_folder

# Number of remembered images that are no longer in the folder; beyond it, the images processed
# first are forgotten. Such images may come back, with a removable disk for example.
MAX_GONE_IMAGES = 100_000

# The state file is rewritten without old entries when it has more lines than twice the number of
# remembered images plus this number. The set of fingerprints in memory has the same limit.
_SLACK_ENTRIES = 1000


class FileFingerprint(NamedTuple):
    """Identifies the content of a file without reading it.

    Attributes:
        size: size in bytes.
        mtime_ns: time of the last change, in nanoseconds since 1970.
        inode: number of the file on its disk; 0 if unknown.
    """

    size: int
    mtime_ns: int
    inode: int


class SeenFiles:
    """The images that were processed.

    Each line of the state file is a JSON array: [path below the folder, size, mtime_ns, inode].
    Images that were not saved before a crash or a power cut are processed again.

    Args:
        file: path of the state file, which is created; None keeps the images in memory only.

    Attributes:
        file: the argument of this name.
        is_new: True if the state file did not exist, or if `file` is None.

    Raises:
        EdgeError: the state file cannot be read or written.
    """

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self._by_path: dict[str, FileFingerprint] = {}
        self._fingerprints: set[FileFingerprint] = set()
        self._present: set[str] = set()  # paths of the images in this scan of the folder
        # (number of the image's result, line) that are not yet in the file
        self._unsaved: deque[tuple[int, str]] = deque()
        self._last_result = 0  # highest number of a result
        self._lines = 0  # number of lines in the file
        self._failing = False  # whether the last `save` failed, which was reported
        self.is_new = True
        if file is not None:
            self._load(file)

    def knows(self, path: str, fingerprint: FileFingerprint) -> bool:
        """Return whether an image was processed; a moved image is added under its new path.

        Args:
            path: path of the image below the folder.
            fingerprint: size, mtime and inode of the image.
        """
        self._present.add(path)
        known = self._by_path.get(path)
        if known is not None and known[:2] == fingerprint[:2]:
            return True
        if fingerprint.inode and fingerprint in self._fingerprints:
            self.add(path, fingerprint)
            return True
        return False

    def add(self, path: str, fingerprint: FileFingerprint, result: int = 0) -> None:
        """Mark an image as processed; `save` writes it to the file.

        Args:
            path: path of the image below the folder.
            fingerprint: size, mtime and inode of the image.
            result: number of the image's result, from 1; 0 if there is none.
        """
        # A moved image has no result of its own, but perhaps one that is not delivered yet.
        self._last_result = max(self._last_result, result)
        # Remove the entry to add it at the end: entries at the start are forgotten first.
        self._by_path.pop(path, None)
        self._by_path[path] = fingerprint
        self._fingerprints.add(fingerprint)
        if self.file is not None:
            self._unsaved.append((self._last_result, json.dumps([path, *fingerprint])))

    def save(self, delivered: int) -> None:
        """Append new entries to the file.

        If the file cannot be written, the error is reported once on stderr, and the entries are
        kept for the next call.

        Args:
            delivered: number of delivered results. Images with later results are not saved, so that
                a restart after a kill reads them again.
        """
        lines = [line for _, line in takewhile(lambda entry: entry[0] <= delivered, self._unsaved)]
        if not lines or self.file is None:
            return
        # Each line starts with the newline: if a full disk cuts a line, the next one is intact.
        text = "".join(f"\n{line}" for line in lines)
        try:
            with open(self.file, "ab") as file:
                file.write(text.encode())
        except OSError as error:
            if not self._failing:
                report(EdgeError(f"cannot write {self.file}: {error.strerror}; a restart may "
                                 "classify images again"))  # fmt: skip
            self._failing = True
            return
        self._failing = False
        self._lines += len(lines)
        for _ in lines:
            self._unsaved.popleft()
        if not self._unsaved and self._lines > 2 * len(self._by_path) + _SLACK_ENTRIES:
            # If the disk is full, the old file remains, which has the same images.
            with suppress(EdgeError):
                self._rewrite(self.file)

    def forget_gone(self) -> None:
        """End a scan of the folder: limit the number of remembered images that are gone.

        Call it after `knows` was called for all images in the folder.
        """
        present, self._present = self._present, set()
        excess = len(self._by_path) - len(present) - MAX_GONE_IMAGES
        if excess > 0:
            gone = [path for path in self._by_path if path not in present]
            for path in gone[:excess]:
                self._fingerprints.discard(self._by_path.pop(path))
        # Remove the fingerprints of overwritten images. `add` keeps these fingerprints, because the
        # old image may have been moved elsewhere in the folder.
        if len(self._fingerprints) > 2 * len(self._by_path) + _SLACK_ENTRIES:
            self._fingerprints = set(self._by_path.values())

    def _load(self, file: Path) -> None:
        """Load the file, or create it.

        Raises:
            EdgeError: the file cannot be read or written.
        """
        if file.exists() and not file.is_file():
            raise EdgeError(
                f"cannot use {file} to remember images: it is not a file; pass another file with "
                "--state"
            )
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            lines = file.read_bytes().splitlines()
        except FileNotFoundError:
            lines = []
        except OSError as error:
            raise EdgeError(
                f"cannot use {file} to remember images: {error.strerror}; "
                "pass another file with --state"
            ) from error
        else:
            self.is_new = False
        for line in lines:
            try:
                path, *numbers = json.loads(line)
                fingerprint = FileFingerprint(*map(int, numbers))
            except (ValueError, TypeError):
                continue  # the line is empty, or incomplete after a full disk or a power cut
            self._by_path[path] = fingerprint
        if not self._by_path and any(line and not line.startswith(b'["') for line in lines):
            raise EdgeError(
                f"{file} is not a state file of digit-edge watch: pass another file with --state"
            )
        self._fingerprints = set(self._by_path.values())
        # Remove old entries. This also checks at the start that the file can be written.
        self._rewrite(file)

    def _rewrite(self, file: Path) -> None:
        """Replace the file atomically by one without duplicate and forgotten entries."""
        self._lines = len(self._by_path)
        content = "".join(
            f"\n{json.dumps([p, *fingerprint])}" for p, fingerprint in self._by_path.items()
        )
        atomic_write.write(file, content)


def open_seen_files(state: str | None, folder: str) -> SeenFiles:
    """Open or create the state file of a folder.

    Args:
        state: path of the file; None uses `default_state_file`.
        folder: the folder that is watched.

    Returns:
        The images in the file. If the default file cannot be read or written, an error is printed,
        and the images are remembered in memory only.

    Raises:
        EdgeError: the file at `state` cannot be read or written.
    """
    if state is not None:
        return SeenFiles(Path(state))
    try:
        return SeenFiles(default_state_file(folder))
    except EdgeError as error:
        report(
            EdgeError(
                f"{error}. Without a state file, images that arrive between two runs are ignored"
            )
        )
        return SeenFiles(None)


def default_state_file(folder: str) -> Path:
    """Return the default path of the state file of `folder`.

    The file is in `state_folder`; its name has a hash of the watched folder's absolute path.

    Args:
        folder: the folder that is watched.
    """
    from hashlib import sha256

    absolute = os.path.realpath(folder)
    return state_folder() / f"watch-{sha256(os.fsencode(absolute)).hexdigest()[:16]}.jsonl"
