"""Data sets as .npz archives: read and split, or rejected with a one-line error and a remedy."""

import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from train.data import load


def _digits(n_per_class: int = 8) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    labels = np.arange(3 * n_per_class) % 3
    return random.integers(1, 256, (len(labels), 28, 28), np.uint8), labels


@pytest.fixture
def undivided(tmp_path):
    """Return the path of an .npz of x and y, its images and the names of their classes."""
    x, y = _digits()
    names = np.array(["ä", "b", "c"])[y]
    np.savez_compressed(tmp_path / "mine.npz", x=x, y=names)
    return tmp_path / "mine.npz", x, names


def test_npz_of_x_and_y_is_split_stratified(undivided):
    read = load.load(undivided[0])
    assert (read.name, read.labels) == ("mine", ("b", "c", "ä"))
    assert len(read.train) == 19
    assert len(read.test) == 5
    assert (np.bincount(read.test.labels, minlength=3) >= 1).all()


def test_npz_of_x_and_y_is_split_reproducibly(undivided):
    assert load.load(undivided[0]).sha256 == load.load(undivided[0]).sha256


def test_images_keep_their_labels_when_split(undivided):
    path, x, names = undivided
    read = load.load(path)
    for pixels, label in zip(read.test.pixels[..., 0], read.test.labels, strict=True):
        (index,) = np.flatnonzero((x == pixels).all(axis=(1, 2)))
        assert names[index] == read.labels[label]


@pytest.fixture
def pages(tmp_path):
    """Return the path of an .npz of color images, dark strokes on light pages."""
    page = np.full((24, 60, 40, 3), 250, np.uint8)
    for n in range(24):
        page[n, 10 : 30 + n, 15:20] = 20
    np.savez(tmp_path / "pages.npz", x=page, y=np.arange(24) % 2)
    return tmp_path / "pages.npz"


def test_images_that_are_not_pixels_are_preprocessed(pages):
    read = load.load(pages)
    corners = read.train.pixels[:, [0, -1], :, 0]
    assert not corners.any()
    assert (read.train.pixels.max(axis=(1, 2, 3)) == 255).all()


def test_as_is_rejects_images_that_are_not_pixels(pages, rejected):
    rejected(pages, "pages.npz", "--as-is", as_is=True)


def test_duplicates_are_removed_before_the_split(tmp_path):
    x, y = _digits()
    np.savez(tmp_path / "twice.npz", x=np.concatenate([x, x]), y=np.concatenate([y, y]))
    read = load.load(tmp_path / "twice.npz")
    assert len(read.train) + len(read.test) == len(x)


X, Y = _digits()
WRONG_ARRAYS = {
    "other names": {"images": X, "labels": Y},
    "nothing": {},
    "objects": {"x": X, "y": np.array([{}] * 24)},
    "fewer labels": {"x": X, "y": Y[:-1]},
    "labels of two numbers": {"x": X, "y": np.ones((24, 2))},
    "fractions": {"x": X, "y": Y + 0.5},
    "flat images that are not square": {"x": X.reshape(24, -1)[:, :-1], "y": Y},
    "one class": {"x": X, "y": Y * 0},
    "a class of four": {"x": X[:-4], "y": np.where(np.arange(20) < 4, 1, 0)},
    "no images": {"x": X[:0], "y": Y[:0]},
    "a class without a name": {"x": X, "y": np.array(["", "b", "c"])[Y]},
    "a class that cannot be printed": {"x": X, "y": np.array(["a\n", "b", "c"])[Y]},
    "a class only in the test": {"x_train": X, "y_train": Y, "x_test": X[:2], "y_test": Y[:2] + 5},
}


@pytest.mark.parametrize("wrong", WRONG_ARRAYS)
def test_arrays_that_are_not_a_data_set_are_rejected(tmp_path, wrong, rejected):
    path = tmp_path / "wrong.npz"
    np.savez(path, **WRONG_ARRAYS[wrong])
    rejected(path, "wrong")


@pytest.mark.parametrize("keep", [0, 50, 5000, -40])
def test_truncated_npz_is_rejected(tmp_path, keep, rejected):
    np.savez(tmp_path / "cut.npz", x=X, y=Y)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:keep])
    rejected(tmp_path / "cut.npz", "cut.npz")


def _npz(path: Path, members: dict[str, bytes], packing: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


MEMBERS = {"x.npy": _npy(X), "y.npy": _npy(Y)}


@pytest.mark.parametrize(
    ("original", "damaged"), [(b"(24, 28, 28)", b"(24, 28, 28("), (b"'descr'", b"b'desc'")]
)
def test_npz_with_a_damaged_array_header_is_rejected(tmp_path, rejected, original, damaged):
    path = tmp_path / "bent.npz"
    _npz(path, MEMBERS | {"x.npy": MEMBERS["x.npy"].replace(original, damaged)})
    rejected(path, "bent.npz", "not an .npz")


def test_encrypted_npz_is_rejected(tmp_path, rejected):
    path = tmp_path / "secret.npz"
    _npz(path, MEMBERS)
    content = bytearray(path.read_bytes())
    for signature, flags_offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        for match in re.finditer(signature, bytes(content)):
            content[match.start() + flags_offset] |= 1
    path.write_bytes(content)
    rejected(path, "secret.npz", "encrypted")


def test_npz_compressed_with_lzma_is_rejected(tmp_path, rejected):
    path = tmp_path / "lzma.npz"
    _npz(path, MEMBERS, zipfile.ZIP_LZMA)
    path.write_bytes(path.read_bytes().replace(path.read_bytes()[60:90], b"\xff" * 30))
    rejected(path, "lzma.npz", "LZMA")


def test_members_that_are_not_arrays_are_rejected(tmp_path, rejected):
    path = tmp_path / "text.npz"
    _npz(path, {"x": b"hello", "y": b"hello"})
    rejected(path, "text.npz", "are not labels")


def test_labels_that_are_not_utf_8_are_rejected(tmp_path, rejected):
    path = tmp_path / "latin.npz"
    np.savez(path, x=X, y=np.array([b"\xffa", b"b", b"c"])[Y])
    rejected(path, "latin.npz", "not UTF-8")


def test_labels_of_different_integer_types_keep_their_names(tmp_path):
    path = tmp_path / "kinds.npz"
    np.savez(path, x_train=X, y_train=Y.astype(np.uint64), x_test=X, y_test=Y.astype(np.int64))
    read = load.load(path)
    assert read.labels == ("0", "1", "2")
    np.testing.assert_array_equal(read.train.labels, Y)
