"""Make the corpus of images: ordinary files of all accepted formats, and hand-built expensive ones.

`ordinary` returns small files that Pillow writes. `expensive` returns a file that is small for the
work it causes: huge dimensions, many scans, many pieces of ink. `runtime.preprocess.decode.FORMATS`
lists the accepted formats.
"""

import functools
import io
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Gray = npt.NDArray[np.uint8]  # (height, width), gray levels

MAX_FILE_BYTES = 16 << 20  # the largest body that `digit-edge serve` accepts
_MAX_BUILT_PIXELS = 4096 * 4096  # of pictures that are drawn here; headers may promise more
_TIFF_COMPRESSIONS = (None, "packbits", "tiff_lzw", "tiff_adobe_deflate", "group4", "jpeg")
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
_BACKGROUND = 235  # gray level of the paper
_INK = 30  # gray level of the ink
# Red and green of the same luminance: the page is decoded again in color.
_COLOR_PAPER = (200, 60, 60)
_COLOR_INK = (20, 137, 60)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return the bytes of an image file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@functools.cache
def ordinary() -> dict[str, bytes]:
    """Return ordinary files by name."""
    rng = random.Random(0)
    digits = Image.fromarray(_digits(rng, 64, 200, rows=1))
    page = Image.fromarray(_digits(rng, 300, 400, rows=4))
    photo = Image.effect_noise((120, 160), 40)
    color = Image.merge("RGB", [photo, photo.rotate(90, expand=True).resize((120, 160)), photo])
    files: dict[str, bytes] = {}
    for mode in _PNG_MODES:
        files[f"digits-{mode}.png"] = saved(digits.convert(_first_mode(mode)).convert(mode), "PNG")
    files["page.png"] = saved(page, "PNG")
    files["animated.png"] = saved(digits, "PNG", save_all=True, append_images=[digits, digits])
    files["mnist.png"] = saved(digits.crop((0, 0, 28, 28)), "PNG")
    files["text.png"] = _with_text(files["digits-L.png"])
    for mode in ("L", "RGB", "CMYK"):
        for progressive in (False, True):
            name = f"photo-{mode}{'-progressive' if progressive else ''}.jpg"
            files[name] = saved(color.convert(mode), "JPEG", progressive=progressive)
    exif = Image.Exif()
    exif[274] = 6  # orientation: turned
    files["exif.jpg"] = saved(page, "JPEG", exif=exif, restart_marker_blocks=2)
    files["lossy.webp"] = saved(color, "WEBP")
    files["lossless.webp"] = saved(digits.convert("RGBA"), "WEBP", lossless=True)
    files["animated.webp"] = saved(page, "WEBP", save_all=True, append_images=[page.rotate(90)])
    for compression in _TIFF_COMPRESSIONS:
        mode = {"group4": "1", "jpeg": "RGB"}.get(str(compression), "L")
        files[f"page-{compression}.tif"] = saved(
            page.convert(mode), "TIFF", compression=compression
        )
    files["deep.tif"] = saved(digits.convert("I;16"), "TIFF")
    files["float.tif"] = saved(digits.convert("F"), "TIFF")
    files["turned.tif"] = saved(page, "TIFF", tiffinfo={274: 6})
    files["digits.gif"] = saved(digits, "GIF", transparency=0)
    files["animated.gif"] = saved(page.convert("P"), "GIF", save_all=True, append_images=[page])
    for mode in ("1", "L", "P", "RGB"):
        files[f"digits-{mode}.bmp"] = saved(digits.convert(mode), "BMP")
    files["run-lengths.bmp"] = bmp_run_lengths(60, 20, b"\x3c\xeb\0\0" * 19 + b"\0\1")
    for mode in ("1", "L", "RGB"):
        files[f"digits-{mode}.ppm"] = saved(digits.convert(mode), "PPM")
    files["float.pfm"] = saved(digits.convert("F"), "PPM")
    files["plain.pgm"] = b"P2\n# a comment\n8 4 200\n" + b"1 200 30 9 " * 8
    return files


def _first_mode(mode: str) -> str:
    """Return the mode through which Pillow converts gray to `mode`."""
    return "RGBA" if mode in ("LA", "RGBA") else "I" if mode == "I;16" else "L"


def _digits(rng: random.Random, height: int, width: int, rows: int) -> Gray:
    """Draw rows of digits on paper."""
    image = Image.new("L", (width, height), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    size = height // rows * 0.6
    for row in range(rows):
        text = "".join(str(rng.randrange(10)) for _ in range(int(width / size)))
        draw.text((size / 2, height / rows * (row + 0.15)), text, _INK, font_size=size)
    return np.asarray(image)


def png_chunk(kind: bytes, data: bytes = b"") -> bytes:
    """Return a chunk of a PNG with its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _with_text(data: bytes) -> bytes:
    """Add texts and a profile to a PNG, before its pixels."""
    chunks = png_chunk(b"tEXt", b"Title\0digits") + png_chunk(b"pHYs", bytes(9))
    chunks += png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(5000)))
    chunks += png_chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(3000)))
    return data[:33] + chunks + data[33:]


def bmp_run_lengths(width: int, height: int, data: bytes) -> bytes:
    """Return a BMP of run-length-encoded pixels."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(data), 0, 0, 0, 0)
    palette = bytes(level for level in range(256) for _ in range(4))
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + 40 + 1024) + header + palette + data


def expensive(rng: random.Random) -> tuple[str, bytes]:
    """Return the name and the bytes of a file that is small for the work it causes."""
    maker = rng.choice(_EXPENSIVE)
    data = maker(rng)
    while len(data) > MAX_FILE_BYTES:
        data = maker(rng)
    return maker.__name__.strip("_"), data


def _log_uniform(rng: random.Random, low: float, high: float) -> int:
    return round(low * (high / low) ** rng.random())


def _size(rng: random.Random, max_pixels: float, max_side: int = 1 << 30) -> tuple[int, int]:
    """Return a (width, height), often extremely wide or tall."""
    pixels = _log_uniform(rng, max_pixels / 300, max_pixels)
    width = _log_uniform(rng, 1, pixels) if rng.random() < 0.5 else round(pixels**0.5)
    width = min(max(width, pixels // max_side, 1), max_side)
    return width, max(min(pixels // width, max_side), 1)


def _png(rng: random.Random) -> bytes:
    """A PNG of zeros of any size, color type and bit depth, in one or many chunks."""
    color, depths = rng.choice(
        [(0, (1, 8, 16)), (2, (8, 16)), (3, (1, 8)), (4, (8,)), (6, (8, 16))]
    )
    bits = rng.choice(depths) * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    width, height = _size(rng, 6e7)
    stride = 1 + (width * bits + 7) // 8
    interlaced = rng.random() < 0.3
    rows = height + (width + height if interlaced else 0)
    filter_kind = rng.choice((0, 1, 2, 3, 4))
    compressor = zlib.compressobj(rng.choice((1, 9)))
    block = (bytes([filter_kind]) + bytes(min(stride - 1, 1 << 22))) * max(1, (1 << 20) // stride)
    packed = bytearray()
    left = min(rows * stride * (1.2 if interlaced else 1), 500_000_000)
    while left > 0:
        packed += compressor.compress(block)
        left -= len(block)
    packed += compressor.flush()
    size = rng.choice((len(packed), 8192, 40))
    parts = [packed[at : at + size] for at in range(0, min(len(packed), size * 30_000), size)]
    header = struct.pack(
        ">IIBBBBB", width, height, bits // {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color], color, 0, 0,
        interlaced,
    )  # fmt: skip
    before = png_chunk(b"PLTE", bytes(range(48))) if color == 3 else b""
    if rng.random() < 0.3:
        profile = b"iCCP", b"p\0\0" + zlib.compress(bytes(_log_uniform(rng, 1e3, 1e6)), 9)
        before += png_chunk(*profile) * _log_uniform(rng, 1, 800)
    body = b"".join(png_chunk(b"IDAT", bytes(part)) for part in parts)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + before + body + png_chunk(b"IEND")


def _jpeg(rng: random.Random) -> bytes:
    """A JPEG whose scans or header promise more work than its size."""
    width, height = _size(rng, _MAX_BUILT_PIXELS, 65_500)
    mode = rng.choice(("L", "RGB", "CMYK"))
    picture = Image.new("L", (width, height), 128)
    if rng.random() < 0.5:
        side = min(width, height, 1500)
        picture.paste(Image.effect_noise((side, side), rng.choice((20, 120))), (0, 0))
    data = saved(
        picture.convert(mode),
        "JPEG",
        progressive=rng.random() < 0.7,
        quality=rng.choice((10, 75, 98)),
        optimize=rng.random() < 0.3,
        subsampling=rng.choice((0, 1, 2)),
    )
    last = data.rfind(b"\xff\xda")
    scan = data[last:-2]
    count = _log_uniform(rng, 1, 400)
    if len(data) + len(scan) * count < MAX_FILE_BYTES:
        data = data[:-2] + scan * count + data[-2:]
    if rng.random() < 0.3:  # larger dimensions than the scans fill
        frame = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
        size = struct.pack(">HH", _log_uniform(rng, 8, 65_500), _log_uniform(rng, 8, 65_500))
        data = data[: frame + 5] + size + data[frame + 9 :]
    return data


class _Bits:
    """Writes bits, the lowest first, as lossless WebP has them."""

    def __init__(self) -> None:
        self._value, self._count = 0, 0

    def put(self, value: int, bits: int) -> None:
        self._value |= value << self._count
        self._count += bits

    def bytes(self) -> bytes:
        return self._value.to_bytes((self._count + 7) // 8, "little")


def webp_huffman_groups(side: int, groups: int) -> bytes:
    """Return a lossless WebP of `side`² pixels with many groups of five Huffman codes each.

    Format: https://developers.google.com/speed/webp/docs/webp_lossless_bitstream_specification
    """
    head, body = _Bits(), []
    head.put(0x2F, 8)
    head.put(side - 1, 14)
    head.put(side - 1, 14)
    head.put(0, 1 + 3)  # no alpha, version 0
    head.put(0, 1 + 1)  # no transforms, no color cache
    block_bits = 2
    blocks = -(-side // (1 << block_bits))
    head.put(1, 1)  # several groups
    head.put(block_bits - 2, 3)
    head.put(0, 1)  # the image of group numbers has no color cache
    # Green (the low byte of the number) and red (the high byte) have codes of 8 bits; the other
    # three codes have one symbol each.
    for kind in ("green", "red", "blue", "alpha", "distance"):
        if kind in ("green", "red"):
            head.put(0, 1)  # a normal code
            head.put(12 - 4, 4)  # lengths of the code lengths, in the order 17 18 0 1 2 … 8
            for length in (0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1):
                head.put(length, 3)
            alphabet = 256 + 24 if kind == "green" else 256
            head.put(0, 1)  # lengths for the whole alphabet follow
            for symbol in range(alphabet):
                head.put(1 if symbol < 256 else 0, 1)  # length 8, or 0
        else:
            head.put(1, 1)  # a simple code …
            head.put(0, 1)  # … of one symbol …
            head.put(0, 1)  # … of one bit …
            head.put(0, 1)  # … which is 0
    for block in range(blocks * blocks):
        number = block % groups
        head.put(int(f"{number & 255:08b}"[::-1], 2), 8)
        head.put(int(f"{number >> 8:08b}"[::-1], 2), 8)
    group = _Bits()
    for _ in range(5):
        group.put(0b0001, 4)  # a simple code of one symbol, 0
    body = [group] * groups
    for one in body:
        head.put(one._value, one._count)
    stream = head.bytes() + bytes(16)
    stream += bytes(len(stream) % 2)
    chunk = b"VP8L" + struct.pack("<I", len(stream)) + stream
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def _webp(rng: random.Random) -> bytes:
    """A WebP with many Huffman groups, of large size, or of noise."""
    kind = rng.random()
    if kind < 0.4:
        side = _log_uniform(rng, 64, 1024)
        blocks = -((-side // 4) ** 2)
        return webp_huffman_groups(side, min(_log_uniform(rng, 100, 65_536), abs(blocks)))
    width, height = _size(rng, 1e7 if kind < 0.8 else 2e6, 16_383)
    picture = Image.new("RGB", (width, height), "gray")
    if kind >= 0.8:
        picture = Image.effect_noise((width, height), 90).convert("RGB")
    return saved(picture, "WEBP", lossless=rng.random() < 0.5, quality=40, method=0)


def _tiff(rng: random.Random) -> bytes:
    """A TIFF of any size, compression and mode."""
    width, height = _size(rng, _MAX_BUILT_PIXELS)
    compression = rng.choice(_TIFF_COMPRESSIONS)
    mode = rng.choice(("1",) if compression == "group4" else ("L", "RGB", "RGBA", "I;16", "CMYK"))
    if compression == "jpeg":
        mode, width, height = "RGB", min(width, 65_000), min(height, 65_000)
    if mode in ("RGBA", "CMYK"):
        width = max(1, width // 3)
    picture = Image.new(mode, (width, height))
    rows = 16 if compression == "jpeg" else rng.choice((1, 16, height))
    tags = {278: rows, 274: rng.choice((1, 6))}
    return saved(picture, "TIFF", compression=compression, tiffinfo=tags)


def _gif(rng: random.Random) -> bytes:
    """A GIF of a large picture, or one whose frame is larger than it has pixels."""
    width, height = _size(rng, _MAX_BUILT_PIXELS, 65_535)
    data = saved(Image.new("P", (width, height)), "GIF")
    if rng.random() < 0.5:
        size = struct.pack("<HH", *(_log_uniform(rng, 1, 65_535) for _ in range(2)))
        data = data[:6] + size + data[10:]
    return data


def _bmp(rng: random.Random) -> bytes:
    """A BMP of run lengths, or one whose header promises many pixels."""
    if rng.random() < 0.5:
        width, height = _size(rng, 3e6, 30_000)
        data = rng.choice((b"\xff\x01", b"\1\1", b"\0\0", b"\0\2\1\1", b"\0\3abc\0"))
        return bmp_run_lengths(width, height, data * _log_uniform(rng, 10, 1e6))
    width, height = _size(rng, 3e7, 1 << 20)
    bits = rng.choice((1, 8, 24, 32))
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, 0, 0, 0, 0, 0, 0)
    body = bytes(1024 if bits <= 8 else 0) + bytes(
        min(-(-width * bits // 32) * 4 * height, 16 << 20)
    )
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + (1024 if bits <= 8 else 0)) + header + body


def _pnm(rng: random.Random) -> bytes:
    """A PNM of any kind and full scale."""
    kind = rng.choice((b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"Pf"))
    width, height = _size(rng, 1.6e7)
    full = rng.choice((1, 255, 254, 4095, 65535))
    head = kind + b" %d %d" % (width, height)
    if kind not in (b"P1", b"P4"):
        head += b" -1.0" if kind == b"Pf" else b" %d" % full
    values = width * height * (3 if kind in (b"P3", b"P6") else 1)
    if kind in (b"P1", b"P2", b"P3"):
        text = rng.choice((b"1 ", b"1\n", b"#\n1 ", b"1" if kind == b"P1" else b"0001 "))
        return head + b"\n" + text * min(values, _log_uniform(rng, 1e3, 5e6))
    size = values // 8 if kind == b"P4" else values * (4 if kind == b"Pf" else 1 + (full > 255))
    return head + b"\n" + bytes(min(size, 16 << 20))


def _page(rng: random.Random) -> bytes:
    """A page with very many, very large or very strange pieces of ink."""
    width, height = _size(rng, _MAX_BUILT_PIXELS, 8192)
    width, height = max(width, 40), max(height, 40)
    ink = rng.choice(_PATTERNS)(rng, height, width)
    if rng.random() < 0.2:  # only some part of the page
        part = np.zeros((height, width), np.bool_)
        part[: height // 2, : width // rng.choice((1, 2, 8))] = True
        ink = ink & part
    colors = rng.random()
    if colors < 0.3 and width * height < 1e7:  # the luminance shows nothing
        picture = Image.fromarray(
            np.where(ink[..., None], np.uint8(_COLOR_INK), np.uint8(_COLOR_PAPER))
        )
    elif colors < 0.5:
        picture = Image.fromarray(np.where(ink, np.uint8(_BACKGROUND), np.uint8(_INK)))
    else:
        picture = Image.fromarray(np.where(ink, np.uint8(_INK), np.uint8(_BACKGROUND)))
    kind = rng.choice(("PNG", "PNG", "JPEG", "JPEG", "WEBP", "TIFF", "GIF"))
    if kind == "WEBP":
        picture = picture.resize((min(width, 2500), min(height, 2500)))
        return saved(picture, "WEBP", quality=70, method=0)
    if kind == "JPEG":
        quality = rng.choice((60, 90))
        return saved(picture, "JPEG", progressive=rng.random() < 0.5, quality=quality)
    options = {"compress_level": 1} if kind == "PNG" else {}
    if kind == "TIFF":
        options = {"compression": "tiff_adobe_deflate"}
    return saved(picture, kind, **options)


def _grid(rng: random.Random, height: int, width: int) -> npt.NDArray[np.bool_]:
    """Rectangles in rows and columns."""
    step_x, step_y = (_log_uniform(rng, 4, 120) for _ in range(2))
    share = rng.uniform(0.1, 0.9)
    rows, columns = np.arange(height)[:, None], np.arange(width)
    return (rows % step_y < max(step_y * share, 1)) & (columns % step_x < max(step_x * share, 1))


def _comb(rng: random.Random, height: int, width: int) -> npt.NDArray[np.bool_]:
    """Teeth on a back, as one piece of ink."""
    step = _log_uniform(rng, 3, 60)
    rows, columns = np.arange(height)[:, None], np.arange(width)
    period = _log_uniform(rng, 20, max(height, 21))
    back = rows % period < max(period // 20, 1)
    inked: npt.NDArray[np.bool_] = (back | (columns % step < max(step // 3, 1))) & (
        rows % period < period * 0.8
    )
    return inked if rng.random() < 0.5 else _fit(inked.T, height, width)


def _fit(ink: npt.NDArray[np.bool_], height: int, width: int) -> npt.NDArray[np.bool_]:
    return np.resize(ink, (height, width))


def _noise(rng: random.Random, height: int, width: int) -> npt.NDArray[np.bool_]:
    """Blocks of random ink."""
    side = _log_uniform(rng, 1, 40)
    share = rng.uniform(0.02, 0.6)
    small = np.random.default_rng(rng.randrange(1 << 30)).random(
        (-(-height // side), -(-width // side))
    )
    blocks = np.kron(small < share, np.ones((side, side), np.bool_))
    return blocks[:height, :width].astype(np.bool_)


def _waves(rng: random.Random, height: int, width: int) -> npt.NDArray[np.bool_]:
    """Rings or slanted stripes."""
    rows, columns = np.arange(height)[:, None], np.arange(width)
    period = _log_uniform(rng, 4, 200)
    if rng.random() < 0.5:
        distance = np.hypot(rows - height / 2, columns - width / 2)
    else:
        distance = rows * rng.uniform(-2, 2) + columns
    return np.asarray(distance % period < period * rng.uniform(0.1, 0.6))


def _numbers(rng: random.Random, height: int, width: int) -> npt.NDArray[np.bool_]:
    """Rows of digits, from sparse to so dense that they touch."""
    size = _log_uniform(rng, 6, 200)
    tile_h, tile_w = min(height, size * 12), min(width, size * 20)
    image = Image.new("1", (max(tile_w, 20), max(tile_h, 20)))
    draw = ImageDraw.Draw(image)
    step = size * rng.uniform(0.45, 1.5)
    line = size * rng.uniform(0.75, 2)
    characters = rng.choice(("0123456789", "1", "8", "-", "13B7/", "lI1|", "0123456789 abcdefgh"))
    y = 0.0
    while y < image.height:
        x = 0.0
        while x < image.width:
            draw.text((x, y), rng.choice(characters), 1, font_size=size)
            x += step
        y += line
    tile = np.asarray(image)
    repeats = -(-height // tile.shape[0]), -(-width // tile.shape[1])
    return np.tile(tile, repeats)[:height, :width]


_PATTERNS: tuple[Callable[[random.Random, int, int], npt.NDArray[np.bool_]], ...] = (
    _grid, _comb, _noise, _waves, _numbers, _numbers, _numbers,
)  # fmt: skip
_EXPENSIVE: tuple[Callable[[random.Random], bytes], ...] = (
    _png, _jpeg, _jpeg, _webp, _tiff, _gif, _bmp, _pnm, _page, _page, _page, _page,
)  # fmt: skip
