"""Refuses images that are expensive to decode, before Pillow sees them.

A file of a few kilobytes can keep a decoder busy for minutes: a JPEG of 20,000 scans, a PNG of a
million chunks. The headers and markers of a file tell how much work it is, and reading them costs
milliseconds. `check_work` compares an estimate of that work with one limit;
`runtime.preprocess.decode_memory` does the same for memory.
"""

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from runtime.errors import ImageError

# Times are those of one core of a 2020s server, measured with Pillow 13.
MAX_WORK_NS = 1_000_000_000  # of decoding an image once
MAX_TOTAL_WORK_NS = 1_500_000_000  # of decoding an image several times: a JPEG, at several scales
MAX_PARTS = 20_000  # chunks, segments, blocks, strips or tags that Python code handles one by one
MAX_HEADER_BYTES = 65_536  # of a PNM file, its comments included; Pillow reads it byte by byte
MAX_COMMENTS = 1_000  # in the values of a plain PNM file; Pillow copies 1 MB for each
MAX_PROFILE_BYTES = 1 << 20  # Pillow inflates compressed text and color profiles up to this size

_PART_NS = 5_000  # a chunk or segment, parsed by Python code
_PNG_BYTE_NS = 6  # a byte of inflated and unfiltered rows
_STORED_BYTE_NS = 25  # a byte of a PNG file's rows, compressed as badly as can be
_INTERLACED_BYTE_NS = 9  # the same of an interlaced PNG
_PROFILE_BYTE_NS = 1  # a byte of inflated text or color profile
_JUNK_BYTE_NS = 1_000  # a byte between two segments, skipped by Python code each time it is opened
_JPEG_BLOCK_NS = 45  # a block of 8x8 coefficients, decoded in one scan
_JPEG_PIXEL_NS = 2  # a pixel, transformed and converted; at full size
_JPEG_BYTE_NS = 40  # a byte of Huffman-coded data, of noise
_ARITHMETIC_BYTE_NS = 150  # a byte of arithmetic-coded data
_RLE_BYTE_NS = 300  # a byte of run-length-encoded BMP, decoded by Python code
_RLE_PIXEL_NS = 160  # a pixel that the same code appends alone
_PLAIN_BYTE_NS = 80  # a character of a plain PNM file, decoded by Python code
_PLAIN_SAMPLE_NS = 350  # a sample that the same code scales
_STRIP_BYTE_NS = 8  # a byte of inflated TIFF strips or tiles

_BLOCK_BYTES = 2_048  # read at once
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")  # neither stuffed zero nor restart marker
_SOF = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE_SOF = {0xC2, 0xC6, 0xCA, 0xCE}
_ARITHMETIC_SOF = range(0xC9, 0xD0)
_EOI = 0xD9
_SOS = 0xDA
_APP1 = 0xE1
_APP13 = 0xED
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xDA)}


class _TooExpensive(Exception):
    """The reason why a file is refused."""


@dataclass
class _Work:
    """The parts and the estimated work counted so far; raises _TooMuch beyond the limits."""

    parts: int = 0
    ns: float = 0.0

    def add_parts(self, count: int, what: str) -> None:
        self.parts += count
        if self.parts > MAX_PARTS:
            raise _TooExpensive(f"more than {MAX_PARTS:,} {what}")
        self.add(count * _PART_NS, what)

    def add(self, ns: float, what: str) -> None:
        self.ns += ns
        if self.ns > MAX_WORK_NS:
            raise _TooExpensive(what)


def check_work(file: BinaryIO, name: str, spent_ns: float = 0.0) -> float:
    """Raise ImageError if it takes too long to open and decode an image.

    Args:
        file: a seekable file; its position is lost.
        name: of the file, for the message.
        spent_ns: estimated work that was spent on decoding the same image before.

    Returns:
        The estimate plus `spent_ns`, in nanoseconds.
    """
    work = _Work()
    file.seek(0)
    head = file.read(16)
    file.seek(0)
    check = next((check for magic, check in _CHECKS if head.startswith(magic)), None)
    try:
        if check is not None:
            check(file, work)
        if spent_ns and spent_ns + work.ns > MAX_TOTAL_WORK_NS:
            raise _TooExpensive("it has to be decoded again for a closer look, or in color")
    except _TooExpensive as error:
        raise ImageError(
            f"{name}: decoding would take too long ({error}); save it again as a plain PNG or "
            "JPEG, or scale it down"
        ) from None
    except (struct.error, LookupError, OSError, ArithmeticError, ValueError):
        pass  # cut short or damaged: Pillow's message names the damage
    finally:
        file.seek(0)
    return spent_ns + work.ns


def _check_png(file: BinaryIO, work: _Work) -> None:
    """Count the chunks, and the bytes of rows and compressed text."""
    for kind, length in _png_chunks(file):
        work.add_parts(1, "chunks")
        if kind == b"IHDR":  # of several, Pillow takes the last
            before = file.tell()
            width, height, bits, color, _, _, interlaced = struct.unpack(">IIBBBBB", file.read(13))
            file.seek(before)
            samples = {2: 3, 4: 2, 6: 4}.get(color, 1)
            row_bytes = 1 + width * samples * bits // 8
            work.add(
                height * row_bytes * (_INTERLACED_BYTE_NS if interlaced else _PNG_BYTE_NS),
                f"{width}x{height} pixels of {samples * bits} bits",
            )
        elif kind in _COMPRESSED_CHUNKS:
            inflated = min(length * 1032, MAX_PROFILE_BYTES)  # 1032: the most that deflate packs
            work.add(inflated * _PROFILE_BYTE_NS, "compressed text and color profiles")
        elif kind in _PIXEL_CHUNKS:
            work.add(length * _STORED_BYTE_NS, "compressed pixels")


_COMPRESSED_CHUNKS = {b"zTXt", b"iTXt", b"iCCP"}
_PIXEL_CHUNKS = {b"IDAT", b"DDAT", b"fdAT"}


def _png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield kind and length of the chunks that Pillow reads for the first frame."""
    file.seek(8)
    animations = frames = 0
    pixels = False
    while len(head := file.read(8)) == 8:
        kind, length = head[4:], int.from_bytes(head[:4], "big")
        if kind == b"IEND" or (kind == b"fcTL" and pixels and animations == 1 and frames > 1):
            return
        yield kind, length
        pixels |= kind in _PIXEL_CHUNKS
        if kind == b"acTL":
            animations += 1
            frames = int.from_bytes(file.read(4), "big")
            length -= 4
        file.seek(length + 4, 1)


def png_metadata_bytes(file: BinaryIO) -> int:
    """Return how many bytes of text, profiles and private chunks Pillow keeps of a PNG file.

    The position of the file is kept.
    """
    before = file.tell()
    held = 0
    for kind, length in _png_chunks(file):
        if kind in _COMPRESSED_CHUNKS:
            held += min(length * 1032, MAX_PROFILE_BYTES)
        if kind not in _PIXEL_CHUNKS:
            held += length
    file.seek(before)
    return held


def _check_jpeg(file: BinaryIO, work: _Work) -> None:
    """Count the segments, and the work of each scan."""
    sof = 0
    width = height = 0
    sampling: dict[int, tuple[int, int]] = {}
    scans = 0
    for marker, payload in _jpeg_segments(file, work):
        work.add_parts(1, "segments")
        if marker in _SOF:
            sof = marker
            height, width, count = struct.unpack(">HHB", payload[1:6])
            for at in range(6, 6 + 3 * count, 3):
                sampling[payload[at]] = (payload[at + 1] >> 4, payload[at + 1] & 15)
            work.add(width * height * _JPEG_PIXEL_NS, f"{width}x{height} pixels")
        elif marker == _APP1 and payload.startswith(b"Exif"):
            work.add_parts(len(payload) // 12, "entries of EXIF")
        elif marker == _APP13:
            work.add_parts(payload.count(b"8BIM"), "resources of Photoshop")
        elif marker == _SOS:
            scans += 1
            # Sampling factors above 4 are damage.
            most = max((min(h, 4) * min(v, 4) for h, v in sampling.values()), default=1)
            shares = [sampling.get(payload[at], (1, 1)) for at in range(1, 2 * payload[0], 2)]
            blocks = width * height / 64 * sum(h * v for h, v in shares) / max(most, 1)
            start = file.tell()
            skipped = _skip_entropy_coded(file) - start
            byte_ns = _ARITHMETIC_BYTE_NS if sof in _ARITHMETIC_SOF else _JPEG_BYTE_NS
            work.add(
                blocks * _JPEG_BLOCK_NS + skipped * byte_ns,
                f"{scans:,} or more scans of {width}x{height} pixels",
            )
            if sof not in _PROGRESSIVE_SOF and payload[0] >= len(sampling):
                return  # decoders read no further


def buffers_coefficients(file: BinaryIO) -> bool:
    """Return whether a decoder has to keep all coefficients of a JPEG: it has several scans.

    The position of the file is kept.
    """
    before = file.tell()
    several = False
    components = 0
    for marker, payload in _jpeg_segments(file):
        if marker in _SOF and len(payload) > 5:
            components = payload[5]
            several = marker in _PROGRESSIVE_SOF
        elif marker == _SOS:
            several |= payload[:1] < bytes([components])
            break
    file.seek(before)
    return several


def _jpeg_segments(file: BinaryIO, work: _Work | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield marker and payload of each segment up to the end of the image.

    Stops behind the payload of a scan's header: the caller may skip the entropy-coded data, which
    holds no markers otherwise.
    """
    file.seek(2)
    scanned = False
    while True:
        before = file.tell()
        marker = _next_marker(file)
        if work is not None and not scanned:
            work.add((file.tell() - before) * _JUNK_BYTE_NS, "bytes between segments")
        if marker is None:
            return
        if marker == _EOI and scanned:
            return
        if marker in _WITHOUT_LENGTH and marker != _SOS:
            continue
        length = int.from_bytes(file.read(2), "big")
        payload = file.read(max(length - 2, 0))
        scanned |= marker == _SOS
        yield marker, payload


def _next_marker(file: BinaryIO) -> int | None:
    """Read up to the next marker; skip entropy-coded data with its restart markers."""
    while block := file.read(_BLOCK_BYTES):
        found = _MARKER.search(block)
        if found is not None:
            file.seek(found.end() - len(block), 1)
            return found[1][0]
        if block.endswith(b"\xff") and len(block) > 1:
            file.seek(-1, 1)
    return None


def _skip_entropy_coded(file: BinaryIO) -> int:
    """Go to the next marker and return its position."""
    if _next_marker(file) is not None:
        file.seek(-2, 1)
    return file.tell()


def _check_pnm(file: BinaryIO, work: _Work) -> None:
    """Bound the header, and the samples that Python code decodes."""
    head = file.read(MAX_HEADER_BYTES)
    tokens = _COMMENT.sub(b"", head).split(maxsplit=4)
    if any(len(token) > _MAX_NUMBER_BYTES for token in tokens[1:4]):
        return  # Pillow refuses it too
    bilevel = tokens[0] in (b"P1", b"P4")
    if len(tokens) < (3 if bilevel else 4):
        if len(head) == MAX_HEADER_BYTES:
            raise _TooExpensive(f"a header of more than {MAX_HEADER_BYTES:,} bytes")
        return
    try:
        pixels = int(tokens[1]) * int(tokens[2])
        full_scale = 0 if bilevel or tokens[0] == b"Pf" else int(tokens[3])
    except ValueError:
        return
    samples = pixels * (3 if tokens[0] in (b"P3", b"P6") else 1)
    if tokens[0] in (b"P1", b"P2", b"P3"):
        file.seek(0)
        comments = 0
        while block := file.read(1 << 20):
            comments += block.count(b"#")
            if comments > MAX_COMMENTS:
                raise _TooExpensive(f"more than {MAX_COMMENTS:,} comments")
            work.add(len(block) * _PLAIN_BYTE_NS, "numbers written as text")
    if tokens[0] in (b"P5", b"P6") and full_scale != 255 and tokens[0] + tokens[3] != b"P565535":
        work.add(samples * _PLAIN_SAMPLE_NS, f"{samples:,} samples from 0 to {full_scale}")


_MAX_NUMBER_BYTES = 10  # of a PNM header
_COMMENT = re.compile(rb"#[^\r\n]*[\r\n]?")


def _check_bmp(file: BinaryIO, work: _Work) -> None:
    """Bound run-length-encoded pixels, which Python code decodes."""
    head = file.read(34)
    if int.from_bytes(head[14:18], "little") < 40:
        return
    width, height, _, _, compression = struct.unpack("<iiHHI", head[18:34])
    if compression in (1, 2):
        work.add(abs(width * height) * _RLE_PIXEL_NS, "run-length-encoded pixels")
        work.add((_size(file) - len(head)) * _RLE_BYTE_NS, "run-length-encoded pixels")


def _check_gif(file: BinaryIO, work: _Work) -> None:
    """Count the blocks before the first frame, the way that Pillow reads them."""

    def skip_block() -> bytes:
        work.add_parts(1, "blocks before the picture")
        length = file.read(1)
        return file.read(length[0]) if length else b""

    head = file.read(13)
    if head[10] & 128:
        file.seek(3 << (head[10] & 7) + 1, 1)
    while (kind := file.read(1)) not in (b"", b",", b";"):
        if kind != b"!":
            work.add_parts(1, "bytes before the picture")
            continue
        label, block = file.read(1), skip_block()
        if label == b"\xfe":
            while block:
                block = skip_block()
            continue
        if label == b"\xff" and block.startswith(b"NETSCAPE2.0"):
            skip_block()
        while skip_block():
            pass


_BYTE_TYPES = (1, 2, 7)  # of TIFF values; Pillow keeps them as bytes
_LAYOUT_FORMATS = {3: "H", 4: "I", 16: "Q"}  # types that a number of the layout may have
_WIDTH = 256
_HEIGHT = 257
_BITS = 258
_COMPRESSION = 259
_SAMPLES = 277
_STRIP_OFFSETS = 273
_STRIP_BYTES = 279
_TILE_WIDTH = 322
_TILE_HEIGHT = 323
_TILE_OFFSETS = 324
_TILE_BYTES = 325
_LAYOUT = {
    _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _SAMPLES, _STRIP_OFFSETS, _STRIP_BYTES,
    _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES,
}  # fmt: skip
_RAW = 1
_JPEGS = (6, 7)
_MAX_TILE_PIXELS = 1 << 20  # of a tile that is larger than the picture


def _check_tiff(file: BinaryIO, work: _Work) -> None:
    """Count tags, strips and tiles, and their pixels.

    A directory that cannot be read is refused: libtiff ignores damage that stops this reader.
    """
    size = _size(file)
    try:
        numbers = _tiff_layout(file, work)
        width, height = numbers[_WIDTH][0], numbers[_HEIGHT][0]
        tiled = _TILE_OFFSETS in numbers
        if tiled:
            # Decoders inflate whole tiles.
            tile_width, tile_height = numbers[_TILE_WIDTH][0], numbers[_TILE_HEIGHT][0]
            if tile_width * tile_height > max(width * height, _MAX_TILE_PIXELS):
                raise _TooExpensive(f"tiles of {tile_width}x{tile_height} pixels")
            width += -width % max(tile_width, 1)
            height += -height % max(tile_height, 1)
        strips = len(numbers[_TILE_OFFSETS if tiled else _STRIP_OFFSETS])
    except (struct.error, LookupError):
        raise _TooExpensive("a damaged directory of a TIFF") from None
    bits = numbers.get(_BITS, [1])[0] * numbers.get(_SAMPLES, [1])[0]
    what = f"{width}x{height} pixels of {bits} bits"
    compression = numbers.get(_COMPRESSION, [_RAW])[0]
    if compression == _RAW:
        return
    work.add(width * height * bits / 8 * _STRIP_BYTE_NS, what)
    stored = sum(numbers.get(_TILE_BYTES if tiled else _STRIP_BYTES, []))
    if stored > 2 * size:
        raise _TooExpensive("strips or tiles that overlap in the file")
    if compression in _JPEGS:
        blocks = width * height * bits / 8 / 64 / max(strips, 1)
        file.seek(0)
        while block := file.read(1 << 20):
            work.add(block.count(b"\xff\xda") * blocks * _JPEG_BLOCK_NS, f"the scans of {what}")


def _tiff_layout(file: BinaryIO, work: _Work) -> dict[int, list[int]]:
    """Count the values of all tags of the first directory; return the numbers of `_LAYOUT`."""
    file.seek(0)
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = head[2:4] in (b"+\0", b"\0+")
    count_form, entry_form = ("Q", "HHQ8s") if big else ("H", "HHI4s")
    offset_form = order + ("Q" if big else "I")
    file.seek(struct.unpack_from(offset_form, head, 8 if big else 4)[0])
    (count,) = struct.unpack(order + count_form, file.read(struct.calcsize(order + count_form)))
    work.add_parts(4 * count, "values of tags")  # Pillow and its decoder read each several times
    entry_bytes = struct.calcsize(order + entry_form)
    entries = file.read(count * entry_bytes)
    if len(entries) < count * entry_bytes:
        raise _TooExpensive("a damaged directory of a TIFF")
    numbers: dict[int, list[int]] = {}
    for at in range(0, len(entries), entry_bytes):
        tag, kind, length, value = struct.unpack_from(order + entry_form, entries, at)
        if kind not in _BYTE_TYPES:
            work.add_parts(length, "values of tags")
        if tag not in _LAYOUT:
            continue
        if kind not in _LAYOUT_FORMATS or tag in numbers:
            raise _TooExpensive("an unusual or repeated tag of a TIFF")
        form = f"{order}{length}{_LAYOUT_FORMATS[kind]}"
        if struct.calcsize(form) > len(value):
            file.seek(struct.unpack(offset_form, value)[0])
            value = file.read(struct.calcsize(form))
        numbers[tag] = list(struct.unpack_from(form, value))
    return numbers


def _check_webp(file: BinaryIO, work: _Work) -> None:
    """Count the chunks, for each of which the decoder keeps a record."""
    for _ in _webp_chunks(file):
        work.add_parts(1, "chunks")


def is_lossless_webp(file: BinaryIO) -> bool:
    """Return whether the first frame of a WebP file is compressed losslessly.

    The position of the file is lost.
    """
    return next((kind for kind in _webp_chunks(file) if kind.startswith(b"VP8")), b"") == b"VP8L"


def _webp_chunks(file: BinaryIO) -> Iterator[bytes]:
    """Yield the kind of each chunk; of an animation, those of the frames' own chunks too."""
    file.seek(12)
    while len(head := file.read(8)) == 8:
        kind, length = head[:4], int.from_bytes(head[4:], "little")
        if kind == b"ANMF":
            length = 16  # the frame's place and duration; its chunks follow
        if kind != b"VP8X":
            yield kind
        file.seek(length + length % 2, 1)


def _size(file: BinaryIO) -> int:
    return file.seek(0, 2)


_CHECKS: tuple[tuple[bytes, Callable[[BinaryIO, _Work], None]], ...] = (
    (b"\x89PNG", _check_png),
    (b"\xff\xd8\xff", _check_jpeg),
    (b"P", _check_pnm),
    (b"BM", _check_bmp),
    (b"GIF8", _check_gif),
    (b"II", _check_tiff),
    (b"MM", _check_tiff),
    (b"RIFF", _check_webp),
)
