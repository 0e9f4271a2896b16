"""Data sets: every form read, every damage refused with one line that says what to do."""

import gzip
import hashlib
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from runtime.errors import DatasetError
from runtime.model.spec import Dataset
from train.data import load, mnist
from train.data.mnist import KINDS
from train.data.splits import Split, stratified_split

pytest.importorskip("sklearn")
NAMES = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in KINDS]


def _idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def _arrays(seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (80, 28, 28), np.uint8)
    labels = (np.arange(80) % 10).astype(np.uint8)
    return dict(zip(NAMES, (images[:60], labels[:60], images[60:], labels[60:]), strict=True))


@pytest.fixture
def folder(tmp_path):
    for name, array in _arrays().items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(_idx(array)))
    return tmp_path


# --- the embedded digits


def test_the_embedded_digits_are_split_once_and_no_image_is_in_both():
    embedded = load.sklearn_digits()
    assert embedded.name == "embedded digits"
    assert embedded.labels == tuple("0123456789")
    assert len(embedded.train) + len(embedded.test) == 1797
    assert len(embedded.test) == 359
    for split in (embedded.train, embedded.test):
        assert split.pixels.dtype == np.uint8
        assert split.pixels.shape[1:] == (28, 28, 1)
        assert split.labels.dtype == np.int64
        counts = np.bincount(split.labels)
        assert counts.max() - counts.min() <= 0.06 * counts.sum() / 10 + 1
        assert (split.pixels.max(axis=(1, 2, 3)) == 255).all()
    seen = {pixels.tobytes() for pixels in embedded.train.pixels}
    assert len(seen) == len(embedded.train)
    assert not seen & {pixels.tobytes() for pixels in embedded.test.pixels}
    assert embedded.dataset == Dataset("embedded digits", embedded.sha256)
    assert load.load("embedded") is embedded


# --- holding back


@pytest.mark.parametrize(("n_or_share", "held"), [(0.1, 30), (100, 100), (10, 10), (1 / 12, 25)])
def test_what_is_held_back_is_stratified_and_nothing_is_lost(n_or_share, held):
    labels = np.repeat(np.arange(10), np.arange(21, 40, 2)[:10]).astype(np.int64)
    split = Split(np.arange(300, dtype=np.uint16).view(np.uint8).reshape(300, 2), labels)
    train, validation = stratified_split(split, n_or_share, 3)
    assert len(validation) == held
    assert len(train) == 300 - held
    both = np.concatenate([train.pixels, validation.pixels])
    assert len(np.unique(both, axis=0)) == 300
    ideal = np.bincount(labels) * held / 300
    assert np.abs(np.bincount(validation.labels, minlength=10) - ideal).max() <= 1
    again = stratified_split(split, n_or_share, 3)[1]
    np.testing.assert_array_equal(again.pixels, validation.pixels)
    if held < 100:
        assert not np.array_equal(
            stratified_split(split, n_or_share, 4)[1].pixels, validation.pixels
        )


@pytest.mark.parametrize("n", [9, 295, 300, 1000, 0.001])
def test_holding_back_nothing_of_a_class_or_all_of_it_is_refused(n):
    split = Split(np.zeros((300, 28, 28, 1), np.uint8), np.arange(300) % 10)
    with pytest.raises(DatasetError, match="cannot hold back.*--validation"):
        stratified_split(split, n, 0)


# --- IDX files


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("dotted", [True, False])
def test_idx_files_are_read_packed_or_raw_under_either_name(tmp_path, packed, dotted):
    arrays = _arrays()
    for name, array in arrays.items():
        name = name.replace("-idx", ".idx") if dotted else name
        content = gzip.compress(_idx(array)) if packed else _idx(array)
        (tmp_path / f"{name}{'.gz' if packed else ''}").write_bytes(content)
    read = load.load(tmp_path)
    assert read.name == tmp_path.name, "what is not MNIST is not called MNIST"
    assert read.labels == tuple("0123456789")
    for split, (images, labels) in (
        (read.train, (arrays[NAMES[0]], arrays[NAMES[1]])),
        (read.test, (arrays[NAMES[2]], arrays[NAMES[3]])),
    ):
        np.testing.assert_array_equal(split.pixels[..., 0], images)
        np.testing.assert_array_equal(split.labels, labels)


def test_the_digest_is_of_the_content(folder, tmp_path_factory):
    raw, changed = tmp_path_factory.mktemp("raw"), tmp_path_factory.mktemp("changed")
    for name, array in _arrays().items():
        (raw / name).write_bytes(_idx(array))
        array = array.copy()
        array.flat[-1] ^= 1
        (changed / name).write_bytes(_idx(array))
    assert load.load(raw).sha256 == load.load(folder).sha256 != load.load(changed).sha256


def test_only_the_official_content_is_called_mnist(folder, tmp_path, monkeypatch):
    arrays = _arrays()
    official = {name: hashlib.sha256(_idx(array)).hexdigest() for name, array in arrays.items()}
    monkeypatch.setattr(mnist, "MNIST_SHA256", official)
    assert load.load(folder).name == "MNIST"
    keys = ("x_train", "y_train", "x_test", "y_test")
    np.savez(tmp_path / "mnist.npz", **dict(zip(keys, arrays.values(), strict=True)))
    assert load.load(tmp_path / "mnist.npz").name == "MNIST"
    arrays[NAMES[2]][0, 0, 0] ^= 1
    np.savez(tmp_path / "mnist.npz", **dict(zip(keys, arrays.values(), strict=True)))
    assert load.load(tmp_path / "mnist.npz").name == "mnist"


IMAGES = np.zeros((60, 28, 28), np.uint8)
DAMAGES = {
    "empty": b"",
    "half a header": _idx(IMAGES)[:9],
    "cut short": _idx(IMAGES)[:-1],
    "too long": _idx(IMAGES) + b"\0",
    "no IDX": b"\x89PNG" + _idx(IMAGES)[4:],
    "of floats": struct.pack(">HBB3I", 0, 0x0D, 3, 60, 28, 28) + bytes(4 * IMAGES.size),
    "no dimensions": struct.pack(">HBB", 0, 8, 0),
    "255 dimensions": struct.pack(">HBB", 0, 8, 255) + b"\xff" * 1020,
    "four billion images": struct.pack(">HBB3I", 0, 8, 3, 2**32 - 1, 28, 28) + bytes(100),
    "a size that overflows 64 bits": struct.pack(">HBB4I", 0, 8, 4, *[2**16] * 4),
    "a gigabyte that is not there": struct.pack(">HBB3I", 0, 8, 3, 1_300_000, 28, 28),
    "no images": struct.pack(">HBB3I", 0, 8, 3, 0, 28, 28),
    "another size": _idx(np.zeros((60, 32, 32), np.uint8)),
    "flat": _idx(np.zeros((60, 784), np.uint8)),
    "fewer than labels": _idx(IMAGES[:50]),
}


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_and_malicious_idx_files_are_refused(folder, damage, packed, refused):
    path = folder / f"{NAMES[0]}.gz"
    path.unlink()
    if packed:
        path.write_bytes(gzip.compress(DAMAGES[damage]))
    else:
        path = path.with_suffix("")
        path.write_bytes(DAMAGES[damage])
    refused(folder, "train-images-idx3-ubyte")


@pytest.mark.parametrize("damage", ["cut", "flipped", "not gzip", "bomb"])
def test_damaged_gzip_files_are_refused(folder, damage, refused):
    path = folder / f"{NAMES[0]}.gz"
    content = path.read_bytes()
    path.write_bytes({
        "cut": content[: len(content) // 2],
        "flipped": content[:5000] + bytes([content[5000] ^ 255]) + content[5001:],
        "not gzip": gzip.decompress(content),
        "bomb": gzip.compress(_idx(IMAGES) + bytes(200_000_000), 1),
    }[damage])  # fmt: skip
    refused(folder, path.name)


def test_a_missing_file_and_labels_that_do_not_fit_are_refused(folder, refused):
    (folder / f"{NAMES[3]}.gz").write_bytes(gzip.compress(_idx(np.zeros(19, np.uint8))))
    refused(folder, "t10k-labels", "19 labels", "20 images")
    (folder / f"{NAMES[3]}.gz").unlink()
    refused(folder, "t10k-labels")


def test_a_name_too_long_is_refused(refused):
    refused(Path("a" * 300), "cannot read aaa")


# --- what is loaded when nothing is named


def test_the_environment_names_a_data_set_and_the_source_given_wins(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("DIGIT_EDGE_DATA", str(folder))
    assert load.load().name == folder.name
    assert load.load("embedded").name == "embedded digits"
    monkeypatch.setenv("DIGIT_EDGE_DATA", str(tmp_path / "gone"))
    with pytest.raises(DatasetError, match="gone does not exist"):
        load.load()


def test_what_is_cached_is_not_downloaded_again(folder, monkeypatch, tmp_path_factory):
    arrays = _arrays()
    official = {name: hashlib.sha256(_idx(array)).hexdigest() for name, array in arrays.items()}
    monkeypatch.setattr(mnist, "MNIST_SHA256", official)
    monkeypatch.delenv("DIGIT_EDGE_DATA", raising=False)
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    folder.rename(cache / "digit-edge")
    assert load.load().name == "MNIST"


@pytest.mark.parametrize("old", [_idx(IMAGES), _idx(IMAGES)[:-1]], ids=["another set", "damaged"])
def test_what_was_downloaded_takes_the_place_of_what_is_no_mnist(
    folder, monkeypatch, tmp_path_factory, old
):
    """Uncompressed files of another kind stay beside what is downloaded."""
    for name, array in _arrays().items():
        digest = hashlib.sha256(_idx(array)).hexdigest()
        monkeypatch.setitem(mnist.MNIST_SHA256, name, digest)
    monkeypatch.delenv("DIGIT_EDGE_DATA", raising=False)
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    (folder / NAMES[0]).write_bytes(old)
    folder.rename(cache / "digit-edge")
    assert load.load().name == "MNIST"


def test_without_a_network_the_embedded_digits_are_announced_within_seconds(tmp_path):
    """A damaged cache and a proxy where nobody listens, in a process of its own."""
    (tmp_path / "digit-edge").mkdir()
    (tmp_path / "digit-edge" / f"{NAMES[0]}.gz").write_bytes(b"damaged")
    environment = {k: v for k, v in os.environ.items() if k != "DIGIT_EDGE_DATA"}
    environment |= {"XDG_CACHE_HOME": str(tmp_path), "https_proxy": "http://127.0.0.1:9"}
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", "from train.data.load import load; print(load().name)"],
        env=environment, cwd=Path(__file__).parents[3], capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "embedded digits\n" and done.returncode == 0, done.stderr
    assert "NOT MNIST" in done.stderr
    assert "--data" in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - start < 25
