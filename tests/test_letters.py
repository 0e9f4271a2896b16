"""Own images, own labels: from a folder of letters to the report, by the commands alone."""

import csv
import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont

from runtime.classifier import Classifier

pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")

ROOT = Path(__file__).parents[1]
LABELS = ("A", "K", "ß")
EACH = 60
MANY = 300
KEPT_ASIDE = 40  # pictures a class that no training sees
MIN_ACCEPTED = 0.99  # share of the right predictions
FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono-Oblique")


def _letter(text: str, random: np.random.Generator) -> Image.Image:
    """Dark ink on a page of uneven light, varied in font, stroke, size, slant and rotation."""
    side = int(random.integers(70, 160))
    page = Image.new("L", (side, side), 0)
    file = Path(get_data_path(), "fonts", "ttf", f"{random.choice(FONTS)}.ttf")
    font = ImageFont.truetype(str(file), side * random.uniform(0.4, 0.6))
    stroke = int(random.integers(0, 3))
    ImageDraw.Draw(page).text((side / 2, side / 2), text, 255, font, "mm", stroke_width=stroke)
    page = page.rotate(random.uniform(-12, 12), Image.Resampling.BICUBIC)
    slant = random.uniform(-0.2, 0.2)
    page = page.transform(
        page.size,
        Image.Transform.AFFINE,
        (1, slant, -slant * side / 2, 0, 1, 0),
        Image.Resampling.BICUBIC,
    )
    light = np.linspace(random.uniform(150, 250), random.uniform(150, 250), side)
    return Image.fromarray((light * (1 - np.asarray(page) / 255 * 0.8)).astype(np.uint8))


def _draw(folder: Path, each: int, seed: int) -> None:
    """Draw a folder of pictures with one subfolder a class."""
    random = np.random.default_rng(seed)
    for label in LABELS:
        (folder / label).mkdir(parents=True)
        for n in range(each):
            _letter(label, random).save(folder / label / f"{n:03}.png")


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    """A folder with a subfolder a class, and the pictures kept aside: (path, label)."""
    folder = tmp_path_factory.mktemp("letters")
    _draw(folder / "set", EACH, 0)
    _draw(folder / "aside", KEPT_ASIDE, 1)
    (folder / "set" / "A" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing more")
    aside = [(path, path.parent.name) for path in sorted((folder / "aside").glob("*/*.png"))]
    return folder, aside


def _run(*arguments: object) -> str:
    command = [sys.executable, "-m", *map(str, arguments)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def artifacts(letters):
    """Where the artifacts of the letters lie."""
    folder, _ = letters
    model = folder / "models" / "digits.keras"
    said = _run(
        *("train", "--data", folder / "set", "--epochs", 4, "--batch-size", 32, "--out", model)
    )
    assert "broken.png" in said
    assert "3 classes" in said
    assert "temperature 1.000; every prediction is accepted: a threshold needs 100" in said
    assert "there are 12 validation images" in said
    assert "false rejections 0.00 %: 0 of 36 correct predictions" in said
    _run("export", "--model", model, "--data", folder / "set")
    return model.parent


@pytest.mark.parametrize("name", ["digits-int8.tflite", "digits.tflite", "digits-int8.onnx"])
def test_letters_are_read_by_their_own_names(letters, artifacts, name):
    _, aside = letters
    classifier = Classifier.load(artifacts / name)
    assert classifier.spec.labels == LABELS
    assert classifier.spec.dataset.name != "MNIST"
    found = [classifier.classify(path) for path, _ in aside]
    right = [a.accepted for a, (_, b) in zip(found, aside, strict=True) if a.label == b]
    assert len(right) >= 0.9 * len(aside)
    assert np.mean(right) >= MIN_ACCEPTED
    assert [each.accepted for each in classifier.classify_batch([p for p, _ in aside])] == [
        each.accepted for each in found
    ]


def _accepted(records, aside) -> float:
    """The share of right predictions that are accepted, of records with the keys of --json."""
    labels = {str(path): label for path, label in aside}
    right = [r["accepted"] in (True, "true") for r in records if r["label"] == labels[r["image"]]]
    assert len(right) >= 0.9 * len(labels)
    return float(np.mean(right))


def test_letters_are_accepted_by_the_command(letters, artifacts):
    folder, aside = letters
    said = _run("runtime", "--model", artifacts / "digits-int8.tflite", "--csv", folder / "aside")
    assert _accepted(csv.DictReader(io.StringIO(said)), aside) >= MIN_ACCEPTED


def test_letters_are_accepted_by_watch(letters, artifacts, tmp_path):
    folder, aside = letters
    out = tmp_path / "out.jsonl"
    options = ["--existing", "--state", tmp_path / "state", "--out", out, "--settle", 0]
    command = ["runtime.watch", folder / "aside", "--model", artifacts / "digits.onnx", *options]
    watch = subprocess.Popen(
        [sys.executable, "-m", *map(str, command)], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + 120
        while not out.exists() or len(out.read_text().splitlines()) < len(aside):
            assert time.monotonic() < end
            assert watch.poll() is None
            time.sleep(0.1)
    finally:
        watch.send_signal(signal.SIGTERM)
        assert watch.wait(60) == 0
    records = map(json.loads, out.read_text().splitlines())
    assert _accepted(records, aside) >= MIN_ACCEPTED


def test_many_letters_are_accepted(letters, tmp_path):
    _, aside = letters
    _draw(tmp_path / "set", MANY, 2)
    model = tmp_path / "digits.keras"
    data = ("--data", tmp_path / "set")
    said = _run("train", *data, "--epochs", 2, "--batch-size", 32, "--out", model)
    assert "false rejections 0.00 %" in said
    _run("export.tflite", "--quantize", "--model", model, *data)
    classifier = Classifier.load(tmp_path / "digits-int8.tflite")
    found = classifier.classify_batch([np.asarray(Image.open(path)) for path, _ in aside])
    right = [a.accepted for a, (_, b) in zip(found, aside, strict=True) if a.label == b]
    assert len(right) >= 0.9 * len(aside)
    assert np.mean(right) >= MIN_ACCEPTED


def test_the_command_prints_the_label(letters, artifacts):
    _, aside = letters
    path, label = aside[-1]
    said = _run("runtime", "--model", artifacts / "digits-int8.tflite", "--json", path)
    assert json.loads(said)["label"] == label == "ß"


def test_the_report_is_of_the_letters(letters, artifacts):
    folder, _ = letters
    options = ("--models", artifacts, "--data", folder / "set", "--quick", "--min-agreement", 90)
    _run("benchmarks", *options, "--max-drop", 5, "--out", folder / "report")
    report = json.loads((folder / "report" / "report.json").read_text())
    assert set(report) >= {"parity", "latency"}
    page = (folder / "report" / "report.html").read_text()
    assert all(f">{label}<" in page for label in LABELS)
    assert ">9<" not in page
