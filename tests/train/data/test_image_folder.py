"""Folders with one subfolder of images a class."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from train.data import load


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
    read = load.load(tmp_path / "letters")
    assert (read.name, read.labels) == ("letters", ("A", "B", "C"))
    assert len(read.train) + len(read.test) == 24
    assert (np.bincount(read.test.labels, minlength=3) >= 1).all()
    assert (read.train.pixels.max(axis=(1, 2, 3)) == 255).all()
    told = capsys.readouterr().err
    assert "notes.txt" in told
    assert "cut.png" in told
    assert "2 of 26 files skipped" in told


def test_a_folder_divided_already_keeps_its_division(tmp_path):
    _draw_letters(tmp_path / "train", "AB", 8)
    _draw_letters(tmp_path / "test", "AB", 3)
    read = load.load(tmp_path)
    assert len(read.train) == 16
    assert len(read.test) == 6
    assert read.labels == ("A", "B")


@pytest.mark.parametrize("val", ["val", "Valid", "validation"])
def test_what_is_set_apart_to_validate_with_is_trained_on(tmp_path, val, capsys):
    _draw_letters(tmp_path / "train", "AB", 8)
    _draw_letters(tmp_path / val, "AB", 3)
    undivided = load.load(tmp_path)
    assert undivided.labels == ("A", "B")
    assert len(undivided.test) > 0
    _draw_letters(tmp_path / "test", "AB", 4)
    read = load.load(tmp_path)
    assert np.bincount(read.train.labels).tolist() == [11, 11]
    assert np.bincount(read.test.labels).tolist() == [4, 4]
    said = capsys.readouterr().err
    assert str(tmp_path / val) in said
    assert "are both used for training" in said


def test_a_division_that_is_none_is_refused(tmp_path, refused):
    for name in ("test", "train"):
        (tmp_path / name).mkdir()
        Image.new("L", (28, 28)).save(tmp_path / name / "0.png")
    refused(tmp_path, "0 subfolders", "train and", "test")
    _draw_letters(tmp_path / "train", "AB")
    (tmp_path / "extra").mkdir()
    refused(tmp_path, "extra, test, train", "remove other folders")


def test_a_class_may_be_called_train(tmp_path):
    _draw_letters(tmp_path, "A")
    _draw_letters(tmp_path / "more", "B")
    (tmp_path / "more" / "B").rename(tmp_path / "train")
    (tmp_path / "more").rmdir()
    assert load.load(tmp_path).labels == ("A", "train")


def test_a_name_that_is_not_utf_8_can_be_written(tmp_path):
    folder = tmp_path / os.fsdecode(b"donn\xe9es")
    try:
        _draw_letters(folder)
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    assert load.load(folder).name.encode() == rb"donn\udce9es"


def test_a_folder_of_somebody_else_is_refused(tmp_path):
    """In a process of its own, which is nobody where the tests are root."""
    tmp_path.chmod(0)
    script = (
        "import os, sys; from train.data.load import load; os.geteuid() or os.setuid(65534)\n"
        "from runtime.cli.exit_status import exit_status\n"
        "sys.exit(exit_status(lambda: load(sys.argv[1])))"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    tmp_path.chmod(0o700)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: cannot read {tmp_path}")
    assert "denied" in done.stderr


def test_numbers_are_classes_in_their_own_order(tmp_path):
    for name in ("10", "9", "100"):
        (tmp_path / name).mkdir()
        for k in range(6):
            pixels = np.zeros((28, 28), np.uint8)
            pixels[4 : 12 + k, 8 : 10 + len(name)] = 255
            Image.fromarray(pixels).save(tmp_path / name / f"{k}.png")
    read = load.load(tmp_path, as_is=True)
    assert read.labels == ("9", "10", "100")
    by_class = [read.train.pixels[read.train.labels == n][0, 6].sum() // 255 for n in range(3)]
    assert by_class == [3, 4, 5], "taken as they are, each with its own label"


def test_unfit_folders_are_refused(tmp_path, refused):
    refused(tmp_path / "nowhere", "nowhere", "does not exist")
    (tmp_path / "file.txt").write_text("hello")
    refused(tmp_path / "file.txt", "file.txt", "not a data set")
    refused(tmp_path, "0 subfolders")
    _draw_letters(tmp_path, "A", 8)
    refused(tmp_path, "1 subfolders")
    _draw_letters(tmp_path, "B", 4)
    refused(tmp_path, "'B' has 4", "at least 5")
    refused(tmp_path, "'A' has 0", as_is=True)
