"""The benchmark of composed lines: how a reading is judged, and its report."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.lines.run import judge
from train.lines.compose import Line


@pytest.mark.parametrize(
    ("expected", "text", "exact", "silent"),
    [
        ("1480", "1480", True, False),
        ("1480", "148", False, True),
        ("1480", "148?", False, False),
        ("1480", "", False, True),
        ("12?3", "12??3", True, False),
        ("12?3", "1243", False, True),
        ("12?3", "1?3", False, True),
        ("", "", True, False),
        ("", "4", False, True),
        ("", "??", False, False),
    ],
)
def test_reading_is_exact_or_wrong_and_says_so_or_not(
    expected: str, text: str, exact: bool, silent: bool
) -> None:
    assert judge(expected, text) == (exact, silent)


def test_picture_has_dark_ink_on_light_paper() -> None:
    pixels = np.zeros((32, 40), np.uint8)
    pixels[10:20, 15:25] = 255
    picture = np.asarray(Line(pixels, "1", ()).picture())
    assert picture.shape == (64, 80)
    assert (picture[0, 0], picture[30, 40]) == (225, 30)


def test_command_writes_a_report_with_all_counts(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable, "-m", "benchmarks.lines", "--data", "embedded", "--lines", "30",
            "--out", str(tmp_path),
        ],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "lines.json").read_text())
    assert report["lines"]["n"] + report["no_digits"]["n"] == 30
    assert sum(one["n"] for one in report["bins"]) == report["lines"]["n"]
    for counts in (report["lines"], *report["kinds"]):
        assert 0 <= counts["exact"] + counts["silent"] <= counts["n"]
    assert "target ≥ 95%" in (tmp_path / "lines.md").read_text()


def test_other_classes_are_one_error(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(12):
            image = np.full((40, 40), 255, np.uint8)
            image[8:32, 10 : 12 + number] = image[8 : 10 + number, 10:14] = 0
            image[30:32, 10 : 20 + 8 * (label == "a")] = 0
            Image.fromarray(image).save(tmp_path / "data" / label / f"{number}.png")
    done = subprocess.run(
        [
            sys.executable, "-m", "benchmarks.lines", "--data", str(tmp_path / "data"),
            "--out", str(tmp_path),
        ],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "has the classes a, b; lines are composed of the digits 0 to 9" in done.stderr
