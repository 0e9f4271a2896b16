"""Remembers which files were processed, across restarts."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from runtime.errors import EdgeError, report
from runtime.system import atomic_write

# Images remembered after they left the folder; they may come back, for example with its disk.
MAX_GONE = 100_000
# How many lines the file, and stamps the memory, may have beyond twice those remembered.
_SLACK = 1000


class FileFingerprint(NamedTuple):
    """What tells an image from another one: size in bytes, time of change, inode (0: unknown)."""

    size: int
    mtime_ns: int
    inode: int


class SeenFiles:
    """The images dealt with, in memory and in a file: a line a JSON array [path below the folder,
    size, mtime_ns, inode]. What was not yet saved when the power failed is dealt with again.

    Args:
        file: where; None keeps them in memory alone.
    """

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self._by_path: dict[str, FileFingerprint] = {}
        self._fingerprints: set[FileFingerprint] = set()
        self._met: set[str] = set()
        self._unsaved: list[str] = []
        self._lines = 0
        self._failing = False
        self.is_new = True
        if file is not None:
            self._load(file)

    def knows(self, path: str, fingerprint: FileFingerprint) -> bool:
        """Whether this image was dealt with."""
        self._met.add(path)
        known = self._by_path.get(path)
        if known is not None and known[:2] == fingerprint[:2]:
            return True
        if fingerprint.inode and fingerprint in self._fingerprints:
            self.add(path, fingerprint)  # it was moved
            return True
        return False

    def add(self, path: str, fingerprint: FileFingerprint) -> None:
        """Take an image as dealt with; `save` makes that last."""
        # The oldest come first, those to be forgotten.
        self._by_path.pop(path, None)
        self._by_path[path] = fingerprint
        self._fingerprints.add(fingerprint)
        if self.file is not None:
            self._unsaved.append(json.dumps([path, *fingerprint]))

    def save(self) -> None:
        """Append new entries to the file; if that fails, report it once and retry later."""
        if not self._unsaved or self.file is None:
            return
        # Each line begins with the newline: what a full disk cut short stays a line by itself.
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
        if self._lines > 2 * len(self._by_path) + _SLACK:
            # Where there is no room for that, the file is as it was, and as good.
            with suppress(EdgeError):
                self._rewrite(self.file)

    def forget_gone(self) -> None:
        """Forget the oldest of those that were not met since the last call, past `MAX_GONE`."""
        met, self._met = self._met, set()
        excess = len(self._by_path) - len(met) - MAX_GONE
        if excess > 0:
            gone = [path for path in self._by_path if path not in met]
            for path in gone[:excess]:
                self._fingerprints.discard(self._by_path.pop(path))
        # Those of images that were overwritten; one of them may have been moved away before.
        if len(self._fingerprints) > 2 * len(self._by_path) + _SLACK:
            self._fingerprints = set(self._by_path.values())

    def _load(self, file: Path) -> None:
        if file.exists() and not file.is_file():
            raise EdgeError(f"cannot use {file} to remember images: it is no file; name another")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            lines = file.read_bytes().splitlines()
        except FileNotFoundError:
            lines = []
        except OSError as error:
            raise EdgeError(
                f"cannot use {file} to remember images: {error.strerror}; name another with --state"
            ) from error
        else:
            self.is_new = False
        for line in lines:
            try:
                path, *numbers = json.loads(line)
                fingerprint = FileFingerprint(*map(int, numbers))
            except (ValueError, TypeError):
                continue  # empty, or cut short by a full disk or a power cut
            self._by_path[path] = fingerprint
        self._fingerprints = set(self._by_path.values())
        # Here too: where nothing can be written, that is found out before the work begins.
        self._rewrite(file)

    def _rewrite(self, file: Path) -> None:
        """Write the file anew, in one step, without what was said twice or is forgotten."""
        self._lines = len(self._by_path)
        content = "".join(
            f"\n{json.dumps([p, *fingerprint])}" for p, fingerprint in self._by_path.items()
        )
        atomic_write.write(file, content)


def open_seen_files(state: str | None, folder: str) -> SeenFiles:
    """Open the file that holds what was seen in `folder`.

    Args:
        state: its path; None stands for `default_state_file`, which may be impossible to write:
            then what was seen is kept in memory alone, and a message says so.

    Raises:
        EdgeError: the file at `state` cannot be read or written.
    """
    if state is not None:
        return SeenFiles(Path(state))
    try:
        return SeenFiles(default_state_file(folder))
    except EdgeError as error:
        report(EdgeError(f"{error}. Without it, images that arrive between two runs are not read"))
        return SeenFiles(None)


def default_state_file(folder: str) -> Path:
    """Return the path of the file for `folder`, in systemd's or the user's folder for state."""
    from hashlib import sha256

    absolute = os.path.realpath(folder)
    name = f"watch-{sha256(os.fsencode(absolute)).hexdigest()[:16]}.jsonl"
    # systemd sets it from StateDirectory=; of several folders, the first.
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given) / name
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(base) / "digit-edge" / name
