"""Read small plain PNG files in a third of the time that Pillow's `Image.open` takes.

Data sets of digits are folders with thousands of such files. A plain PNG is 8-bit gray, not
interlaced, and has no other chunks than IHDR, one IDAT and IEND. A small PNG has at most 4096 bytes
and 64 pixels a side. For any other file, also a damaged one, the functions return None.
`runtime.preprocess.decode` and `runtime.preprocess.pipeline` then read the file with Pillow.

Layout: https://www.w3.org/TR/png-3/#5DataRep
"""

import os
import stat
import struct
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

Gray = npt.NDArray[np.uint8]  # (height, width), gray levels

# Larger files and pictures are left to Pillow, because the gain of speed would be small.
MAX_FILE_BYTES = 4096  # size of the file
_MAX_SIDE_PX = 64  # width and height of the picture

# Signature; IHDR: length, type, width, height, format, checksum; IDAT: length, type.
_HEADER = struct.Struct(">8sI4sII5sII4s")
_SIGNATURE = b"\x89PNG\r\n\x1a\n"  # the first 8 bytes of every PNG
_GRAY_8_BIT = b"\x08\x00\x00\x00\x00"  # format in IHDR: 8 bits, gray, …, not interlaced
_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"  # the whole IEND chunk
_CHECKSUM_BYTES = 4  # CRC-32 at the end of a chunk
_OVERHEAD_BYTES = _HEADER.size + _CHECKSUM_BYTES + len(_END)  # bytes other than compressed rows
_IHDR_BYTES = slice(12, 29)  # position of IHDR's type and content, which its checksum covers
_IDAT_TYPE_BYTE = 37  # position of IDAT's type, from which its checksum starts
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0)  # O_BINARY exists on Windows only


def read_plain(path: str | os.PathLike[str]) -> Gray | None:
    """Read a small plain PNG file.

    Args:
        path: path of a file of any kind; it may be missing.

    Returns:
        uint8 (height, width); None if the file is not a small plain PNG or cannot be read.
    """
    parsed = _read(path)
    return None if parsed is None else _unfilter(parsed[0], parsed[1], parsed[2])


def decode_plain(data: bytes) -> Gray | None:
    """Decode a small plain PNG file.

    Args:
        data: the bytes of a file of any kind.

    Returns:
        uint8 (height, width); None if the file is not a small plain PNG.
    """
    parsed = _parse(data) if _OVERHEAD_BYTES < len(data) <= MAX_FILE_BYTES else None
    return None if parsed is None else _unfilter(parsed[0], parsed[1], parsed[2])


def read_all_plain(paths: Sequence[str | os.PathLike[str]], side: int) -> list[Gray | None]:
    """Read several small plain PNG files of one size at once.

    The rows of all files are unfiltered as one tall picture. A row of zeros separates the files,
    because the filters of a picture's first row refer to a row of zeros.

    Args:
        paths: paths of files of any kind.
        side: width and height of the pictures, in pixels.

    Returns:
        For each path: uint8 (side, side); None if the file is not a small plain PNG of this size.
    """
    pixels: list[Gray | None] = [None] * len(paths)
    rows: list[bytes] = []
    places: list[int] = []
    for place, path in enumerate(paths):
        parsed = _read(path)
        if parsed is not None and parsed[1:] == (side, side):
            rows.append(parsed[0])
            places.append(place)
    if rows:
        gap = bytes(side + 1)
        tall = _unfilter(gap + gap.join(rows), side, len(rows) * (side + 1))
        if tall is not None:
            planes = tall.reshape(-1, side + 1, side)
            for place, plane in zip(places, planes, strict=True):
                pixels[place] = plane[1:]
    return pixels


def _unfilter(rows: bytes, width: int, height: int) -> Gray | None:
    """Undo the filters of a PNG's rows; return None if a filter is unknown."""
    try:
        # Pillow's decoder expects compressed rows; level 0 stores them without compression.
        image = Image.frombytes("L", (width, height), zlib.compress(rows, 0), "zip", "L", 0)
    except (ValueError, OSError):
        return None
    return np.frombuffer(image.tobytes(), np.uint8).reshape(height, width)


def _read(path: str | os.PathLike[str]) -> tuple[bytes, int, int] | None:
    """Return the filtered rows, width and height of a small plain PNG file; None for any other."""
    try:
        # Check before opening: opening and closing a named pipe would end the program that writes
        # into the pipe.
        status = os.stat(path)
        if (
            not stat.S_ISREG(status.st_mode)
            or not _OVERHEAD_BYTES < status.st_size <= MAX_FILE_BYTES
        ):
            return None
        descriptor = os.open(path, _OPEN_FLAGS)
    except (OSError, ValueError):
        return None
    try:
        data = os.read(descriptor, MAX_FILE_BYTES + 1)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return _parse(data) if len(data) >= _OVERHEAD_BYTES else None


def _parse(data: bytes) -> tuple[bytes, int, int] | None:
    """Return the filtered rows, width and height of a plain PNG file; None for any other."""
    signature, _, kind, width, height, form, checksum, size, pixels = _HEADER.unpack_from(data)
    end = _HEADER.size + size
    if (
        signature != _SIGNATURE
        or kind != b"IHDR"
        or form != _GRAY_8_BIT
        or pixels != b"IDAT"
        or not 0 < width <= _MAX_SIDE_PX
        or not 0 < height <= _MAX_SIDE_PX
        or len(data) != _OVERHEAD_BYTES + size
        or not data.endswith(_END)
        or zlib.crc32(data[_IHDR_BYTES]) != checksum
        or zlib.crc32(data[_IDAT_TYPE_BYTE:end])
        != int.from_bytes(data[end : end + _CHECKSUM_BYTES], "big")
    ):
        return None
    try:
        rows = zlib.decompress(data[_HEADER.size : end])
    except zlib.error:
        return None
    return (rows, width, height) if len(rows) == height * (width + 1) else None
