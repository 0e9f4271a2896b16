"""Remembers which images were processed, across restarts of `runtime.watch`.

`SeenFiles` keeps a fingerprint of each image in memory and in a state file.
"""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from runtime.errors import EdgeError, report
from runtime.system import atomic_write

# Images that left the folder are remembered up to this number; the oldest are forgotten. They may
# come back, with a removable disk for example.
MAX_GONE_IMAGES = 100_000
# The file is rewritten, and the fingerprints in memory are rebuilt, if they have more entries than
# twice the remembered images plus this.
_SLACK_ENTRIES = 1000


class FileFingerprint(NamedTuple):
    """Identifies the content of a file without reading it.

    Attributes:
        size: in bytes.
        mtime_ns: time of the last change.
        inode: 0 if unknown.
    """

    size: int
    mtime_ns: int
    inode: int


class SeenFiles:
    """The images that were processed.

    Each line of the file is a JSON array: [path below the folder, size, mtime_ns, inode]. Images
    that were not saved before a crash or a power cut are processed again.

    Args:
        file: path of the file; None keeps them in memory only.

    Attributes:
        is_new: whether the file did not exist.

    Raises:
        EdgeError: the file cannot be read or written.
    """

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self._by_path: dict[str, FileFingerprint] = {}
        self._fingerprints: set[FileFingerprint] = set()
        self._present: set[str] = set()  # paths that `knows` was called with in this scan
        self._unsaved: list[str] = []  # lines
        self._lines = 0  # of the file
        self._failing = False
        self.is_new = True
        if file is not None:
            self._load(file)

    def knows(self, path: str, fingerprint: FileFingerprint) -> bool:
        """Return whether this image was processed; a moved image is added under its new path."""
        self._present.add(path)
        known = self._by_path.get(path)
        if known is not None and known[:2] == fingerprint[:2]:
            return True
        if fingerprint.inode and fingerprint in self._fingerprints:
            self.add(path, fingerprint)
            return True
        return False

    def add(self, path: str, fingerprint: FileFingerprint) -> None:
        """Mark an image as processed; call `save` to write it to the file."""
        # Move it to the end: the first entries are the oldest, which are forgotten first.
        self._by_path.pop(path, None)
        self._by_path[path] = fingerprint
        self._fingerprints.add(fingerprint)
        if self.file is not None:
            self._unsaved.append(json.dumps([path, *fingerprint]))

    def save(self) -> None:
        """Append new entries to the file; if that fails, report it once and keep them."""
        if not self._unsaved or self.file is None:
            return
        # The newline comes first: an incomplete line on a full disk does not spoil the next one.
        text = "".join(f"\n{line}" for line in self._unsaved)
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
        self._lines += len(self._unsaved)
        self._unsaved.clear()
        if self._lines > 2 * len(self._by_path) + _SLACK_ENTRIES:
            # On a full disk the old file remains, which has the same entries.
            with suppress(EdgeError):
                self._rewrite(self.file)

    def forget_gone(self) -> None:
        """End a scan: forget the oldest images that left the folder, beyond `MAX_GONE_IMAGES`."""
        present, self._present = self._present, set()
        excess = len(self._by_path) - len(present) - MAX_GONE_IMAGES
        if excess > 0:
            gone = [path for path in self._by_path if path not in present]
            for path in gone[:excess]:
                self._fingerprints.discard(self._by_path.pop(path))
        # Remove fingerprints of overwritten images. They are not removed at once, because the old
        # image may have been moved elsewhere in the folder.
        if len(self._fingerprints) > 2 * len(self._by_path) + _SLACK_ENTRIES:
            self._fingerprints = set(self._by_path.values())

    def _load(self, file: Path) -> None:
        """Load the file, or create it. Raises EdgeError."""
        if file.exists() and not file.is_file():
            raise EdgeError(
                f"cannot use {file} to remember images: not a file; pass another file with --state"
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
                continue  # empty, or incomplete after a full disk or a power cut
            self._by_path[path] = fingerprint
        if not self._by_path and any(line and not line.startswith(b'["') for line in lines):
            raise EdgeError(
                f"{file} is not a state file of digit-edge watch: pass another file with --state"
            )
        self._fingerprints = set(self._by_path.values())
        # Compact the file; this also checks at the start that it can be written.
        self._rewrite(file)

    def _rewrite(self, file: Path) -> None:
        """Replace the file atomically by one without duplicate and forgotten entries."""
        self._lines = len(self._by_path)
        content = "".join(
            f"\n{json.dumps([p, *fingerprint])}" for p, fingerprint in self._by_path.items()
        )
        atomic_write.write(file, content)


def open_seen_files(state: str | None, folder: str) -> SeenFiles:
    """Open the state file of a folder.

    Args:
        state: path of the file; None uses `default_state_file`. If that cannot be written, a
            message is printed and the images are remembered in memory only.
        folder: the folder that is watched.

    Raises:
        EdgeError: the file at `state` cannot be read or written.
    """
    if state is not None:
        return SeenFiles(Path(state))
    try:
        return SeenFiles(default_state_file(folder))
    except EdgeError as error:
        report(EdgeError(f"{error}. Without it, images that arrive between two runs are ignored"))
        return SeenFiles(None)


def default_state_file(folder: str) -> Path:
    """Return the default path of the state file of `folder`.

    It is in $STATE_DIRECTORY, which systemd sets, or in the user's folder for state. Its name has a
    hash of the folder's absolute path.
    """
    from hashlib import sha256

    absolute = os.path.realpath(folder)
    name = f"watch-{sha256(os.fsencode(absolute)).hexdigest()[:16]}.jsonl"
    # From StateDirectory= of the unit, which may name several folders.
    systemd_folder = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if systemd_folder:
        return Path(systemd_folder) / name
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(base) / "digit-edge" / name
