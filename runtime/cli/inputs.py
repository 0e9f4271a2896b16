"""Finds the images that a command is given: files, folders, patterns and standard input."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

# What a folder's files are taken by; a file that is named is read whatever its name.
SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".bmp",
    ".gif",
    ".webp",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".pbm",
    ".pnm",
)
STANDARD_INPUT = "-"
_READ_BYTES = 1 << 16


class UnreadablePath(NamedTuple):
    """A name that leads to no image, and why."""

    image: str
    message: str


def find(names: Sequence[str], *, null: bool = False) -> Iterator[str | UnreadablePath | None]:
    """The images that `names` lead to, in their order, found as they are asked for.

    - A file is itself, and so is a name that does not exist: whoever opens it says so.
    - A folder gives the images in it and in the folders below, a folder's files first, each by
      name. What is hidden or has no image's suffix is passed over, and so are links to folders.
    - A pattern (`*`, `?`, `[…]`, `**`) that names no file gives what it matches, by name.
    - `-` gives what the names on standard input lead to: one a line, or with `null` ended by NUL
      bytes. None comes where no more of them are waiting, so that nobody holds back the others.
    """
    for name in names:
        if name == STANDARD_INPUT:
            for line in _read_names(b"\0" if null else b"\n"):
                if line is None:
                    yield None
                else:
                    yield from _expand(line)
        elif any(mark in name for mark in "*?[") and not os.path.lexists(name):
            yield from _match(name)
        else:
            yield from _expand(name)


def batches(
    found: Iterable[str | UnreadablePath | None], size: Callable[[], int]
) -> Iterator[list[str | UnreadablePath]]:
    """Lists of `size()` of those found; shorter where no more are waiting, and at the end."""
    batch: list[str | UnreadablePath] = []
    for item in found:
        if item is not None:
            batch.append(item)
        if batch and (item is None or len(batch) >= size()):
            yield batch
            batch = []
    if batch:
        yield batch


def is_image(name: str) -> bool:
    """Whether a folder's file of this name is taken for an image."""
    return not name.startswith(".") and name.lower().endswith(SUFFIXES)


def _expand(name: str) -> Iterator[str | UnreadablePath]:
    if not os.path.isdir(name):
        yield name
        return
    empty = True
    for item in walk(name):
        empty = False
        yield item
    if empty:
        yield UnreadablePath(
            name, f"{name}: a folder without images; {', '.join(SUFFIXES)} are looked for"
        )


def walk(folder: str) -> Iterator[str | UnreadablePath]:
    """The images in a folder and those below it, and the folders that cannot be read."""
    waiting = [folder]  # the next one last; folders may lie deeper than calls may
    while waiting:
        folder = waiting.pop()
        names = _Names()
        below: list[str] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        if not entry.name.startswith("."):
                            below.append(entry.name)
                    elif is_image(entry.name) and _may_be_file(entry):
                        names.add(entry.name)
        except OSError as error:
            yield UnreadablePath(
                folder, f"{folder}: cannot be read ({error.strerror}); check its permissions"
            )
            continue
        for name in names.in_order():
            yield os.path.join(folder, name)
        waiting += [os.path.join(folder, name) for name in sorted(below, reverse=True)]


def _may_be_file(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link that leads to itself, or where nothing may be seen: who opens it says
        return True


class _Names:
    """File names to be sorted: in NumPy's arrays a hundred thousand take 1 MB and not 8."""

    _BLOCK = 4096

    def __init__(self) -> None:
        self._blocks: list[npt.NDArray[np.bytes_]] = []
        self._last: list[bytes] = []

    def add(self, name: str) -> None:
        """Take in one more."""
        self._last.append(os.fsencode(name))
        if len(self._last) == self._BLOCK:
            self._blocks.append(np.array(self._last))
            self._last.clear()

    def in_order(self) -> Iterator[str]:
        """All of them, sorted."""
        if not self._blocks:
            yield from map(os.fsdecode, sorted(self._last))
            return
        blocks = [*self._blocks, np.array(self._last)] if self._last else self._blocks
        everything = np.concatenate(blocks)
        self._blocks.clear()
        everything.sort()
        for name in everything:
            yield os.fsdecode(bytes(name))


def _match(pattern: str) -> Iterator[str | UnreadablePath]:
    """What a pattern matches: the shells of Windows leave that to the program."""
    import glob

    try:
        matched = sorted(glob.iglob(pattern, recursive=True))
    except RecursionError:
        yield UnreadablePath(pattern, f"{pattern}: folders too deep for a pattern; name the folder")
        return
    if not matched:
        yield UnreadablePath(pattern, f"{pattern}: matches no file; check the pattern")
    for name in matched:
        # `**` gives folders as well as what is in them.
        if "**" not in pattern:
            yield from _expand(name)
        elif is_image(os.path.basename(name)) and os.path.isfile(name):
            yield name


def _read_names(end: bytes) -> Iterator[str | None]:
    """The names on standard input as they come, and None after each reading."""
    rest = b""
    # Not through sys.stdin: what waits in its read holds a lock that the interpreter's end needs.
    while data := os.read(sys.stdin.fileno(), _READ_BYTES):
        *lines, rest = (rest + data).split(end)
        yield from _decoded(lines, end)
        yield None
    yield from _decoded([rest], end)


def _decoded(lines: list[bytes], end: bytes) -> Iterator[str]:
    for line in lines:
        name = line.removesuffix(b"\r") if end == b"\n" else line
        if name:
            yield os.fsdecode(name)
