"""The short way for small plain PNG files: the same pixels as Pillow's, or none."""

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


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def encode(rows: bytes, width: int, height: int, before: bytes = b"") -> bytes:
    """A PNG of filtered rows."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + pixels + chunk(b"IEND", b"")


def filtered(rows: np.ndarray, kinds: list[int]) -> bytes:
    """Rows whose bytes are taken for filtered ones, by these filters: any bytes are valid."""
    return b"".join(bytes([kind]) + row.tobytes() for kind, row in zip(kinds, rows, strict=True))


def pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.fixture
def files(tmp_path):
    """Writes each of several contents to a file of its own."""

    def write(*contents: bytes) -> list[str]:
        paths = [str(tmp_path / f"{number}.png") for number in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            with open(path, "wb") as file:
                file.write(content)
        return paths

    return write


def test_every_filter_gives_what_pillow_gives_alone_and_among_others(files):
    rng = np.random.default_rng(0)
    encoded = []
    for _ in range(40):
        kinds = rng.integers(0, 5, 28).tolist()
        rows = rng.integers(0, 256, (28, 28), dtype=np.uint8)
        encoded.append(encode(filtered(rows, kinds), 28, 28))
    paths = files(*encoded)
    for path, together, data in zip(paths, read_all_plain(paths, 28), encoded, strict=True):
        assert np.array_equal(read_plain(path), pillow(data))
        assert np.array_equal(together, pillow(data))


def test_other_sizes_are_read_alone(files):
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
        "cut": good[:-20],
        "longer": good + b"more",
        "another format": b"GIF89a" + bytes(60),
        "palette": palette.getvalue(),
        "says how to show it": transparent,
        "wrong checksum of the pixels": good.replace(good[-16:-12], b"\0\0\0\0"),
        "wrong checksum of the header": good[:29] + b"\0\0\0\0" + good[33:],
        "no compressed data": good[:33] + chunk(b"IDAT", b"nonsense") + chunk(b"IEND", b""),
        "too few rows": encode(bytes(27 * 29), 28, 28),
        "no such filter": encode(b"\x09" + bytes(28 * 29 - 1), 28, 28),
        "larger than it says": encode(bytes(1 << 21), 28, 28),
        "large": encode(bytes(65 * 66), 65, 65),
    }


@pytest.mark.parametrize("name", other_files())
def test_what_is_not_exactly_that_is_left_to_pillow(files, name):
    data = other_files()[name]
    (path,) = files(data)
    assert read_plain(path) is None
    assert read_all_plain([path], 28) == [None]


def test_a_damaged_file_among_others_takes_none_with_it(files):
    good = encode(filtered(np.eye(28, dtype=np.uint8) * 200, [0] * 28), 28, 28)
    everything = [good, *other_files().values(), good]
    found = read_all_plain(files(*everything), 28)
    # A filter that does not exist stops the tall picture: all are left to Pillow then.
    assert all(plane is None for plane in found)
    del everything[1 + list(other_files()).index("no such filter")]
    found = read_all_plain(files(*everything), 28)
    assert [plane is not None for plane in found] == [True, *[False] * (len(found) - 2), True]
    assert np.array_equal(found[-1], pillow(good))


def test_no_file_a_folder_and_a_pipe_are_left_alone(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path / "absent.png", tmp_path, pipe, "nul\0in it"):
        assert read_plain(path) is None
    # What a pipe gives arrives whole where it is read later.
    content = encode(bytes(28 * 29), 28, 28)
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()
    assert not preprocess(str(pipe)).pixels.any()
    writer.join()


@pytest.mark.parametrize("inverted", [False, True])
def test_a_batch_is_as_one_by_one(files, inverted):
    golden = Classifier.load().spec.golden.pixels[:, :, :, 0]
    contents = []
    for digit in [*golden, np.zeros((28, 28), np.uint8), np.roll(golden[0], 5, axis=0)]:
        file = io.BytesIO()
        Image.fromarray(255 - digit if inverted else digit).save(file, "PNG")
        contents.append(file.getvalue())
    paths = files(*contents)
    for one, other in zip(map(preprocess, paths), preprocess_batch(paths), strict=True):
        assert np.array_equal(one.pixels, other.pixels)
        assert one.pixels.shape == other.pixels.shape == (28, 28, 1)
        assert (one.box, one.polarity, one.method) == (other.box, other.polarity, other.method)
    assert np.array_equal(preprocess_batch(paths)[0].pixels[:, :, 0], golden[0])


def test_a_batch_names_the_image_that_cannot_be_read(files, tmp_path):
    paths = files(*[encode(bytes(28 * 29), 28, 28)] * 5)
    with pytest.raises(ImageError, match="absent.png"):
        preprocess_batch([*paths, str(tmp_path / "absent.png")])
