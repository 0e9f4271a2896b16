"""Reject images that would take too long to decode, before Pillow reads them.

A file of a few kilobytes can keep a decoder busy for minutes: a JPEG of 20,000 scans, or a PNG of a
million chunks. `check_work` estimates the decoding time from headers and markers, which takes
milliseconds. It raises ImageError if the estimate exceeds a limit. `runtime.preprocess.decode` and
`runtime.serve.images` call it for each file. `runtime.preprocess.decode_memory` estimates the
memory.
"""

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from runtime.errors import ImageError

# An image beyond one of these limits is rejected.
MAX_WORK_NS = 1_000_000_000  # estimated time of decoding an image once
MAX_TOTAL_WORK_NS = 1_500_000_000  # estimated time of decoding a JPEG at several scales, in total
MAX_PARTS = 20_000  # chunks, segments, blocks, strips and tags that Python code handles one by one
MAX_PNM_HEADER_BYTES = 65_536  # a PNM's header with comments, which Pillow reads byte by byte
MAX_PNM_COMMENTS = 1_000  # comments among a plain PNM's values; Pillow copies 1 MB for each

# Pillow inflates a compressed text or color profile up to this size, and no further.
MAX_PROFILE_BYTES = 1 << 20

# Decoding times on one core of a server of the 2020s, measured with Pillow 13. `check_work` adds
# them up; the sum is compared with `MAX_WORK_NS`.
_PART_NS = 5_000  # per chunk or segment, parsed by Python code
_PNG_BYTE_NS = 6  # per byte of inflated and unfiltered rows
_INTERLACED_BYTE_NS = 9  # per byte of inflated rows of an interlaced PNG
_STORED_BYTE_NS = 25  # per byte of compressed rows in a PNG file, in the worst case
_PROFILE_BYTE_NS = 1  # per byte of inflated text or color profile
_JUNK_BYTE_NS = 1_000  # per byte between two JPEG segments, skipped by Python code at each opening
_JPEG_BLOCK_NS = 45  # per block of 8x8 coefficients and scan
_JPEG_PIXEL_NS = 2  # per pixel, transformed and converted at full size
_JPEG_BYTE_NS = 40  # per byte of Huffman-coded data, for a picture of noise
_ARITHMETIC_BYTE_NS = 150  # per byte of arithmetic-coded data
_RLE_BYTE_NS = 300  # per byte of run-length-encoded BMP, decoded by Python code
_RLE_PIXEL_NS = 160  # per pixel of run-length-encoded BMP, appended by Python code
_PLAIN_BYTE_NS = 80  # per character of a plain PNM file, decoded by Python code
_SCALED_SAMPLE_NS = 350  # per sample of a binary PNM file of unusual full scale, in Python code
_STRIP_BYTE_NS = 8  # per byte of inflated TIFF strips or tiles

# PNG, https://www.w3.org/TR/png-3/#11Chunks
_COMPRESSED_CHUNKS = {b"zTXt", b"iTXt", b"iCCP"}  # types of chunks with text and color profiles
_PIXEL_CHUNKS = {b"IDAT", b"DDAT", b"fdAT"}  # types of chunks with compressed pixels
_PNG_SAMPLES = {2: 3, 4: 2, 6: 4}  # color type → samples per pixel; 1 for other color types
_MAX_DEFLATE_RATIO = 1032  # inflated bytes per compressed byte, at most, by the format

# JPEG markers, ITU-T T.81, table B.1
_SOF_MARKERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # start of frame: the picture's size
_PROGRESSIVE_SOF_MARKERS = {0xC2, 0xC6, 0xCA, 0xCE}  # start of a frame with several scans
_ARITHMETIC_SOF_MARKERS = range(0xC9, 0xD0)  # start of a frame with arithmetic coding
_EOI_MARKER = 0xD9  # end of image
_SOS_MARKER = 0xDA  # start of scan: a part of the coefficients of all blocks
_APP1_MARKER = 0xE1  # a segment with EXIF
_APP13_MARKER = 0xED  # a segment with resources of Photoshop
_MARKERS_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xDA)}  # not followed by a segment
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")  # neither stuffed zero nor restart marker
# Largest valid sampling factor of a component, along each axis. In the divisor of the estimate,
# larger factors count as this.
_MAX_SAMPLING_FACTOR = 4
_JPEG_BLOCK_PIXELS = 64  # pixels of a block
_EXIF_ENTRY_BYTES = 12  # size of an entry in EXIF, a directory of TIFF tags
_JPEG_READ_BYTES = 2_048  # bytes read at once to find the next marker

_READ_BYTES = 1 << 20  # bytes of a whole file read at once

# PNM
_MAX_NUMBER_BYTES = 10  # digits of a number in the header; Pillow rejects longer numbers
_COMMENT = re.compile(rb"#[^\r\n]*[\r\n]?")  # a comment in the header, to the end of the line

# BMP
_RLE_COMPRESSIONS = (1, 2)  # values of the field "compression": run-length-encoded pixels
_MIN_BMP_HEADER_BYTES = 40  # a file with a shorter header has no field "compression"

# TIFF tags, TIFF 6.0
_WIDTH_TAG = 256  # width of the picture in pixels
_HEIGHT_TAG = 257  # height of the picture in pixels
_BITS_TAG = 258  # bits per sample
_COMPRESSION_TAG = 259  # kind of compression
_STRIP_OFFSETS_TAG = 273  # position of each strip in the file
_SAMPLES_TAG = 277  # samples per pixel
_STRIP_BYTES_TAG = 279  # size of each strip in the file
_TILE_WIDTH_TAG = 322  # width of a tile in pixels
_TILE_HEIGHT_TAG = 323  # height of a tile in pixels
_TILE_OFFSETS_TAG = 324  # position of each tile in the file
_TILE_BYTES_TAG = 325  # size of each tile in the file
_LAYOUT_TAGS = {  # the tags that `_tiff_layout` reads
    _WIDTH_TAG, _HEIGHT_TAG, _BITS_TAG, _COMPRESSION_TAG, _STRIP_OFFSETS_TAG, _SAMPLES_TAG,
    _STRIP_BYTES_TAG, _TILE_WIDTH_TAG, _TILE_HEIGHT_TAG, _TILE_OFFSETS_TAG, _TILE_BYTES_TAG,
}  # fmt: skip
_BYTE_TYPES = (1, 2, 7)  # types of values that Pillow keeps as bytes; others become Python numbers
_LAYOUT_FORMATS = {3: "H", 4: "I", 16: "Q"}  # accepted types of the tags above → struct format
_UNCOMPRESSED = 1  # value of _COMPRESSION_TAG: no compression
_JPEG_COMPRESSIONS = (6, 7)  # values of _COMPRESSION_TAG: JPEG
_TAG_READS = 4  # Pillow and libtiff read each tag this many times, by estimate
# (Sum of the sizes of the strips) / (size of the file). Beyond it, strips overlap, and the file is
# rejected.
_MAX_STORED_RATIO = 2
# Pixels of a tile. A tile with more pixels than both this number and the picture is rejected.
_MAX_TILE_PIXELS = 1 << 20


class _TooExpensive(Exception):
    """A limit is exceeded; the message is the reason, for the user."""


@dataclass
class _Work:
    """Adds up the number of parts of a file and the time of decoding it, and checks the limits.

    Attributes:
        parts: number of chunks, segments, blocks, strips and tags.
        ns: estimated decoding time in nanoseconds.
    """

    parts: int = 0
    ns: float = 0.0

    def add_parts(self, count: int, kind: str) -> None:
        """Add parts, and the time to handle them.

        Args:
            count: number of parts.
            kind: name of the parts, for the message.

        Raises:
            _TooExpensive: there are more than `MAX_PARTS`, or the time exceeds `MAX_WORK_NS`.
        """
        self.parts += count
        if self.parts > MAX_PARTS:
            raise _TooExpensive(f"more than {MAX_PARTS:,} {kind}")
        self.add(count * _PART_NS, kind)

    def add(self, ns: float, kind: str) -> None:
        """Add time.

        Args:
            ns: nanoseconds.
            kind: name of the work, for the message.

        Raises:
            _TooExpensive: the time exceeds `MAX_WORK_NS`.
        """
        self.ns += ns
        if self.ns > MAX_WORK_NS:
            raise _TooExpensive(kind)


def check_work(file: BinaryIO, name: str, spent_ns: float = 0.0) -> float:
    """Estimate the time to open and decode an image.

    Args:
        file: a seekable file; afterwards, its position is the start.
        name: name of the file, for error messages.
        spent_ns: estimated time of earlier decodings of the same image, in nanoseconds.

    Returns:
        The estimate plus `spent_ns`, in nanoseconds. The estimate is 0 for formats other than PNG,
        JPEG, PNM, BMP, GIF, TIFF and WebP. It may be too low for a damaged file.

    Raises:
        ImageError: the estimate, the total or the number of parts exceeds a limit.
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
            raise _TooExpensive("the image must be decoded again at a larger scale, or in color")
    except _TooExpensive as error:
        raise ImageError(
            f"{name}: decoding would take too long ({error}); save it again as a plain PNG or "
            "JPEG, or scale it down"
        ) from None
    except (struct.error, LookupError, OSError, ArithmeticError, ValueError):
        pass  # the file is truncated or damaged, and Pillow raises a more specific error
    finally:
        file.seek(0)
    return spent_ns + work.ns


def _check_png(file: BinaryIO, work: _Work) -> None:
    """Add the work of a PNG: chunks, rows, and compressed text."""
    for kind, length in _png_chunks(file):
        work.add_parts(1, "chunks")
        if kind == b"IHDR":  # a file may repeat this chunk; Pillow uses the last one
            before = file.tell()
            width, height, bits, color, _, _, interlaced = struct.unpack(">IIBBBBB", file.read(13))
            file.seek(before)
            samples = _PNG_SAMPLES.get(color, 1)
            row_bytes = 1 + width * samples * bits // 8  # the first byte names the row's filter
            work.add(
                height * row_bytes * (_INTERLACED_BYTE_NS if interlaced else _PNG_BYTE_NS),
                f"{width}x{height} pixels of {samples * bits} bits",
            )
        elif kind in _COMPRESSED_CHUNKS:
            inflated = min(length * _MAX_DEFLATE_RATIO, MAX_PROFILE_BYTES)
            work.add(inflated * _PROFILE_BYTE_NS, "compressed text and color profiles")
        elif kind in _PIXEL_CHUNKS:
            work.add(length * _STORED_BYTE_NS, "compressed pixels")


def _png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield type and length in bytes of the chunks that Pillow reads for the first frame."""
    file.seek(8)  # after the signature
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
        file.seek(length + 4, 1)  # the content that is left, and the checksum


def png_metadata_bytes(file: BinaryIO) -> int:
    """Return the size in bytes of the text, profiles and private chunks that Pillow keeps of a PNG.

    Args:
        file: a seekable PNG file; its position does not change.
    """
    before = file.tell()
    held = 0
    for kind, length in _png_chunks(file):
        if kind in _COMPRESSED_CHUNKS:
            held += min(length * _MAX_DEFLATE_RATIO, MAX_PROFILE_BYTES)
        if kind not in _PIXEL_CHUNKS:
            held += length
    file.seek(before)
    return held


def _check_jpeg(file: BinaryIO, work: _Work) -> None:
    """Add the work of a JPEG: segments, pixels, and the coefficients of each scan."""
    sof = 0
    width = height = 0
    sampling: dict[int, tuple[int, int]] = {}
    scans = 0
    for marker, payload in _jpeg_segments(file, work):
        work.add_parts(1, "segments")
        if marker in _SOF_MARKERS:
            sof = marker
            height, width, count = struct.unpack(">HHB", payload[1:6])
            for at in range(6, 6 + 3 * count, 3):
                sampling[payload[at]] = (payload[at + 1] >> 4, payload[at + 1] & 15)
            work.add(width * height * _JPEG_PIXEL_NS, f"{width}x{height} pixels")
        elif marker == _APP1_MARKER and payload.startswith(b"Exif"):
            work.add_parts(len(payload) // _EXIF_ENTRY_BYTES, "entries of EXIF")
        elif marker == _APP13_MARKER:
            work.add_parts(payload.count(b"8BIM"), "resources of Photoshop")
        elif marker == _SOS_MARKER:
            scans += 1
            limit = _MAX_SAMPLING_FACTOR
            max_factor = max(
                (min(h, limit) * min(v, limit) for h, v in sampling.values()), default=1
            )
            factors = [sampling.get(payload[at], (1, 1)) for at in range(1, 2 * payload[0], 2)]
            samples = width * height * sum(h * v for h, v in factors) / max(max_factor, 1)
            blocks = samples / _JPEG_BLOCK_PIXELS
            start = file.tell()
            skipped = _skip_entropy_coded(file) - start
            byte_ns = _ARITHMETIC_BYTE_NS if sof in _ARITHMETIC_SOF_MARKERS else _JPEG_BYTE_NS
            work.add(
                blocks * _JPEG_BLOCK_NS + skipped * byte_ns,
                f"{scans:,} or more scans of {width}x{height} pixels",
            )
            if sof not in _PROGRESSIVE_SOF_MARKERS and payload[0] >= len(sampling):
                return  # decoders ignore all data after this scan


def buffers_coefficients(file: BinaryIO) -> bool:
    """Return whether a JPEG has several scans; a decoder then keeps all coefficients in memory.

    Args:
        file: a seekable JPEG file; its position does not change.
    """
    before = file.tell()
    several = False
    components = 0
    for marker, payload in _jpeg_segments(file):
        if marker in _SOF_MARKERS and len(payload) > 5:
            components = payload[5]
            several = marker in _PROGRESSIVE_SOF_MARKERS
        elif marker == _SOS_MARKER:
            several |= payload[:1] < bytes([components])
            break
    file.seek(before)
    return several


def _jpeg_segments(file: BinaryIO, work: _Work | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield marker and payload of each JPEG segment up to the end of the image.

    After a start of scan, the file is positioned at the entropy-coded data, which the caller may
    skip.

    Args:
        file: a seekable JPEG file.
        work: receives the time of skipping bytes between segments; None counts nothing.
    """
    file.seek(2)  # after the marker "start of image"
    scanned = False
    while True:
        before = file.tell()
        marker = _next_marker(file)
        if work is not None and not scanned:
            work.add((file.tell() - before) * _JUNK_BYTE_NS, "bytes between segments")
        if marker is None:
            return
        if marker == _EOI_MARKER and scanned:
            return
        if marker in _MARKERS_WITHOUT_LENGTH and marker != _SOS_MARKER:
            continue
        length = int.from_bytes(file.read(2), "big")
        payload = file.read(max(length - 2, 0))
        scanned |= marker == _SOS_MARKER
        yield marker, payload


def _next_marker(file: BinaryIO) -> int | None:
    """Read up to the next marker and return the marker; None at the end of the file.

    Entropy-coded data and restart markers are skipped.
    """
    while block := file.read(_JPEG_READ_BYTES):
        match = _MARKER.search(block)
        if match is not None:
            file.seek(match.end() - len(block), 1)
            return match[1][0]
        if block.endswith(b"\xff") and len(block) > 1:
            file.seek(-1, 1)
    return None


def _skip_entropy_coded(file: BinaryIO) -> int:
    """Move to the next marker, or to the end of the file, and return the new position."""
    if _next_marker(file) is not None:
        file.seek(-2, 1)
    return file.tell()


def _check_pnm(file: BinaryIO, work: _Work) -> None:
    """Add the work of a PNM: the samples that Python code decodes. Limit the header's size."""
    head = file.read(MAX_PNM_HEADER_BYTES)
    tokens = _COMMENT.sub(b"", head).split(maxsplit=4)
    if any(len(token) > _MAX_NUMBER_BYTES for token in tokens[1:4]):
        return  # Pillow rejects the file
    bilevel = tokens[0] in (b"P1", b"P4")
    if len(tokens) < (3 if bilevel else 4):
        if len(head) == MAX_PNM_HEADER_BYTES:
            raise _TooExpensive(f"a header of more than {MAX_PNM_HEADER_BYTES:,} bytes")
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
        while block := file.read(_READ_BYTES):
            comments += block.count(b"#")
            if comments > MAX_PNM_COMMENTS:
                raise _TooExpensive(f"more than {MAX_PNM_COMMENTS:,} comments")
            work.add(len(block) * _PLAIN_BYTE_NS, "numbers written as text")
    # Pillow decodes full scale 255, and gray (P5) of full scale 65535, in C.
    if tokens[0] in (b"P5", b"P6") and full_scale != 255 and tokens[0] + tokens[3] != b"P565535":
        work.add(samples * _SCALED_SAMPLE_NS, f"{samples:,} samples from 0 to {full_scale}")


def _check_bmp(file: BinaryIO, work: _Work) -> None:
    """Add the work of a BMP: run-length-encoded pixels, which Python code decodes."""
    head = file.read(34)
    if int.from_bytes(head[14:18], "little") < _MIN_BMP_HEADER_BYTES:
        return
    width, height, _, _, compression = struct.unpack("<iiHHI", head[18:34])
    if compression in _RLE_COMPRESSIONS:
        work.add(abs(width * height) * _RLE_PIXEL_NS, "run-length-encoded pixels")
        work.add((_size(file) - len(head)) * _RLE_BYTE_NS, "run-length-encoded pixels")


def _check_gif(file: BinaryIO, work: _Work) -> None:
    """Add the work of a GIF: the blocks before the first frame, as Pillow reads them."""

    def skip_block() -> bytes:
        work.add_parts(1, "blocks before the picture")
        length = file.read(1)
        return file.read(length[0]) if length else b""

    head = file.read(13)
    if head[10] & 128:  # the file has a global palette
        file.seek(3 << (head[10] & 7) + 1, 1)
    while (kind := file.read(1)) not in (b"", b",", b";"):  # until the end, a frame or the trailer
        if kind != b"!":  # not an extension
            work.add_parts(1, "bytes before the picture")
            continue
        label, block = file.read(1), skip_block()
        if label == b"\xfe":  # a comment
            while block:
                block = skip_block()
            continue
        if label == b"\xff" and block.startswith(b"NETSCAPE2.0"):
            skip_block()
        while skip_block():
            pass


def _check_tiff(file: BinaryIO, work: _Work) -> None:
    """Add the work of a TIFF: tags, strips or tiles, and their pixels.

    A file with a damaged directory is rejected, because libtiff may still decode the file.

    Raises:
        _TooExpensive: a limit is exceeded, or the directory is damaged.
    """
    size = _size(file)
    try:
        numbers = _tiff_layout(file, work)
        width, height = numbers[_WIDTH_TAG][0], numbers[_HEIGHT_TAG][0]
        tiled = _TILE_OFFSETS_TAG in numbers
        if tiled:
            # Decoders inflate whole tiles.
            tile_width, tile_height = numbers[_TILE_WIDTH_TAG][0], numbers[_TILE_HEIGHT_TAG][0]
            if tile_width * tile_height > max(width * height, _MAX_TILE_PIXELS):
                raise _TooExpensive(f"tiles of {tile_width}x{tile_height} pixels")
            width += -width % max(tile_width, 1)
            height += -height % max(tile_height, 1)
        strips = len(numbers[_TILE_OFFSETS_TAG if tiled else _STRIP_OFFSETS_TAG])
    except (struct.error, LookupError):
        raise _TooExpensive("a damaged TIFF directory") from None
    bits = numbers.get(_BITS_TAG, [1])[0] * numbers.get(_SAMPLES_TAG, [1])[0]
    kind = f"{width}x{height} pixels of {bits} bits"
    compression = numbers.get(_COMPRESSION_TAG, [_UNCOMPRESSED])[0]
    if compression == _UNCOMPRESSED:
        return
    work.add(width * height * bits / 8 * _STRIP_BYTE_NS, kind)
    stored = sum(numbers.get(_TILE_BYTES_TAG if tiled else _STRIP_BYTES_TAG, []))
    if stored > _MAX_STORED_RATIO * size:
        raise _TooExpensive("strips or tiles that overlap in the file")
    if compression in _JPEG_COMPRESSIONS:
        blocks = width * height * bits / 8 / _JPEG_BLOCK_PIXELS / max(strips, 1)
        file.seek(0)
        while block := file.read(_READ_BYTES):
            scans = block.count(bytes((0xFF, _SOS_MARKER)))
            work.add(scans * blocks * _JPEG_BLOCK_NS, f"the scans of {kind}")


def _tiff_layout(file: BinaryIO, work: _Work) -> dict[int, list[int]]:
    """Return the values of `_LAYOUT_TAGS` in the first directory; add the work of all tags.

    Returns:
        Tag → values; without the tags that are missing.

    Raises:
        _TooExpensive: the directory is damaged or has too many tags.
        struct.error: the directory is damaged.
    """
    file.seek(0)
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = head[2:4] in (b"+\0", b"\0+")  # version 43: BigTIFF, with 64-bit positions
    count_form, entry_form = ("Q", "HHQ8s") if big else ("H", "HHI4s")
    offset_form = order + ("Q" if big else "I")
    file.seek(struct.unpack_from(offset_form, head, 8 if big else 4)[0])
    (count,) = struct.unpack(order + count_form, file.read(struct.calcsize(order + count_form)))
    work.add_parts(_TAG_READS * count, "values of tags")
    entry_bytes = struct.calcsize(order + entry_form)
    entries = file.read(count * entry_bytes)
    if len(entries) < count * entry_bytes:
        raise _TooExpensive("a damaged TIFF directory")
    numbers: dict[int, list[int]] = {}
    for at in range(0, len(entries), entry_bytes):
        tag, kind, length, value = struct.unpack_from(order + entry_form, entries, at)
        if kind not in _BYTE_TYPES:
            work.add_parts(length, "values of tags")
        if tag not in _LAYOUT_TAGS:
            continue
        if kind not in _LAYOUT_FORMATS or tag in numbers:
            raise _TooExpensive("an unusual or repeated TIFF tag")
        form = f"{order}{length}{_LAYOUT_FORMATS[kind]}"
        if struct.calcsize(form) > len(value):
            file.seek(struct.unpack(offset_form, value)[0])
            value = file.read(struct.calcsize(form))
        numbers[tag] = list(struct.unpack_from(form, value))
    return numbers


def _check_webp(file: BinaryIO, work: _Work) -> None:
    """Add the work of a WebP: chunks, for each of which the decoder keeps a record."""
    for _ in _webp_chunks(file):
        work.add_parts(1, "chunks")


def is_lossless_webp(file: BinaryIO) -> bool:
    """Return whether the first frame of a WebP file is compressed losslessly.

    Args:
        file: a seekable WebP file; its position changes.
    """
    return next((kind for kind in _webp_chunks(file) if kind.startswith(b"VP8")), b"") == b"VP8L"


def _webp_chunks(file: BinaryIO) -> Iterator[bytes]:
    """Yield the type of each chunk of a WebP, including the chunks inside of animation frames."""
    file.seek(12)  # after the file header
    while len(head := file.read(8)) == 8:
        kind, length = head[:4], int.from_bytes(head[4:], "little")
        if kind == b"ANMF":
            length = 16  # position and duration of the frame; the frame's chunks follow
        if kind != b"VP8X":
            yield kind
        file.seek(length + length % 2, 1)


def _size(file: BinaryIO) -> int:
    """Return the size of a file in bytes; move to the end of the file."""
    return file.seek(0, 2)


# Magic bytes at the start of a file → the function that adds the work of its format.
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
