"""Folders with one subfolder of images a class."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from runtime.errors import DatasetError
from train import data


def _draw_letters(folder: Path, classes: str = "ABC", n: int = 8) -> None:
    font = ImageFont.load_default(size=40)
    kinds = [("png", "L"), ("jpg", "RGB"), ("bmp", "1"), ("webp", "RGB"), ("gif", "P")]
    for name in classes:
        (folder / name).mkdir(parents=True)
        for k in range(n):
            suffix, mode = kinds[k % len(kinds)]
            page = Image.new("L", (70 + 5 * k, 90 + 3 * k), 255)
            ImageDraw.Draw(page).text((10 + k, 15 + 2 * k), name, 0, font, stroke_width=k % 4)
            page.rotate(3 * k - 10, fillcolor=255).convert(mode).save(
                folder / name / f"{k}.{suffix}"
            )


def test_a_folder_of_images_of_any_kind(tmp_path, capsys):
    _draw_letters(tmp_path / "letters")
    (tmp_path / "letters" / ".git").mkdir()
    (tmp_path / "letters" / "A" / "notes.txt").write_text("no image")
    (tmp_path / "letters" / "B" / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    read = data.load(tmp_path / "letters")
    assert (read.name, read.labels) == ("letters", ("A", "B", "C"))
    assert len(read.train) + len(read.test) == 24
    assert (np.bincount(read.test.labels, minlength=3) >= 1).all()
    assert (read.train.pixels.max(axis=(1, 2, 3)) == 255).all()
    told = capsys.readouterr().err
    assert "notes.txt" in told and "cut.png" in told and "2 of 26 files left out" in told


def test_a_folder_divided_already_keeps_its_division(tmp_path):
    _draw_letters(tmp_path / "train", "AB", 8)
    _draw_letters(tmp_path / "test", "AB", 3)
    read = data.load(tmp_path)
    assert len(read.train) == 16 and len(read.test) == 6 and read.labels == ("A", "B")


def test_numbers_are_classes_in_their_own_order(tmp_path):
    for name in ("10", "9", "100"):
        (tmp_path / name).mkdir()
        for k in range(6):
            pixels = np.zeros((28, 28), np.uint8)
            pixels[4 : 12 + k, 8 : 10 + len(name)] = 255
            Image.fromarray(pixels).save(tmp_path / name / f"{k}.png")
    read = data.load(tmp_path, as_is=True)
    assert read.labels == ("9", "10", "100")
    by_class = [read.train.pixels[read.train.labels == n][0, 6].sum() // 255 for n in range(3)]
    assert by_class == [3, 4, 5], "taken as they are, each with its own label"


@pytest.fixture
def refused():
    """Asserts that a path is refused with one line that holds every word given."""

    def check(path: Path, *words: str, as_is: bool = False) -> None:
        with pytest.raises(DatasetError) as caught:
            data.load(path, as_is)
        assert "\n" not in str(caught.value)
        assert [word for word in words if word not in str(caught.value)] == []

    return check


def test_unfit_folders_are_refused(tmp_path, refused):
    refused(tmp_path / "nowhere", "nowhere", "does not exist")
    (tmp_path / "file.txt").write_text("hello")
    refused(tmp_path / "file.txt", "file.txt", "no data set")
    refused(tmp_path, "0 subfolders")
    _draw_letters(tmp_path, "A", 8)
    refused(tmp_path, "1 subfolders")
    _draw_letters(tmp_path, "B", 4)
    refused(tmp_path, "'B' has 4", "at least 5")
    refused(tmp_path, "'A' has 0", as_is=True)
