"""Composed lines: the same seed gives the same ones, and their text says what is in them."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from runtime.errors import DatasetError
from runtime.multi_digit.line_reader import HEIGHT_PX, UNKNOWN
from train.data import writers
from train.data.load import sklearn_digits
from train.lines import marks
from train.lines.compose import MAX_DIGITS, MAX_WIDTH_PX, Composer, _read_symbols
from train.negatives import letter_fonts


def composer(by: np.ndarray | None = None) -> Composer:
    train = sklearn_digits().train
    return Composer(train.pixels, train.labels, by, letter_fonts())


LINES = composer().lines(300, (0, 1))


def test_same_seed_gives_the_same_lines_and_another_one_others() -> None:
    again, other = composer().lines(20, (0, 1)), composer().lines(20, (0, 2))
    for line, same in zip(LINES, again, strict=False):
        assert np.array_equal(line.pixels, same.pixels)
        assert (line.text, line.kinds) == (same.text, same.kinds)
    assert [line.text for line in again] != [line.text for line in other]


def test_lines_have_one_height_and_up_to_16_digits() -> None:
    for line in LINES:
        assert line.pixels.dtype == np.uint8
        assert line.pixels.shape[0] == HEIGHT_PX
        assert line.pixels.shape[1] <= MAX_WIDTH_PX
        assert sum(map(str.isdigit, line.text)) <= MAX_DIGITS


def test_every_difficulty_occurs() -> None:
    kinds = {kind for line in composer().lines(1000, (0, 3)) for kind in line.kinds}
    assert kinds >= {
        "overlapping", "touching", "close", "apart", "wide", "continental", "separators",
        "operators", "letters", "rules", "boxes", "circle", "page edge", "specks", "neighbors",
        "gray paper", "texture", "printed", "segments", "no digits",
    }  # fmt: skip


def test_line_in_which_a_digit_is_hardly_visible_is_drawn_again() -> None:
    train = sklearn_digits().train
    faint = np.where((train.labels == 7)[:, None, None, None], train.pixels // 12, train.pixels)
    lines = Composer(faint, train.labels, None, letter_fonts()).lines(300, (0, 4))
    bold = {"continental", "printed", "segments"}  # not of the data set
    written = [line.text for line in lines if not bold & set(line.kinds)]
    assert [text for text in written if "7" in text and set(text) & set("012345689")] == []
    assert any("2" in text and "3" in text for text in written)


def test_blank_line_has_nothing_in_it() -> None:
    blank = [line for line in composer().lines(600, (0, 5)) if "blank" in line.kinds]
    assert blank
    assert [line.text for line in blank] == [""] * len(blank)


def test_line_without_digits_has_no_digit_in_its_text() -> None:
    without = [line for line in LINES if "no digits" in line.kinds]
    assert without
    assert all(set(line.text) <= {UNKNOWN} for line in without)


@pytest.mark.parametrize(
    ("symbols", "text"),
    [
        ("12+3", "12?3"),
        ("1.480", "1480"),
        ("6-2", "6?2"),
        ("38.117.-", "38117"),
        ("6,5=", "65?"),
        ("L12", "?12"),
    ],
)
def test_operators_are_unknown_and_separators_are_not_read(symbols: str, text: str) -> None:
    assert _read_symbols(list(symbols)) == text


@pytest.mark.parametrize("sign", marks.OPERATORS)
def test_operator_is_drawn(sign: str) -> None:
    ink = marks.draw_operator(sign, 24, 3, 0.1, np.random.default_rng(0))
    assert ink.max() == 1
    assert max(ink.shape) <= 60


def label_file(path: Path, labels: np.ndarray, by: np.ndarray) -> Path:
    rows = np.zeros((len(labels), 8), ">i4")
    rows[:, 0], rows[:, 2] = labels, by
    header = b"\x00\x00\x0c\x02" + struct.pack(">II", *rows.shape)
    path.write_bytes(gzip.compress(header + rows.tobytes()))
    return path


def test_writers_are_read_from_a_label_file_of_qmnist(tmp_path: Path) -> None:
    labels, by = np.array([3, 1, 4]), np.array([70, 70, 2000])
    path = label_file(tmp_path / "labels.gz", labels, by)
    assert writers.read(path, labels).writer.tolist() == by.tolist()
    with pytest.raises(DatasetError, match="of other images"):
        writers.read(path, np.array([3, 1, 5]))


@pytest.mark.parametrize("content", [b"", b"no gzip", gzip.compress(b"too short", mtime=0)])
def test_damaged_label_file_is_one_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "labels.gz"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"labels\.gz"):
        writers.read(path, np.array([3]))


def test_no_writer_is_both_trained_on_and_validated_with() -> None:
    by = np.random.default_rng(0).integers(0, 40, 1000)
    held = writers.hold_back(by, len(by), 0.1, 0)
    assert len(set(by[held].tolist())) == 4
    assert not set(by[held].tolist()) & set(by[~held].tolist())


def test_line_is_of_one_writer_if_they_are_known() -> None:
    train = sklearn_digits().train
    # Two writers, of whom one leaves all images blank but for one column.
    pixels = train.pixels.copy()
    by = np.arange(len(pixels)) % 2
    pixels[by == 1] = 0
    pixels[by == 1, 4:24, 14] = 255
    lines = Composer(pixels, train.labels, by, letter_fonts()).lines(50, (0, 1))
    assert any("apart" in line.kinds for line in lines)
