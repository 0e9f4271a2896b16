"""What is no image is refused with one line, and what is one is decoded within bounds."""

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

Array = np.ndarray[Any, np.dtype[Any]]


def drawn(lying: bool = False) -> Array:
    """A stroke on noisy paper, standing or lying: uint8 (360, 480)."""
    paper = 225 + np.random.default_rng(0).normal(0, 2, (360, 480))
    paper[(slice(170, 190), slice(140, 300)) if lying else (slice(100, 260), slice(210, 230))] = 40
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


WHOLE = encode(drawn())
FILES = {
    "empty.png": (b"", "empty"),
    "text.png": (b"this is no picture\n", "not an image"),
    "cut.png": (WHOLE[: len(WHOLE) // 2], "damaged"),
    "cut.jpg": (encode(drawn(), "JPEG")[:2000], "damaged"),
    "bomb.png": (png_header(50_000, 50_000), "too long"),
    "large.png": (png_header(9_000, 9_000), "too large"),
}


def refusal(image: Any) -> str:
    with pytest.raises(ImageError) as caught:
        to_pixels(image)
    message = str(caught.value)
    assert "\n" not in message
    assert ";" in message, "the message names no remedy"
    return message


@pytest.mark.parametrize("name", FILES)
def test_bad_file_is_refused_by_name(name: str, tmp_path: Path) -> None:
    data, reason = FILES[name]
    path = tmp_path / name
    path.write_bytes(data)
    for image in (path, str(path)):
        message = refusal(image)
        assert name in message
        assert reason in message
    with path.open("rb") as file:
        assert name in refusal(file)
    assert "<bytes>" in refusal(data)


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "absent.png")
    assert "folder" in refusal(tmp_path)
    assert "cannot be opened" in refusal("nul\0byte.png")


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
def test_array_that_is_no_image_is_refused(array: Array, reason: str) -> None:
    message = refusal(array)
    assert "<array>" in message
    assert reason in message


@pytest.mark.parametrize("thing", [None, 7, ["a.png"], io.StringIO("text")])
def test_what_is_no_source_is_refused(thing: Any) -> None:
    refusal(thing)


def test_message_uses_the_name_given() -> None:
    with pytest.raises(ImageError, match="frame 7"):
        to_pixels(b"", name="frame 7")


def test_animation_gives_its_first_frame() -> None:
    first, second = Image.fromarray(drawn()), Image.fromarray(drawn(lying=True))
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=[second])
    seen, standing, lying = map(to_pixels, (file.getvalue(), first, second))
    assert np.array_equal(seen, standing)
    assert not np.array_equal(seen, lying)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "PPM"])
def test_damaged_bytes_are_read_or_refused(format: str, capfd: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(1)
    whole = encode(drawn()[60:260:3, 100:300:3], format)
    for step in range(150):
        data = bytearray(whole)
        if step % 3 == 0:
            data = data[: rng.integers(1, len(data))]
        for at in rng.integers(0, min(len(data), 200), 1 + step % 4):
            data[at] = rng.integers(256)
        try:
            assert to_pixels(bytes(data)).shape == PIXELS_SHAPE
        except ImageError as error:
            assert "\n" not in str(error)
    assert capfd.readouterr().err == ""


# Bounds


def test_decoded_size_is_what_was_asked_for() -> None:
    decoded = decode(encode(np.full((2400, 3200), 200, np.uint8), "JPEG"), longest=192)
    assert decoded.gray.shape == (144, 192)
    assert decoded.size == (3200, 2400)


def test_threads_leave_the_warning_filters_alone() -> None:
    before = list(warnings.filters)
    threads = [
        threading.Thread(target=lambda: [to_pixels(WHOLE) for _ in range(5)]) for _ in "abcd"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


def test_import_is_cheap() -> None:
    code = "import sys, runtime.preprocess.pipeline as p; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"scipy", "cv2", "sklearn", "PIL.PngImagePlugin", "PIL.ImageFilter"} & set(loaded)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit on memory is Linux's")
def test_too_little_memory_is_said_and_not_called_damage(tmp_path):
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


def sized(data: bytes, side: int) -> bytes:
    """A progressive JPEG, its header changed to say that it is as large."""
    at = data.index(b"\xff\xc2") + 5
    return data[:at] + struct.pack(">HH", side, side) + data[at + 4 :]


def test_what_takes_too_much_memory_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(drawn()).convert("RGB").save(file, "JPEG", progressive=True)
    message = refusal(sized(file.getvalue(), 9700))
    # All its coefficients, 1.5 a pixel, 2 bytes each, and an eighth of its sides.
    assert f"9700x9700 takes 283 MB to decode, more than {MAX_DECODED_BYTES // 10**6};" in message
    Image.new("RGB", (4000, 3200)).save(tmp_path / "large.webp")
    assert "takes 205 MB" in refusal(tmp_path / "large.webp")


@pytest.mark.parametrize(
    "mode", ["L", "1", "P", "RGB", "RGBA", "opaque", "LA", "PA", "CMYK", "HSV", "I", "F", "I;16"]
)
def test_strips_give_what_the_whole_gives(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Image.fromarray(drawn()).convert("RGB")
    if mode == "I;16":
        picture = Image.fromarray(drawn().astype(np.uint16) * 257)
    elif mode == "PA":
        picture = picture.convert("P")
        picture.putalpha(Image.fromarray(drawn(lying=True)))
    elif mode in ("LA", "RGBA"):
        picture = picture.convert(mode)
        picture.putalpha(Image.fromarray(drawn(lying=True)))
    else:
        picture = picture.convert("RGBA" if mode == "opaque" else mode)

    def seen(longest: int) -> list[Array]:
        gray = decode(picture, longest=longest).gray
        return [gray, decode_color(picture, longest=longest).rgb]

    for longest in (50, 192, 300, 480):
        whole = seen(longest)
        with monkeypatch.context() as patched:
            patched.setattr(grayscale, "_STRIP_PIXELS", 7000)
            for one, other in zip(seen(longest), whole, strict=True):
                assert np.array_equal(one, other)


def test_the_callers_image_stays_as_it_is() -> None:
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
