"""The embedded digits, splits, IDX files and the cache: read, or rejected with a one-line error."""

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


def test_embedded_digits_have_1797_images_in_ten_classes():
    embedded = load.load("embedded")
    assert embedded.labels == tuple("0123456789")
    assert len(embedded.train) + len(embedded.test) == 1797
    assert len(embedded.test) == 359


@pytest.mark.parametrize("part", ["train", "test"])
def test_embedded_digits_are_balanced_pixels_in_mnist_form(part):
    split = getattr(load.sklearn_digits(), part)
    assert split.pixels.dtype == np.uint8
    assert split.pixels.shape[1:] == (28, 28, 1)
    assert split.labels.dtype == np.int64
    counts = np.bincount(split.labels)
    assert counts.max() - counts.min() <= 0.06 * counts.sum() / 10 + 1
    assert (split.pixels.max(axis=(1, 2, 3)) == 255).all()


def test_no_embedded_digit_is_in_both_splits():
    embedded = load.sklearn_digits()
    train = {pixels.tobytes() for pixels in embedded.train.pixels}
    assert len(train) == len(embedded.train)
    assert not train & {pixels.tobytes() for pixels in embedded.test.pixels}


def test_embedded_digits_are_those_of_scikit_learn():
    """They are read from its file, without importing it."""
    from sklearn.datasets import load_digits

    embedded, theirs = load.sklearn_digits(), load_digits()
    pixels = np.concatenate([embedded.train.pixels, embedded.test.pixels])
    labels = np.concatenate([embedded.train.labels, embedded.test.labels])
    label_of = {image.tobytes(): label for image, label in zip(pixels, labels, strict=True)}
    for image, label in zip(theirs.images[::20], theirs.target[::20], strict=True):
        assert label_of[load.to_mnist_format(load._enlarge(image)).tobytes()] == label


def test_embedded_digits_are_loaded_once():
    embedded = load.sklearn_digits()
    assert embedded.name == "embedded digits"
    assert embedded.dataset == Dataset("embedded digits", embedded.sha256)
    assert load.load("embedded") is embedded


# --- stratified splits

# 300 different images in ten classes of 21 to 39 images.
UNEVEN = Split(
    np.arange(300, dtype=np.uint16).view(np.uint8).reshape(300, 2),
    np.repeat(np.arange(10), np.arange(21, 40, 2)).astype(np.int64),
)


@pytest.mark.parametrize(
    ("n_or_share", "held_back"), [(0.1, 30), (100, 100), (10, 10), (1 / 12, 25)]
)
def test_split_is_stratified_and_loses_no_image(n_or_share, held_back):
    train, validation = stratified_split(UNEVEN, n_or_share, 3)
    assert len(validation) == held_back
    assert len(train) == 300 - held_back
    both = np.concatenate([train.pixels, validation.pixels])
    assert len(np.unique(both, axis=0)) == 300
    ideal = np.bincount(UNEVEN.labels) * held_back / 300
    assert np.abs(np.bincount(validation.labels, minlength=10) - ideal).max() <= 1


@pytest.mark.parametrize("n_or_share", [0.1, 100, 10, 1 / 12])
def test_same_seed_gives_same_split(n_or_share):
    first, second = (stratified_split(UNEVEN, n_or_share, 3)[1] for _ in range(2))
    np.testing.assert_array_equal(first.pixels, second.pixels)


@pytest.mark.parametrize("n_or_share", [0.1, 10, 1 / 12])
def test_other_seed_gives_other_split(n_or_share):
    first, second = (stratified_split(UNEVEN, n_or_share, seed)[1] for seed in (3, 4))
    assert not np.array_equal(first.pixels, second.pixels)


@pytest.mark.parametrize("n", [9, 295, 300, 1000, 0.001])
def test_split_without_an_image_of_each_class_on_both_sides_is_rejected(n):
    split = Split(np.zeros((300, 28, 28, 1), np.uint8), np.arange(300) % 10)
    with pytest.raises(DatasetError, match=r"cannot hold back.*--validation"):
        stratified_split(split, n, 0)


# --- IDX files


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("dotted", [True, False])
def test_idx_files_are_read_compressed_or_not_under_either_name(tmp_path, packed, dotted):
    arrays = _arrays()
    for name, array in arrays.items():
        name = name.replace("-idx", ".idx") if dotted else name
        content = gzip.compress(_idx(array)) if packed else _idx(array)
        (tmp_path / f"{name}{'.gz' if packed else ''}").write_bytes(content)
    read = load.load(tmp_path)
    assert read.name == tmp_path.name, "only MNIST itself is named MNIST"
    assert read.labels == tuple("0123456789")
    for split, (images, labels) in (
        (read.train, (arrays[NAMES[0]], arrays[NAMES[1]])),
        (read.test, (arrays[NAMES[2]], arrays[NAMES[3]])),
    ):
        np.testing.assert_array_equal(split.pixels[..., 0], images)
        np.testing.assert_array_equal(split.labels, labels)


def test_digest_depends_on_the_content_only(folder, tmp_path_factory):
    raw, changed = tmp_path_factory.mktemp("raw"), tmp_path_factory.mktemp("changed")
    for name, array in _arrays().items():
        (raw / name).write_bytes(_idx(array))
        array = array.copy()
        array.flat[-1] ^= 1
        (changed / name).write_bytes(_idx(array))
    assert load.load(raw).sha256 == load.load(folder).sha256 != load.load(changed).sha256


@pytest.fixture
def official(monkeypatch):
    """Make the arrays of `_arrays` those of MNIST, and return them."""
    arrays = _arrays()
    for name, array in arrays.items():
        digest = hashlib.sha256(_idx(array)).hexdigest()
        monkeypatch.setitem(mnist.MNIST_SHA256, name, digest)
    return arrays


def _save_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    keys = ("x_train", "y_train", "x_test", "y_test")
    np.savez(path, **dict(zip(keys, arrays.values(), strict=True)))


def test_mnist_is_recognized_in_idx_files(folder, official):
    assert load.load(folder).name == "MNIST"


def test_mnist_is_recognized_in_an_npz(tmp_path, official):
    _save_npz(tmp_path / "mnist.npz", official)
    assert load.load(tmp_path / "mnist.npz").name == "MNIST"


def test_changed_mnist_is_not_named_mnist(tmp_path, official):
    official[NAMES[2]][0, 0, 0] ^= 1
    _save_npz(tmp_path / "mnist.npz", official)
    assert load.load(tmp_path / "mnist.npz").name == "mnist"


IMAGES = np.zeros((60, 28, 28), np.uint8)
DAMAGES = {
    "empty": b"",
    "half a header": _idx(IMAGES)[:9],
    "truncated": _idx(IMAGES)[:-1],
    "too long": _idx(IMAGES) + b"\0",
    "not IDX": b"\x89PNG" + _idx(IMAGES)[4:],
    "floats": struct.pack(">HBB3I", 0, 0x0D, 3, 60, 28, 28) + bytes(4 * IMAGES.size),
    "no dimensions": struct.pack(">HBB", 0, 8, 0),
    "255 dimensions": struct.pack(">HBB", 0, 8, 255) + b"\xff" * 1020,
    "four billion images": struct.pack(">HBB3I", 0, 8, 3, 2**32 - 1, 28, 28) + bytes(100),
    "a size that overflows 64 bits": struct.pack(">HBB4I", 0, 8, 4, *[2**16] * 4),
    "a gigabyte declared but missing": struct.pack(">HBB3I", 0, 8, 3, 1_300_000, 28, 28),
    "no images": struct.pack(">HBB3I", 0, 8, 3, 0, 28, 28),
    "another size": _idx(np.zeros((60, 32, 32), np.uint8)),
    "flat": _idx(np.zeros((60, 784), np.uint8)),
    "fewer than labels": _idx(IMAGES[:50]),
}


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_and_malicious_idx_files_are_rejected(folder, damage, packed, rejected):
    path = folder / f"{NAMES[0]}.gz"
    path.unlink()
    if packed:
        path.write_bytes(gzip.compress(DAMAGES[damage]))
    else:
        path = path.with_suffix("")
        path.write_bytes(DAMAGES[damage])
    rejected(folder, "train-images-idx3-ubyte")


@pytest.mark.parametrize("damage", ["truncated", "flipped", "not gzip", "bomb"])
def test_damaged_gzip_files_are_rejected(folder, damage, rejected):
    path = folder / f"{NAMES[0]}.gz"
    content = path.read_bytes()
    path.write_bytes({
        "truncated": content[: len(content) // 2],
        "flipped": content[:5000] + bytes([content[5000] ^ 255]) + content[5001:],
        "not gzip": gzip.decompress(content),
        "bomb": gzip.compress(_idx(IMAGES) + bytes(200_000_000), 1),
    }[damage])  # fmt: skip
    rejected(folder, path.name)


def test_labels_of_another_number_than_images_are_rejected(folder, rejected):
    (folder / f"{NAMES[3]}.gz").write_bytes(gzip.compress(_idx(np.zeros(19, np.uint8))))
    rejected(folder, "t10k-labels", "19 labels", "20 images")


def test_missing_idx_file_is_rejected(folder, rejected):
    (folder / f"{NAMES[3]}.gz").unlink()
    rejected(folder, "t10k-labels")


def test_too_long_name_is_rejected(rejected):
    rejected(Path("a" * 300), "cannot read aaa")


# --- the default data set


def test_environment_variable_sets_the_default(folder, monkeypatch):
    monkeypatch.setenv("DIGIT_EDGE_DATA", str(folder))
    assert load.load().name == folder.name


def test_source_overrides_the_environment_variable(folder, monkeypatch):
    monkeypatch.setenv("DIGIT_EDGE_DATA", str(folder))
    assert load.load("embedded").name == "embedded digits"


def test_missing_path_in_the_environment_variable_is_rejected(tmp_path, monkeypatch):
    monkeypatch.setenv("DIGIT_EDGE_DATA", str(tmp_path / "gone"))
    with pytest.raises(DatasetError, match="gone does not exist"):
        load.load()


@pytest.fixture
def cache(monkeypatch, tmp_path_factory):
    """Return the path of an empty cache folder; there is no network, and no default data set."""
    monkeypatch.delenv("DIGIT_EDGE_DATA", raising=False)
    base = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(base))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    return base / "digit-edge"


def test_cached_mnist_is_not_downloaded_again(folder, official, cache):
    folder.rename(cache)
    assert load.load().name == "MNIST"


@pytest.mark.parametrize(
    "uncompressed", [_idx(IMAGES), _idx(IMAGES)[:-1]], ids=["another set", "damaged"]
)
def test_downloaded_files_replace_uncompressed_ones_of_another_data_set(
    folder, official, cache, uncompressed
):
    """Uncompressed files stay next to the downloaded ones, and are not read."""
    (folder / NAMES[0]).write_bytes(uncompressed)
    folder.rename(cache)
    assert load.load().name == "MNIST"


def test_without_a_network_the_embedded_digits_are_used_and_announced(tmp_path):
    """With a damaged cache and a closed proxy port, in a process of its own, within seconds."""
    (tmp_path / "digit-edge").mkdir()
    (tmp_path / "digit-edge" / f"{NAMES[0]}.gz").write_bytes(b"damaged")
    environment = {k: v for k, v in os.environ.items() if k != "DIGIT_EDGE_DATA"}
    environment |= {"XDG_CACHE_HOME": str(tmp_path), "https_proxy": "http://127.0.0.1:9"}
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", "from train.data.load import load; print(load().name)"],
        env=environment, cwd=Path(__file__).parents[3], capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == ("embedded digits\n", 0), done.stderr
    assert "NOT MNIST" in done.stderr
    assert "--data" in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - start < 25
