"""Find a command's images: expand files, folders, patterns and standard input into images.

`digit-edge classify` and `digit-edge read` use `find` and `batches`; `runtime.watch` and
`runtime.camera` use `walk` to list the images of a folder.
"""

import io
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from runtime.errors import EdgeError

# Suffixes of images in a folder. A file that is passed by name is read whatever its suffix.
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
STANDARD_INPUT = "-"  # as a PATH: read an image, or paths, from standard input
_READ_BYTES = 1 << 16  # most bytes of one read from standard input; more bytes take further reads
_HEAD_BYTES = 32  # the first bytes of standard input, which decide whether it is an image or paths
# Images start with one of these bytes; practically no name of a file does.
_UNMISTAKABLE_STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
# A name can start with these too. An image also has a zero byte within _HEAD_BYTES, a name never.
_BINARY_STARTS = (b"BM", b"GIF8", b"RIFF", b"II*\0", b"MM\0*")
# PNM can be text: its magic number, its width and its height.
_PNM_START = re.compile(rb"P[1-6]\s(?:\s|#[^\n]*\n)*\d+\s+\d+\s")


class UnreadablePath(NamedTuple):
    """A path without an image, and the error message for it."""

    image: str
    message: str


class PipedImage(NamedTuple):
    """The image on standard input.

    Attributes:
        image: its name in the output.
        data: the bytes of the image file.
    """

    image: str
    data: bytes

    def open(self) -> io.BytesIO:
        """Return a file of the image, with its name for messages."""
        file = io.BytesIO(self.data)
        file.name = self.image
        return file


FoundImage: TypeAlias = str | PipedImage  # the path of an image, or an image
Found: TypeAlias = FoundImage | UnreadablePath


def find(names: Sequence[str], *, null: bool = False) -> Iterator[Found | None]:
    """Yield each image, and an `UnreadablePath` for a name without images, in the order of `names`.

    - A file yields its path. So does a missing file: the error is raised when it is opened.
    - A folder yields its images sorted by name, then those of its subfolders. Hidden files, other
      suffixes and links to folders are skipped.
    - A pattern (`*`, `?`, `[…]`, `**`) yields the sorted matches, unless a file has that very name.
    - `-` yields the image on standard input, if its first bytes are those of an image. Otherwise it
      reads paths from standard input and expands each. None is yielded after each read, so that the
      caller can flush a partial batch.

    Args:
        names: paths, patterns or `-`.
        null: paths on standard input end with NUL bytes, not with newlines.
    """
    for name in names:
        if name == STANDARD_INPUT:
            for item in _read_standard_input(b"\0" if null else b"\n"):
                if isinstance(item, str):
                    yield from _expand(item)
                else:
                    yield item
        elif any(wildcard in name for wildcard in "*?[") and not os.path.lexists(name):
            yield from _match(name)
        else:
            yield from _expand(name)


def batches(images: Iterable[Found | None], size: Callable[[], int]) -> Iterator[list[Found]]:
    """Group the results of `find` into batches.

    Args:
        images: from `find`; None ends a batch early.
        size: returns the size of the next batch.
    """
    batch: list[Found] = []
    for item in images:
        if item is not None:
            batch.append(item)
        if batch and (item is None or len(batch) >= size()):
            yield batch
            batch = []
    if batch:
        yield batch


def is_image(name: str) -> bool:
    """Return whether a file of this name in a folder is an image, by its suffix."""
    return not name.startswith(".") and name.lower().endswith(SUFFIXES)


def no_images(folder: str) -> str:
    """Return the error message for a folder without images."""
    return f"{folder}: the folder has no images; supported are {', '.join(SUFFIXES)}"


def _expand(name: str) -> Iterator[str | UnreadablePath]:
    if not os.path.isdir(name):
        yield name
        return
    empty = True
    for item in walk(name):
        empty = False
        yield item
    if empty:
        yield UnreadablePath(name, no_images(name))


def walk(folder: str) -> Iterator[str | UnreadablePath]:
    """Yield the images in a folder and its subfolders, and an error for each unreadable folder."""
    pending = [folder]  # a stack, because folders may be nested deeper than Python's calls
    while pending:
        folder = pending.pop()
        names = _Names()
        subfolders: list[str] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        if not entry.name.startswith("."):
                            subfolders.append(entry.name)
                    elif is_image(entry.name) and may_be_file(entry):
                        names.add(entry.name)
        except OSError as error:
            yield UnreadablePath(
                folder, f"{folder}: cannot be read ({error.strerror}); check its permissions"
            )
            continue
        for name in names.in_order():
            yield os.path.join(folder, name)
        pending += [os.path.join(folder, name) for name in sorted(subfolders, reverse=True)]


def may_be_file(entry: "os.DirEntry[str]") -> bool:
    """Return whether a name in a folder is a file or a link to one, as far as can be known."""
    try:
        return entry.is_file()
    except OSError:  # a link to itself or a forbidden folder; opening the file reports the error
        return True


class _Names:
    """A collection of file names for sorting: 100,000 take 1 MB in NumPy arrays instead of 8 MB."""

    _BLOCK_NAMES = 4096  # names per array

    def __init__(self) -> None:
        self._blocks: list[npt.NDArray[np.bytes_]] = []
        self._last: list[bytes] = []

    def add(self, name: str) -> None:
        """Add a name."""
        self._last.append(os.fsencode(name))
        if len(self._last) == self._BLOCK_NAMES:
            self._blocks.append(np.array(self._last))
            self._last.clear()

    def in_order(self) -> Iterator[str]:
        """Yield all names, sorted by their bytes."""
        if not self._blocks:
            yield from map(os.fsdecode, sorted(self._last))
            return
        blocks = [*self._blocks, np.array(self._last)] if self._last else self._blocks
        names = np.concatenate(blocks)
        self._blocks.clear()
        names.sort()
        for name in names:
            yield os.fsdecode(bytes(name))


def _match(pattern: str) -> Iterator[str | UnreadablePath]:
    """Yield the images that match a pattern; shells of Windows do not expand patterns."""
    import glob

    try:
        matches = sorted(glob.iglob(pattern, recursive=True))
    except RecursionError:
        yield UnreadablePath(
            pattern, f"{pattern}: the folders are nested too deep for a pattern; pass the folder"
        )
        return
    if not matches:
        yield UnreadablePath(pattern, f"{pattern}: matches no file; check the pattern")
    for name in matches:
        # `**` matches folders as well as the files in them.
        if "**" not in pattern:
            yield from _expand(name)
        elif is_image(os.path.basename(name)) and os.path.isfile(name):
            yield name


def _read_standard_input(end: bytes) -> Iterator[Found | None]:
    """Yield the image on standard input, or its paths as they arrive, and None after each read.

    Args:
        end: the byte after each path. If it is a newline, standard input may also be an image.
    """
    rest = _read_head(end)
    if end == b"\n" and is_image_data(rest):
        yield PipedImage(STANDARD_INPUT, rest + b"".join(iter(_read, b"")))
        return
    data = rest
    rest = b""
    while data:
        if end == b"\n" and b"\0" in data:
            yield UnreadablePath(
                STANDARD_INPUT,
                "standard input is neither an image of a supported format nor a list of paths: "
                "pass an image, paths one a line, or -0 for paths that end with NUL",
            )
            return
        *lines, rest = (rest + data).split(end)
        yield from _decoded(lines, end)
        yield None
        data = _read()
    yield from _decoded([rest], end)


def _read() -> bytes:
    if sys.stdin is None:
        raise EdgeError("standard input is closed: pipe an image or paths into the command")
    try:
        # Not sys.stdin.read: while it blocks, it holds a lock that the interpreter needs to exit.
        return os.read(sys.stdin.fileno(), _READ_BYTES)
    except OSError as error:
        raise EdgeError(
            f"cannot read standard input: {error.strerror}; pipe an image or paths into the command"
        ) from error


def _read_head(end: bytes) -> bytes:
    """Read until a path is complete or an image can be recognized."""
    head = b""
    while len(head) < _HEAD_BYTES and end not in head:
        data = _read()
        if not data:
            break
        head += data
    return head


def is_image_data(head: bytes) -> bool:
    """Return whether bytes are the first ones of an image, not of a list of paths."""
    if head.startswith(_UNMISTAKABLE_STARTS) or _PNM_START.match(head):
        return True
    return head.startswith(_BINARY_STARTS) and b"\0" in head[:_HEAD_BYTES]


def _decoded(lines: list[bytes], end: bytes) -> Iterator[str]:
    for line in lines:
        name = line.removesuffix(b"\r") if end == b"\n" else line
        if name:
            yield os.fsdecode(name)
