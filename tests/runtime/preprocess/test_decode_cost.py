"""Small files that are expensive to decode are rejected before decoding; ordinary ones are not."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runtime.errors import ImageError
from runtime.preprocess.decode import CachedDecoder, decode
from runtime.preprocess.decode_cost import MAX_PARTS
from runtime.preprocess.decode_memory import memory_bytes
from runtime.preprocess.grayscale import downscale

pytestmark = pytest.mark.portable

MANY = MAX_PARTS + 1


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def jpeg(side: int = 64, **options: Any) -> bytes:
    return saved(Image.new("RGB", (side, side), "gray"), "JPEG", **options)


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, before: bytes = b"", after: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes((width + 1) * height)))
    return b"\x89PNG\r\n\x1a\n" + header + before + pixels + after + chunk(b"IEND")


def with_scans(data: bytes, count: int) -> bytes:
    last = data.rfind(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + b"\xff\xd9"


def in_app_segment(data: bytes, payload: bytes) -> bytes:
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + data[2:]


def before_scans(segment: bytes) -> bytes:
    data = jpeg()
    return data[:2] + segment * MANY + data[2:]


def gif(before: bytes) -> bytes:
    data = saved(Image.new("P", (64, 64)), "GIF")
    frame = data.find(b",\0\0\0\0")
    return data[:frame] + before + data[frame:]


def bmp_run_lengths(width: int, height: int, data: bytes) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(data), 0, 0, 0, 0)
    palette = bytes(range(256)) * 4
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + 40 + 1024) + header + palette + data


def tiff(tags: list[tuple[int, int, list[int]]], data: bytes) -> bytes:
    """A TIFF file with these tags (number, type 3 or 4, values); its pixels start at byte 8."""
    body = bytearray(b"II*\0" + bytes(4) + data)
    entries = b""
    for tag, kind, values in sorted(tags):
        packed = struct.pack(f"<{len(values)}{'H' if kind == 3 else 'I'}", *values)
        if len(packed) > 4:
            packed, stored = struct.pack("<I", len(body)), packed
            body += stored
        entries += struct.pack("<HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    body[4:8] = struct.pack("<I", len(body))
    return bytes(body) + struct.pack("<H", len(tags)) + entries + bytes(4)


def tiff_strips(
    width: int, height: int, compression: int, strip: bytes, counts: list[int], photo: int = 1
) -> bytes:
    samples = 3 if photo == 6 else 1
    tags = [
        (256, 4, [width]),
        (257, 4, [height]),
        (258, 3, [8] * samples),
        (259, 3, [compression]),
        (262, 3, [photo]),
        (273, 4, [8] * len(counts)),
        (277, 3, [samples]),
        (278, 4, [height // len(counts)]),
        (279, 4, counts),
    ]
    return tiff(tags, strip)


THUMBNAIL = b"Exif\0\0" + jpeg(16) + b"\xff\xd9"
BOMB = chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(1_000_000), 9))
ROW = zlib.compress(bytes(20))
HOSTILE: dict[str, Callable[[], bytes]] = {
    "chunks before the pixels of a PNG": lambda: png(8, 8, before=chunk(b"abCd") * MANY),
    "chunks behind the pixels of a PNG": lambda: png(8, 8, after=chunk(b"tEXt", b"a\0b") * MANY),
    "compressed profiles in a PNG": lambda: png(8, 8, before=BOMB * 1100),
    "empty pixel chunks in a PNG": lambda: png(8, 8, before=chunk(b"IDAT") * MANY),
    "scans of a progressive JPEG": lambda: with_scans(jpeg(3000, progressive=True), 400),
    "scans behind a thumbnail": lambda: in_app_segment(
        with_scans(jpeg(3000, progressive=True), 400), THUMBNAIL
    ),
    "segments of a JPEG": lambda: before_scans(b"\xff\xfe\0\2"),
    "bytes between the segments of a JPEG": lambda: (
        jpeg()[:2] + b"\xff\xfe\0\2" + bytes(1_100_000) + jpeg()[2:]
    ),
    "fill bytes of a JPEG": lambda: jpeg()[:2] + b"\xff" * 1_100_000 + jpeg()[2:],
    "resources of Photoshop": lambda: (
        jpeg()[:2] + (b"\xff\xed\xff\xff" + b"8BIM\0\0\0\0\0\0\0\0" * 5461 + b"x") * 4 + jpeg()[2:]
    ),
    "entries of EXIF": lambda: (
        before_scans(b"")[:2] + (b"\xff\xe1\xff\xff" + b"Exif\0\0" + bytes(65527)) * 4 + jpeg()[2:]
    ),
    "comment in the header of a PGM": lambda: b"P5 #" + b"x" * 70_000 + b"\n8 8 255\n" + bytes(64),
    "white space in the header of a PGM": lambda: b"P5" + b" " * 70_000 + b"8 8 255\n" + bytes(64),
    "comments in a plain PGM": lambda: b"P2 8 8 255\n" + b"#\n" * 2000 + b"1 " * 64,
    "numbers of a plain PPM": lambda: b"P3 2500 2500 255\n" + b"1 " * (2500 * 2500 * 3),
    "values of another full scale": lambda: b"P5 2000 2000 254\n" + bytes(2000 * 2000),
    "run lengths of a BMP": lambda: bmp_run_lengths(64, 64, b"\0\0" * 2_000_000),
    "short lines of a BMP": lambda: bmp_run_lengths(3000, 3000, b"\1\1\0\0" * 3000),
    "comments in a GIF": lambda: gif(b"!\xfe" + b"\1x" * MANY + b"\0"),
    "extensions in a GIF": lambda: gif(b"!\1\1x\0" * MANY),
    "bytes between the blocks of a GIF": lambda: gif(b"x" * MANY),
    "tags of a TIFF": lambda: tiff([(tag, 3, [1]) for tag in range(1000, 7000)], b""),
    "strips of a TIFF": lambda: tiff_strips(20, MANY, 8, ROW, [len(ROW)] * MANY),
    "strips that overlap": lambda: tiff_strips(20, 1000, 8, ROW + bytes(50_000), [50_000] * 1000),
    "scans of a JPEG in a TIFF": lambda: tiff_strips(
        3000, 3000, 7, data := with_scans(jpeg(3000, progressive=True), 400), [len(data)], 6
    ),
}


def tiff_with_signed_offsets() -> bytes:
    data = tiff_strips(64, 4, 1, bytes(256), [64] * 4)
    return data.replace(struct.pack("<HHI", 273, 4, 4), struct.pack("<HHI", 273, 6, 4))


def tiff_with_large_tile() -> bytes:
    side = 20_000
    tile = zlib.compress(bytes(1000))
    tags = [(256, [64]), (257, [64]), (258, [8]), (259, [8]), (262, [1]), (277, [1])]
    tags += [(322, [side]), (323, [side]), (324, [8]), (325, [len(tile)])]
    return tiff([(tag, 4, values) for tag, values in tags], tile)


def png_with_another_header(width: int, height: int) -> bytes:
    return png(8, 8, chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)))


HOSTILE |= {
    "layout of a TIFF in numbers of another type": tiff_with_signed_offsets,
    "tile that is larger than the TIFF": tiff_with_large_tile,
    "values of a private tag of a TIFF": lambda: tiff(
        [(256, 4, [8]), (257, 4, [8]), (273, 4, [8]), (65000, 3, [0] * MANY)], bytes(64)
    ),
    "directory of a TIFF that ends outside the file": lambda: tiff_strips(8, 8, 1, bytes(64), [64])[
        :-20
    ],
    "second header of a PNG": lambda: png_with_another_header(30_000, 30_000),
    "chunks of a WebP": lambda: (
        (data := saved(Image.new("RGB", (8, 8)), "WEBP"))[:12] + b"abcd\0\0\0\0" * MANY + data[12:]
    ),
}
DAMAGED = {
    "PGM of numbers with thousands of digits": b"P5 " + b"9" * 4200 + b" " + b"9" * 4200 + b" 9\n",
    "TIFF of JPEGs without strips": tiff(
        [(256, 4, [8]), (257, 4, [8]), (259, 3, [7]), (273, 4, []), (279, 4, [])], b""
    ),
}
ORDINARY: dict[str, Callable[[], bytes]] = {
    "progressive JPEG": lambda: jpeg(3000, progressive=True),
    "JPEG with restart markers": lambda: jpeg(1000, restart_marker_blocks=1),
    "JPEG with other pictures behind it": lambda: jpeg() + before_scans(b"")[2:] * MANY,
    "JPEG with noise, whose codes hold stuffed zeros": lambda: saved(
        Image.effect_noise((900, 900), 90), "JPEG", quality=100, progressive=True
    ),
    "animated PNG of many frames": lambda: png(
        8,
        8,
        before=chunk(b"acTL", struct.pack(">II", MANY, 0))
        + chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 8, 8, 0, 0, 1, 1, 0, 0)),
        after=chunk(b"fcTL", struct.pack(">IIIIIHHBB", 1, 8, 8, 0, 0, 1, 1, 0, 0)) * MANY,
    ),
    "plain PBM of 1000 x 1000": lambda: b"P1 1000 1000\n" + b"1" * 1_000_000,
    "plain PGM of 1000 x 1000": lambda: b"P2\n#\n1000 1000 255\n" + b"200 " * 1_000_000,
    "run-length-encoded BMP": lambda: bmp_run_lengths(
        500, 500, b"\xff\1\xf5\1\0\0" * 500 + b"\0\1"
    ),
    "TIFF of a strip a row": lambda: tiff_strips(20, 9000, 8, ROW * 9000, [len(ROW)] * 9000),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_file_that_is_expensive_to_decode_is_rejected(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "small-file"
    path.write_bytes(HOSTILE[kind]())
    with pytest.raises(ImageError, match=r"small-file: decoding would take too long .*; save it"):
        decode(path, longest=192)


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_file_raises_image_error(kind: str) -> None:
    with pytest.raises(ImageError):
        decode(DAMAGED[kind], longest=192)


def test_jpeg_that_is_decoded_too_often_is_rejected() -> None:
    decoder = CachedDecoder(with_scans(jpeg(3500, progressive=True), 70), "often.jpg")

    def decode_at_all_scales() -> None:
        for longest in (192, 1024, 4096):
            for color in (False, True):
                decoder.decode(longest=longest, color=color)

    with pytest.raises(ImageError, match=r"often\.jpg: decoding would take too long"):
        decode_at_all_scales()


def test_exif_of_excessive_size_is_ignored() -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\1\0" + struct.pack("<HHII", 274, 3, 70_000, 26) + bytes(4)
    data = png(8, 8, before=chunk(b"eXIf", exif[6:] + struct.pack("<H", 6) * 70_000))
    assert decode(data, longest=192).size == (8, 8)


@pytest.mark.parametrize("kind", ORDINARY)
def test_ordinary_file_is_decoded(kind: str) -> None:
    assert decode(ORDINARY[kind](), longest=192).gray.size


def test_picture_of_too_many_rows_is_rejected() -> None:
    with pytest.raises(ImageError, match=r"1x24000000 pixels take 283 MB to decode"):
        decode(png(1, 24_000_000), longest=192)


def test_picture_of_one_too_long_row_is_rejected() -> None:
    with pytest.raises(ImageError, match=r"39999999x1 pixels take 210 MB to decode"):
        decode(png(39_999_999, 1), longest=192)


def test_memory_estimate_includes_coefficients_of_a_sequential_jpeg_with_several_scans() -> None:
    data = jpeg(1000, subsampling=0)
    scan = data.find(b"\xff\xda")
    one_component = b"\xff\xda\0\x08\1\1\0\0\x3f\0"
    several = data[:scan] + one_component + data[scan + 14 :]
    with Image.open(io.BytesIO(data)) as whole, Image.open(io.BytesIO(several)) as parts:
        assert memory_bytes(parts) - memory_bytes(whole) > 4_000_000


def test_memory_estimate_includes_the_copy_that_rotates_a_tiff() -> None:
    picture = Image.new("L", (1000, 500))
    upright = saved(picture, "TIFF")
    turned = saved(picture, "TIFF", tiffinfo={274: 6})
    with Image.open(io.BytesIO(upright)) as first, Image.open(io.BytesIO(turned)) as second:
        assert memory_bytes(second) - memory_bytes(first) > 300_000


def test_memory_estimate_includes_text_in_a_png() -> None:
    plain, text = png(8, 8), png(8, 8, after=chunk(b"tEXt", b"a\0" + bytes(99_998)))
    with Image.open(io.BytesIO(plain)) as without, Image.open(io.BytesIO(text)) as image:
        assert memory_bytes(image) - memory_bytes(without) == 100_000


def test_cached_decoder_decodes_again_only_after_release(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.fromarray(np.zeros((90, 120, 3), np.uint8)).save(path)
    decoder = CachedDecoder(path)
    first = decoder.decode(longest=60)
    path.unlink()
    assert decoder.decode(longest=60, color=True).gray.shape == first.gray.shape == (45, 60)
    decoder.release(90 * 120)
    assert decoder.decode(longest=30).gray.shape == (22, 30)
    decoder.release(90 * 120 - 1)
    with pytest.raises(ImageError, match="no such file"):
        decoder.decode(longest=30)


def test_cached_decoder_of_a_jpeg_gives_the_same_as_single_decodings() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (700, 900, 3), np.uint8)
    data = saved(Image.fromarray(noise), "JPEG")
    decoder = CachedDecoder(data)
    for longest, color in ((100, False), (100, True), (100, False), (900, True), (120, True)):
        expected = decode(data, longest=longest, color=color)
        assert np.array_equal(decoder.decode(longest=longest, color=color).gray, expected.gray)


def test_expensive_jpeg_is_not_decoded_again_at_a_smaller_scale_or_in_gray() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1400, 1400, 3), np.uint8)
    decoder = CachedDecoder(saved(Image.fromarray(noise), "JPEG", quality=95, subsampling=0))
    decoder.decode(longest=700, color=True)
    once_ns = decoder.work_ns
    for color in (False, True):
        for longest in (700, 192):
            assert decoder.decode(longest=longest, color=color).gray.shape == (longest, longest)
    assert decoder.work_ns == once_ns
    decoder.decode(longest=1400)
    assert decoder.work_ns == 2 * once_ns


def test_too_long_side_is_rejected() -> None:
    with pytest.raises(ImageError, match=r"70000x8 is too large; .* and 65,535 pixels a side"):
        decode(png(70_000, 8), longest=192)


@pytest.mark.parametrize("mode", ["P", "RGBA"])
def test_wide_picture_is_converted_in_small_parts(mode: str) -> None:
    """A row of blocks, which are averaged, has 15 megapixels."""
    noise = np.random.default_rng(0).integers(0, 256, (500, 30_000), np.uint8)
    image = Image.fromarray(noise).convert("RGB").convert(mode)
    sizes = []

    def convert(part: Image.Image) -> Image.Image:
        sizes.append(part.width * part.height)
        return part.convert("L")

    small = downscale(image, 192, convert)
    whole = image.convert("L").resize(small.size, Image.Resampling.BILINEAR, reducing_gap=2)
    assert np.array_equal(np.asarray(small), np.asarray(whole))
    assert len(sizes) > 10
    assert max(sizes) <= 1 << 20
