"""Data sets as .npz archives: read and split, or refused with one line that says what to do."""

import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from train.data import load


def _digits(n_a_class: int = 8) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    labels = np.arange(3 * n_a_class) % 3
    return random.integers(1, 256, (len(labels), 28, 28), np.uint8), labels


def test_an_npz_of_x_and_y_is_split_stratified_and_the_same_each_time(tmp_path):
    x, y = _digits()
    path = tmp_path / "mine.npz"
    np.savez_compressed(path, x=x, y=np.array(["ä", "b", "c"])[y])
    read = load.load(path)
    assert (read.name, read.labels) == ("mine", ("b", "c", "ä"))
    assert len(read.train) == 19
    assert len(read.test) == 5
    assert (np.bincount(read.test.labels, minlength=3) >= 1).all()
    assert read.sha256 == load.load(path).sha256
    for pixels, label in zip(read.test.pixels[..., 0], read.test.labels, strict=True):
        (at,) = np.flatnonzero((x == pixels).all(axis=(1, 2)))
        assert ("ä", "b", "c")[y[at]] == read.labels[label]


def test_other_arrays_than_pixels_go_through_the_runtime_s_preprocessing(tmp_path, refused):
    page = np.full((24, 60, 40, 3), 250, np.uint8)
    for n in range(24):
        page[n, 10 : 30 + n, 15:20] = 20  # dark strokes of different lengths on a light page
    np.savez(tmp_path / "pages.npz", x=page, y=np.arange(24) % 2)
    read = load.load(tmp_path / "pages.npz")
    corners = read.train.pixels[:, [0, -1], :, 0]
    assert not corners.any()
    assert (read.train.pixels.max(axis=(1, 2, 3)) == 255).all()
    refused(tmp_path / "pages.npz", "pages.npz", "--as-is", as_is=True)


def test_copies_do_not_stand_on_both_sides_of_a_split(tmp_path):
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
    "one-hot labels": {"x": X, "y": np.eye(3)[Y]},
    "fractions": {"x": X, "y": Y + 0.5},
    "flat images": {"x": X.reshape(24, -1), "y": Y},
    "one class": {"x": X, "y": Y * 0},
    "a class of four": {"x": X[:-4], "y": np.where(np.arange(20) < 4, 1, 0)},
    "no images": {"x": X[:0], "y": Y[:0]},
    "a class without a name": {"x": X, "y": np.array(["", "b", "c"])[Y]},
    "a class that cannot be printed": {"x": X, "y": np.array(["a\n", "b", "c"])[Y]},
    "a class only in the test": {"x_train": X, "y_train": Y, "x_test": X[:2], "y_test": Y[:2] + 5},
}


@pytest.mark.parametrize("wrong", WRONG_ARRAYS)
def test_arrays_that_are_no_data_set_are_refused(tmp_path, wrong, refused):
    path = tmp_path / "wrong.npz"
    np.savez(path, **WRONG_ARRAYS[wrong])
    refused(path, "wrong")


@pytest.mark.parametrize("keep", [0, 50, 5000, -40])
def test_a_damaged_npz_is_refused(tmp_path, keep, refused):
    np.savez(tmp_path / "cut.npz", x=X, y=Y)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:keep])
    refused(tmp_path / "cut.npz", "cut.npz")


def _npz(path: Path, members: dict[str, bytes], packing: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


MEMBERS = {"x.npy": _npy(X), "y.npy": _npy(Y)}


def test_an_npz_with_a_damaged_header_is_refused(tmp_path, refused):
    path = tmp_path / "bent.npz"
    for shape, bent in ((b"(24, 28, 28)", b"(24, 28, 28("), (b"'descr'", b"b'desc'")):
        _npz(path, MEMBERS | {"x.npy": MEMBERS["x.npy"].replace(shape, bent)})
        refused(path, "bent.npz", "not an .npz")


def test_an_npz_that_is_encrypted_is_refused(tmp_path, refused):
    path = tmp_path / "secret.npz"
    _npz(path, MEMBERS)
    content = bytearray(path.read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        for found in re.finditer(mark, bytes(content)):
            content[found.start() + flags] |= 1
    path.write_bytes(content)
    refused(path, "secret.npz", "encrypted")


def test_an_npz_that_numpy_does_not_write_is_refused(tmp_path, refused):
    path = tmp_path / "odd.npz"
    _npz(path, MEMBERS, zipfile.ZIP_LZMA)
    path.write_bytes(path.read_bytes().replace(path.read_bytes()[60:90], b"\xff" * 30))
    refused(path, "odd.npz", "LZMA")
    _npz(path, {"x": b"hello", "y": b"hello"})
    refused(path, "odd.npz", "are not images")
    np.savez(path, x=X, y=np.array([b"\xffa", b"b", b"c"])[Y])
    refused(path, "odd.npz", "not UTF-8")


def test_whole_labels_of_two_kinds_keep_their_names(tmp_path):
    path = tmp_path / "kinds.npz"
    np.savez(path, x_train=X, y_train=Y.astype(np.uint64), x_test=X, y_test=Y.astype(np.int64))
    read = load.load(path)
    assert read.labels == ("0", "1", "2")
    np.testing.assert_array_equal(read.train.labels, Y)
