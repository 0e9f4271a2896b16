"""digit-edge camera --read on folders of frames, and its preview."""

import json
import subprocess
import sys

import numpy as np
import pytest

from runtime import Classifier
from runtime.camera.debounce import ChangeDebouncer
from runtime.camera.watch_numbers import NumberWatcher
from runtime.numbers.options import NumberOptions
from runtime.numbers.read_regions import NumberReader
from runtime.numbers.regions import parse_region

WAIT_S = 60  # time limit of a command


def run(*arguments: object) -> tuple[int, list[dict], str]:
    done = subprocess.run(
        [sys.executable, "-m", "runtime.camera", *map(str, arguments)],
        capture_output=True, text=True, timeout=WAIT_S,
    )  # fmt: skip
    lines = done.stderr.splitlines(keepends=True)
    errors = "".join(line for line in lines if not line.startswith("reading "))
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], errors


@pytest.fixture
def frames(meter, tmp_path):
    """Save frames in a folder of its own, in order: `frames("10457", …)`."""

    def save(*texts: str):
        (tmp_path / "frames").mkdir()
        for number, text in enumerate(texts):
            meter(*(text.split() or [""])).save(tmp_path / "frames" / f"{number:03}.png")
        return tmp_path / "frames"

    return save


def test_number_is_reported_when_it_changes(frames, tmp_path):
    source = frames(*3 * ["20461"], "20460", *3 * ["20461"], *3 * ["20463"], *3 * ["20461"])
    status, records, errors = run(
        *("--source", source, "--read", "--agree", "3/4", "--region", "main=0%,0%,100%,100%"),
        *("--monotone", "--last-values", tmp_path / "last.json"),
    )
    assert (status, errors) == (0, "")
    assert [(r["value"], r["accepted"], r["last_value"], r["frame"]) for r in records] == [
        (20461, True, 20461, 2),
        (20463, True, 20463, 9),
        (None, False, 20463, 12),
    ]
    assert records[2]["reason"] == "20461 is less than the last value 20463"
    assert json.loads((tmp_path / "last.json").read_text()) == {"main": 20463}


def test_region_without_a_number_is_rejected_and_an_empty_frame_is_not(frames):
    source = frames("20461", "", "20461")
    _, records, _ = run("--source", source, "--read", "--agree", "1/1")
    assert [r["value"] for r in records] == [20461, 20461]
    region = ("--region", "0,0,480,110")
    _, records, _ = run("--source", source, "--read", "--agree", "1/1", *region)
    assert [(r["value"], r["reason"]) for r in records] == [
        (20461, None),
        (None, "no digits"),
        (20461, None),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--read", "--region", "0,0,481,10"], "not inside the image of 480x110 pixels"),
        (["--read", "--roi", "0,0,9,9"], "with --read, pass --region in its place"),
        (["--digits", "5"], "--digits is for numbers: pass --read too"),
    ],
)
def test_wrong_options_are_one_error(frames, arguments, message):
    status, records, errors = run("--source", frames("20461"), *arguments)
    assert (status, records) == (2, [])
    assert errors.splitlines()[-1].startswith("error: ")
    assert message in errors.splitlines()[-1]


def test_change_debouncer_reports_a_change_once_and_again_after_another():
    debouncer = ChangeDebouncer(2, 3)
    states = ["1", "1", "1", "2", "1", "2", "2", "1", "1", None, None, "1", "1"]
    reported = [debouncer.add(state) for state in states]
    assert [number for number, is_new in enumerate(reported) if is_new] == [1, 5, 8, 12]


def test_preview_shows_the_number_and_never_an_implausible_one(meter, monkeypatch):
    from runtime.camera import preview

    written = []
    monkeypatch.setattr(preview, "_write", lambda _, caption, color, *__: written.append(caption))
    regions = (parse_region("main=0,0,480,110"), parse_region("flow=0,110,480,110"))
    options = NumberOptions(regions, decimals=1, max_step=5, one_number=True)
    watcher = NumberWatcher(NumberReader(options), (1, 1))
    classifier = Classifier.load()
    for main in ("20461", "29461"):
        frame = np.asarray(meter(main, ""))
        watcher.see(classifier, frame, show=True)
        watcher.records()
        picture = watcher.draw(frame)
        assert picture.size == (480, 220)
        assert (np.asarray(picture) != frame).any()
    assert written[0].startswith("main: 2046.1 ")
    assert written[1] == written[3] == "flow: ? (no digits)"
    assert written[2] == "main: ? (2946.1 differs from the last value 2046.1 by more than 5)"
