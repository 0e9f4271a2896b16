"""The fast reader of small plain PNG files returns the same pixels as Pillow, or None."""

import io
import os
import struct
import threading
import zlib

import numpy as np
import pytest
from PIL import Image

from runtime import Classifier, ImageError
from runtime.preprocess.fast_png import read_all_plain, read_plain
from runtime.preprocess.pipeline import preprocess, preprocess_batch

pytestmark = pytest.mark.portable


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def encode(rows: bytes, width: int, height: int, before: bytes = b"") -> bytes:
    """A PNG file of these filtered rows."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + pixels + chunk(b"IEND", b"")


def filtered(rows: np.ndarray, kinds: list[int]) -> bytes:
    """Prefix each row with a filter type; any bytes are valid as filtered rows."""
    return b"".join(bytes([kind]) + row.tobytes() for kind, row in zip(kinds, rows, strict=True))


def pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.fixture
def files(tmp_path):
    """A function that writes each of several contents to a file and returns the paths."""

    def write(*contents: bytes) -> list[str]:
        paths = [str(tmp_path / f"{number}.png") for number in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            with open(path, "wb") as file:
                file.write(content)
        return paths

    return write


def test_every_filter_gives_the_same_pixels_as_pillow(files):
    rng = np.random.default_rng(0)
    encoded = []
    for _ in range(40):
        kinds = rng.integers(0, 5, 28).tolist()
        rows = rng.integers(0, 256, (28, 28), dtype=np.uint8)
        encoded.append(encode(filtered(rows, kinds), 28, 28))
    paths = files(*encoded)
    for path, in_batch, data in zip(paths, read_all_plain(paths, 28), encoded, strict=True):
        assert np.array_equal(read_plain(path), pillow(data))
        assert np.array_equal(in_batch, pillow(data))


def test_batch_skips_files_of_another_size(files):
    rows = np.arange(20 * 33, dtype=np.uint32).astype(np.uint8).reshape(20, 33)
    (path,) = files(encode(filtered(rows, [0] * 20), 33, 20))
    assert np.array_equal(read_plain(path), rows)
    assert read_all_plain([path], 28) == [None]


def other_files() -> dict[str, bytes]:
    good = encode(filtered(np.zeros((28, 28), np.uint8), [0] * 28), 28, 28)
    palette = io.BytesIO()
    Image.new("P", (28, 28)).save(palette, "PNG")
    transparent = encode(bytes(28 * 29), 28, 28, chunk(b"tRNS", b"\0\0"))
    return {
        "empty": b"",
        "short": good[:40],
        "truncated": good[:-20],
        "too long": good + b"more",
        "another format": b"GIF89a" + bytes(60),
        "palette": palette.getvalue(),
        "transparency": transparent,
        "wrong checksum of the pixels": good.replace(good[-16:-12], b"\0\0\0\0"),
        "wrong checksum of the header": good[:29] + b"\0\0\0\0" + good[33:],
        "invalid compressed data": good[:33] + chunk(b"IDAT", b"nonsense") + chunk(b"IEND", b""),
        "too few rows": encode(bytes(27 * 29), 28, 28),
        "unknown filter": encode(b"\x09" + bytes(28 * 29 - 1), 28, 28),
        "too many rows": encode(bytes(1 << 21), 28, 28),
        "large": encode(bytes(65 * 66), 65, 65),
    }


@pytest.mark.parametrize("name", other_files())
def test_other_or_damaged_file_returns_none(files, name):
    data = other_files()[name]
    (path,) = files(data)
    assert read_plain(path) is None
    assert read_all_plain([path], 28) == [None]


def test_damaged_files_in_a_batch_do_not_affect_the_others(files):
    good = encode(filtered(np.eye(28, dtype=np.uint8) * 200, [0] * 28), 28, 28)
    others = {name: data for name, data in other_files().items() if name != "unknown filter"}
    planes = read_all_plain(files(good, *others.values(), good), 28)
    assert [plane is not None for plane in planes] == [True, *[False] * (len(planes) - 2), True]
    assert np.array_equal(planes[-1], pillow(good))


def test_unknown_filter_in_a_batch_leaves_all_files_to_pillow(files):
    good = encode(filtered(np.eye(28, dtype=np.uint8) * 200, [0] * 28), 28, 28)
    planes = read_all_plain(files(good, *other_files().values(), good), 28)
    assert all(plane is None for plane in planes)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_missing_file_folder_and_pipe_return_none(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path / "absent.png", tmp_path, pipe, "nul\0in it"):
        assert read_plain(path) is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipe_is_not_consumed_by_the_fast_reader(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert read_plain(pipe) is None
    content = encode(bytes(28 * 29), 28, 28)
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()
    assert not preprocess(str(pipe)).pixels.any()
    writer.join()


@pytest.mark.parametrize("inverted", [False, True])
def test_batch_gives_the_same_as_single_images(files, inverted):
    golden = Classifier.load().spec.golden.pixels[:, :, :, 0]
    contents = []
    for digit in [*golden, np.zeros((28, 28), np.uint8), np.roll(golden[0], 5, axis=0)]:
        file = io.BytesIO()
        Image.fromarray(255 - digit if inverted else digit).save(file, "PNG")
        contents.append(file.getvalue())
    paths = files(*contents)
    for single, batched in zip(map(preprocess, paths), preprocess_batch(paths), strict=True):
        assert np.array_equal(single.pixels, batched.pixels)
        assert single.pixels.shape == batched.pixels.shape == (28, 28, 1)
        assert single.box == batched.box
        assert (single.polarity, single.method) == (batched.polarity, batched.method)
    assert np.array_equal(preprocess_batch(paths)[0].pixels[:, :, 0], golden[0])


def test_error_in_a_batch_names_the_unreadable_image(files, tmp_path):
    paths = files(*[encode(bytes(28 * 29), 28, 28)] * 5)
    with pytest.raises(ImageError, match=r"absent\.png"):
        preprocess_batch([*paths, str(tmp_path / "absent.png")])
