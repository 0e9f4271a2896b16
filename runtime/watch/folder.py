"""What has arrived in a folder: each image once, when it is whole, also after a restart."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from runtime.cli import inputs
from runtime.cli.inputs import Problem
from runtime.errors import EdgeError, report
from runtime.system import atomic_write

# What is remembered of images that are in the folder no more, which may come back with it.
MAX_GONE = 100_000
# How many lines the file, and stamps the memory, may have beyond twice those remembered.
_SLACK = 1000
# An image that cannot be read may be half an image: it gets this many times the settling time.
_PATIENCE = 10


class Stamp(NamedTuple):
    """What tells an image from another one: size in bytes, time of change, inode (0: unknown)."""

    size: int
    mtime_ns: int
    inode: int


class Arrival(NamedTuple):
    """An image to be classified. `last` says that it is to be taken as it is, whole or not."""

    path: str
    stamp: Stamp
    last: bool


class Arrivals:
    """Finds new images by looking at the folder again and again; that works on every file system.

    An image is new when no image of this path, size and time of change was dealt with, nor one of
    this inode, size and time under another path: moving it about in the folder makes none new.
    It is whole when size and time have been the same for `settle_s`.
    """

    def __init__(self, folder: str, settle_s: float, memory: "Memory") -> None:
        self._folder, self._settle_s, self._memory = folder, settle_s, memory
        # Since when each image that is not dealt with looks as it does; and whether it was tried.
        self._pending: dict[str, tuple[Stamp, float, bool]] = {}

    def look(self) -> list[Arrival] | None:
        """The new images that are whole, the oldest first; None where the folder is not there."""
        now = time.monotonic()
        present: dict[str, tuple[Stamp, float, bool]] = {}
        ready = []
        for item in self._stamps():
            if item is None:
                return None
            path, stamp = item
            if stamp.size == 0 or self._memory.knows(self.name(path), stamp):
                continue
            before, since, tried = self._pending.get(path, (stamp, now, False))
            if before != stamp:
                since, tried = now, False
            present[path] = (stamp, since, tried)
            unchanged_s = now - since
            last = unchanged_s >= self._settle_s * _PATIENCE
            if last or (unchanged_s >= self._settle_s and not tried):
                ready.append(Arrival(path, stamp, last))
        self._pending = present
        self._memory.forget_gone()
        return sorted(ready, key=lambda arrival: (arrival.stamp.mtime_ns, arrival.path))

    def put_off(self, arrival: Arrival) -> None:
        """Say that it could not be read: it comes again once it changes, or as the `last`."""
        _, since, _ = self._pending[arrival.path]
        self._pending[arrival.path] = (arrival.stamp, since, True)

    def done(self, arrival: Arrival) -> None:
        """Say that it is dealt with: it comes no more."""
        self._pending.pop(arrival.path, None)
        self._memory.add(self.name(arrival.path), arrival.stamp)

    def pass_over(self) -> None:
        """Take all that is there now as dealt with."""
        for item in self._stamps():
            if item is not None:
                self._memory.add(self.name(item[0]), item[1])

    def name(self, path: str) -> str:
        """Return the path below the folder: the same whatever way the folder is named."""
        return path[len(self._folder) :].lstrip(os.sep)

    def _stamps(self) -> Iterator[tuple[str, Stamp] | None]:
        """Path and stamp of each image in the folder; None where the folder is not there."""
        for path in inputs.walk(self._folder):
            if isinstance(path, Problem):
                if path.image == self._folder:
                    yield None
                continue  # a folder below, gone between being listed and being read
            try:
                found = os.stat(path)
            except OSError:
                continue
            yield path, Stamp(found.st_size, found.st_mtime_ns, found.st_ino)


class Memory:
    """The images dealt with, in memory and in a file: a line a JSON array [path below the folder,
    size, mtime_ns, inode]. What was not yet saved when the power failed is dealt with again.

    Args:
        file: where; None keeps them in memory alone.
    """

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self._by_path: dict[str, Stamp] = {}
        self._stamps: set[Stamp] = set()
        self._met: set[str] = set()
        self._unsaved: list[str] = []
        self._lines = 0
        self._failing = False
        self.is_new = True
        if file is not None:
            self._load(file)

    def knows(self, path: str, stamp: Stamp) -> bool:
        """Whether this image was dealt with."""
        self._met.add(path)
        known = self._by_path.get(path)
        if known is not None and known[:2] == stamp[:2]:
            return True
        if stamp.inode and stamp in self._stamps:
            self.add(path, stamp)  # it was moved
            return True
        return False

    def add(self, path: str, stamp: Stamp) -> None:
        """Take an image as dealt with; `save` makes that last."""
        # The oldest come first, those to be forgotten.
        self._by_path.pop(path, None)
        self._by_path[path] = stamp
        self._stamps.add(stamp)
        if self.file is not None:
            self._unsaved.append(json.dumps([path, *stamp]))

    def save(self) -> None:
        """Append what is new to the file; where that fails, say so once and try again later."""
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
                self._stamps.discard(self._by_path.pop(path))
        # Those of images that were overwritten; one of them may have been moved away before.
        if len(self._stamps) > 2 * len(self._by_path) + _SLACK:
            self._stamps = set(self._by_path.values())

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
                stamp = Stamp(*map(int, numbers))
            except (ValueError, TypeError):
                continue  # empty, or cut short by a full disk or a power cut
            self._by_path[path] = stamp
        self._stamps = set(self._by_path.values())
        # Here too: where nothing can be written, that is found out before the work begins.
        self._rewrite(file)

    def _rewrite(self, file: Path) -> None:
        """Write the file anew, in one step, without what was said twice or is forgotten."""
        self._lines = len(self._by_path)
        content = "".join(f"\n{json.dumps([p, *stamp])}" for p, stamp in self._by_path.items())
        atomic_write.write(file, content)
