"""Own images, own labels: from a folder of letters to the report, by the commands alone."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from runtime.classifier import Classifier

pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")

ROOT = Path(__file__).parents[1]
LABELS = ("A", "E", "K", "M", "ß")
EACH = 60


def _letter(text: str, random: np.random.Generator) -> Image.Image:
    """Dark ink on a page of uneven light: another size, place, slant and turn each time."""
    side = int(random.integers(70, 160))
    page = Image.new("L", (side, side), 0)
    font = ImageFont.load_default(side * random.uniform(0.4, 0.6))
    ImageDraw.Draw(page).text((side / 2, side / 2), text, 255, font, anchor="mm")
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


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    """A folder with a subfolder a class, and the pictures kept aside: (path, label)."""
    random = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("letters")
    aside = []
    for label in LABELS:
        (folder / "set" / label).mkdir(parents=True)
        for n in range(EACH):
            _letter(label, random).save(folder / "set" / label / f"{n:02}.png")
        for n in range(4):
            aside.append((folder / f"{label}{n}.png", label))
            _letter(label, random).save(aside[-1][0])
    (folder / "set" / "A" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing more")
    return folder, aside


def _run(*arguments: object) -> str:
    command = [sys.executable, "-m", *map(str, arguments)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def artefacts(letters):
    """Where the artefacts of the letters lie."""
    folder, _ = letters
    model = folder / "models" / "digits.keras"
    said = _run(
        *("train", "--data", folder / "set", "--epochs", 4, "--batch-size", 32, "--out", model)
    )
    assert "broken.png" in said and "5 classes" in said
    _run("export", "--model", model, "--data", folder / "set")
    return model.parent


@pytest.mark.parametrize("name", ["digits-int8.tflite", "digits.tflite", "digits-int8.onnx"])
def test_letters_are_read_by_their_own_names(letters, artefacts, name):
    _, aside = letters
    classifier = Classifier.load(artefacts / name)
    assert classifier.spec.labels == LABELS and classifier.spec.dataset.name != "MNIST"
    found = [classifier.classify(path).label for path, _ in aside]
    assert sum(a == b for a, (_, b) in zip(found, aside, strict=True)) >= 18, found


def test_the_command_prints_the_label(letters, artefacts):
    _, aside = letters
    path, label = aside[-1]
    said = _run("runtime", "--model", artefacts / "digits-int8.tflite", "--json", path)
    assert json.loads(said)["label"] == label == "ß"


def test_the_report_is_of_the_letters(letters, artefacts):
    folder, _ = letters
    options = ("--models", artefacts, "--data", folder / "set", "--quick", "--min-agreement", 90)
    _run("benchmarks", *options, "--max-drop", 5, "--out", folder / "report")
    report = json.loads((folder / "report" / "report.json").read_text())
    assert set(report) >= {"parity", "latency"}
    page = (folder / "report" / "report.html").read_text()
    assert all(f">{label}<" in page for label in LABELS) and ">9<" not in page
