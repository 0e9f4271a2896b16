"""Decoding: invalid input raises one-line errors; valid images stay within size and memory."""

import io
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runtime.errors import ImageError
from runtime.preprocess import grayscale
from runtime.preprocess.decode import MAX_DECODED_BYTES, decode, decode_color
from runtime.preprocess.mnist_format import PIXELS_SHAPE
from runtime.preprocess.pipeline import to_pixels

pytestmark = pytest.mark.portable

Array = np.ndarray[Any, np.dtype[Any]]


def stroke_image(horizontal: bool = False) -> Array:
    """A vertical or horizontal stroke on noisy paper: uint8 (360, 480)."""
    paper = 225 + np.random.default_rng(0).normal(0, 2, (360, 480))
    paper[
        (slice(170, 190), slice(140, 300)) if horizontal else (slice(100, 260), slice(210, 230))
    ] = 40
    return paper.astype(np.uint8)


def encode(array: Array, format: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, format)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


WHOLE = encode(stroke_image())
FILES = {
    "empty.png": (b"", "empty"),
    "text.png": (b"this is not an image\n", "not an image"),
    "cut.png": (WHOLE[: len(WHOLE) // 2], "damaged"),
    "cut.jpg": (encode(stroke_image(), "JPEG")[:2000], "damaged"),
    "bomb.png": (png_header(50_000, 50_000), "too long"),
    "large.png": (png_header(9_000, 9_000), "too large"),
}


def error_message(image: Any) -> str:
    """Return the message of the ImageError that `image` raises."""
    with pytest.raises(ImageError) as caught:
        to_pixels(image)
    message = str(caught.value)
    assert "\n" not in message
    assert ";" in message, "the message does not name a remedy"
    return message


@pytest.mark.parametrize("name", FILES)
def test_error_for_invalid_file_names_the_file_and_the_reason(name: str, tmp_path: Path) -> None:
    data, reason = FILES[name]
    path = tmp_path / name
    path.write_bytes(data)
    for image in (path, str(path)):
        message = error_message(image)
        assert name in message
        assert reason in message
    with path.open("rb") as file:
        assert name in error_message(file)
    assert "<bytes>" in error_message(data)


def test_missing_file_folder_and_invalid_path_raise_specific_errors(tmp_path: Path) -> None:
    assert "no such file" in error_message(tmp_path / "absent.png")
    assert "folder" in error_message(tmp_path)
    assert "cannot be opened" in error_message("nul\0byte.png")


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((0, 0), np.uint8), "no pixels"),
        (np.zeros((0, 5, 3), np.uint8), "no pixels"),
        (np.full((40, 40), np.nan), "NaN"),
        (np.full((40, 40), np.inf, np.float32), "NaN"),
        (np.full((40, 40), 200.0), "0 to 1"),
        (np.full((40, 40), -0.5), "0 to 1"),
        (np.zeros((40, 40), np.int64), "dtype"),
        (np.zeros((40, 40), np.complex64), "dtype"),
        (np.zeros((40, 40), object), "dtype"),
        (np.zeros(40, np.uint8), "shape"),
        (np.zeros((40, 40, 2), np.uint8), "shape"),
        (np.zeros((4, 40, 40, 3), np.uint8), "shape"),
    ],
)
def test_array_with_invalid_shape_dtype_or_values_is_rejected(array: Array, reason: str) -> None:
    message = error_message(array)
    assert "<array>" in message
    assert reason in message


@pytest.mark.parametrize("source", [None, 7, ["a.png"], io.StringIO("text")])
def test_source_of_an_unsupported_type_is_rejected(source: Any) -> None:
    error_message(source)


def test_error_uses_the_name_argument() -> None:
    with pytest.raises(ImageError, match="frame 7"):
        to_pixels(b"", name="frame 7")


def test_animation_is_decoded_to_its_first_frame() -> None:
    first, second = Image.fromarray(stroke_image()), Image.fromarray(stroke_image(horizontal=True))
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=[second])
    decoded, expected, other = map(to_pixels, (file.getvalue(), first, second))
    assert np.array_equal(decoded, expected)
    assert not np.array_equal(decoded, other)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "PPM"])
def test_damaged_bytes_give_pixels_or_a_one_line_error(
    format: str, capfd: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(1)
    whole = encode(stroke_image()[60:260:3, 100:300:3], format)
    for step in range(150):
        data = bytearray(whole)
        if step % 3 == 0:
            data = data[: rng.integers(1, len(data))]
        for at in rng.integers(0, min(len(data), 200), 1 + step % 4):
            data[at] = rng.integers(256)
        message = ""
        try:
            assert to_pixels(bytes(data)).shape == PIXELS_SHAPE
        except ImageError as error:
            message = str(error)
        assert "\n" not in message
    assert capfd.readouterr().err == ""


# Limits


def test_decoded_image_has_the_requested_size() -> None:
    decoded = decode(encode(np.full((2400, 3200), 200, np.uint8), "JPEG"), longest=192)
    assert decoded.gray.shape == (144, 192)
    assert decoded.size == (3200, 2400)


def test_decoding_in_threads_does_not_change_the_warning_filters() -> None:
    before = list(warnings.filters)
    threads = [
        threading.Thread(target=lambda: [to_pixels(WHOLE) for _ in range(5)]) for _ in "abcd"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


def test_pipeline_imports_no_heavy_modules() -> None:
    code = "import sys, runtime.preprocess.pipeline as p; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"scipy", "cv2", "sklearn", "PIL.PngImagePlugin", "PIL.ImageFilter"} & set(loaded)


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS works on Linux only")
def test_lack_of_memory_is_not_reported_as_damage(tmp_path):
    Image.new("L", (6000, 5000)).save(tmp_path / "large.png")
    script = (
        "import resource, sys\nfrom runtime.preprocess.decode import decode\n"
        "from runtime.errors import ImageError\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        "limit = pages * resource.getpagesize() + (20 << 20)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "try: decode(sys.argv[1], longest=192)\nexcept ImageError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "large.png"], capture_output=True, text=True
    )
    assert "large.png: not enough memory to decode; scale it down" in done.stdout, done.stderr


def with_declared_side(data: bytes, side: int) -> bytes:
    """Change the width and height in the header of a progressive JPEG."""
    start = data.index(b"\xff\xc2") + 5
    return data[:start] + struct.pack(">HH", side, side) + data[start + 4 :]


def test_progressive_jpeg_beyond_the_memory_limit_is_rejected_before_decoding() -> None:
    file = io.BytesIO()
    Image.fromarray(stroke_image()).convert("RGB").save(file, "JPEG", progressive=True)
    message = error_message(with_declared_side(file.getvalue(), 9700))
    # All coefficients, 1.5 per pixel with 2 bytes each, and the picture at an eighth of the size.
    assert (
        f"9700x9700 pixels take 283 MB to decode, more than {MAX_DECODED_BYTES // 10**6} MB;"
        in message
    )


def test_webp_beyond_the_memory_limit_is_rejected(tmp_path: Path) -> None:
    Image.new("RGB", (4000, 3200)).save(tmp_path / "large.webp")
    assert "take 205 MB" in error_message(tmp_path / "large.webp")


@pytest.mark.parametrize(
    "mode", ["L", "1", "P", "RGB", "RGBA", "opaque", "LA", "PA", "CMYK", "HSV", "I", "F", "I;16"]
)
def test_decoding_in_strips_gives_identical_pixels(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = Image.fromarray(stroke_image()).convert("RGB")
    if mode == "I;16":
        picture = Image.fromarray(stroke_image().astype(np.uint16) * 257)
    elif mode == "PA":
        picture = picture.convert("P")
        picture.putalpha(Image.fromarray(stroke_image(horizontal=True)))
    elif mode in ("LA", "RGBA"):
        picture = picture.convert(mode)
        picture.putalpha(Image.fromarray(stroke_image(horizontal=True)))
    else:
        picture = picture.convert("RGBA" if mode == "opaque" else mode)

    def decode_both(longest: int) -> list[Array]:
        gray = decode(picture, longest=longest).gray
        return [gray, decode_color(picture, longest=longest).rgb]

    for longest in (50, 192, 300, 480):
        whole = decode_both(longest)
        with monkeypatch.context() as patched:
            patched.setattr(grayscale, "_STRIP_PIXELS", 7000)
            for in_strips, expected in zip(decode_both(longest), whole, strict=True):
                assert np.array_equal(in_strips, expected)


def test_image_of_the_caller_keeps_its_mode_and_size() -> None:
    red = np.zeros((600, 800, 3), np.uint8)
    red[..., 1] = 130
    red[150:450, 380:410] = 255, 0, 0  # as light as the green around it
    file = io.BytesIO()
    Image.fromarray(red).save(file, "JPEG", quality=95, subsampling=0)
    with Image.open(file) as opened:
        pixels = to_pixels(opened)
        assert (opened.mode, opened.size) == ("RGB", (800, 600))
    assert pixels.any()
    difference = np.abs(pixels.astype(int) - to_pixels(file.getvalue()))
    assert difference.mean() < 2
