"""The writers of MNIST's images: label files, held-back writers, accuracy by series."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from runtime.errors import DatasetError
from train.data import writers
from train.data.splits import DataSet, Split
from train.data.writers import TEST_FILE, TRAIN_FILE, Writers


def label_file(path: Path, labels: np.ndarray, by: np.ndarray, series: int = 0) -> Path:
    """Write a label file as QMNIST's, of one series."""
    rows = np.zeros((len(labels), 8), ">i4")
    rows[:, 0], rows[:, 1], rows[:, 2] = labels, series, by
    header = b"\x00\x00\x0c\x02" + struct.pack(">II", *rows.shape)
    path.write_bytes(gzip.compress(header + rows.tobytes()))
    return path


def data_set(name: str, n: int = 40) -> DataSet:
    """Return a data set of two classes in turn."""
    split = Split(np.zeros((n, 28, 28, 1), np.uint8), np.arange(n) % 2)
    return DataSet(name, "", ("0", "1"), split, split)


def test_writers_are_found_beside_mnist(tmp_path: Path) -> None:
    mnist = data_set("MNIST")
    by = np.arange(40) // 10
    label_file(tmp_path / f"{TRAIN_FILE}.gz", mnist.train.labels, by)
    train, test = writers.find(mnist, str(tmp_path))
    assert train is not None
    assert train.writer.tolist() == by.tolist()
    assert test is None


def test_no_file_beside_mnist_means_unknown_writers(tmp_path: Path) -> None:
    assert writers.find(data_set("MNIST"), str(tmp_path)) == (None, None)


def test_files_beside_another_data_set_are_ignored(tmp_path: Path) -> None:
    (tmp_path / f"{TRAIN_FILE}.gz").write_bytes(b"of another data set")
    assert writers.find(data_set("mine"), str(tmp_path)) == (None, None)


def test_named_file_brings_the_test_file_beside_it(tmp_path: Path) -> None:
    mnist = data_set("MNIST")
    path = label_file(tmp_path / "mine.gz", mnist.train.labels, np.arange(40), 0)
    label_file(tmp_path / f"{TEST_FILE}.gz", mnist.test.labels, np.arange(40), 4)
    train, test = writers.find(mnist, None, str(path))
    assert train is not None
    assert test is not None
    assert set(test.series.tolist()) == {4}


@pytest.mark.parametrize("name", ["missing.gz", "other.gz"])
def test_named_file_of_other_images_is_an_error(tmp_path: Path, name: str) -> None:
    label_file(tmp_path / "other.gz", np.zeros(40, int), np.arange(40))
    with pytest.raises(DatasetError, match=name):
        writers.find(data_set("MNIST"), None, str(tmp_path / name))


def test_whole_writers_are_held_back() -> None:
    by = np.repeat(np.arange(20), 10)
    split = Split(np.arange(200, dtype=np.uint8).reshape(200, 1, 1, 1), np.arange(200) % 2)
    kept, held = writers.split_by_writer(split, by, 0.1, 0)
    assert (len(kept), len(held)) == (180, 20)
    assert not set(by[kept.pixels.ravel()].tolist()) & set(by[held.pixels.ravel()].tolist())


def test_number_of_images_to_hold_back_is_approximated() -> None:
    by = np.repeat(np.arange(20), 10)
    split = Split(np.zeros((200, 1, 1, 1), np.uint8), np.arange(200) % 2)
    assert len(writers.split_by_writer(split, by, 50, 0)[1]) == 50


def test_held_back_images_without_a_class_are_an_error() -> None:
    by = np.arange(20)
    split = Split(np.zeros((20, 1, 1, 1), np.uint8), np.arange(20))
    with pytest.raises(DatasetError, match="--validation"):
        writers.split_by_writer(split, by, 0.1, 0)


def test_interval_over_writers_is_wider_if_one_writer_has_all_errors() -> None:
    by = np.repeat(np.arange(50), 20)
    series = np.zeros(1000, np.int64)
    spread, one = np.ones(1000, bool), np.ones(1000, bool)
    spread[::50] = False  # 20 errors of 20 writers
    one[:20] = False  # 20 errors of one writer
    (even,) = writers.accuracy_by_series(spread, Writers(by, series))
    (uneven,) = writers.accuracy_by_series(one, Writers(by, series))
    assert even.accuracy == uneven.accuracy == 0.98
    assert uneven.high - uneven.low > 2 * (even.high - even.low)


def test_series_are_evaluated_separately_and_together() -> None:
    correct = np.array([True, False, True, True])
    rows = writers.accuracy_by_series(
        correct, Writers(np.array([1, 2, 9, 9]), np.array([0, 0, 4, 4]))
    )
    assert [(r.series, r.writers, r.n, r.correct) for r in rows] == [
        ("hsf_0", 2, 2, 1),
        ("hsf_4", 1, 2, 2),
        ("all", 3, 4, 3),
    ]
