"""A model of three letters, trained, exported, run and benchmarked with the commands."""

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
EACH = 60  # images per class: too few for a confidence threshold
MANY = 300  # images per class: enough for a confidence threshold
KEPT_ASIDE = 40  # further images per class, to test with
MIN_ACCEPTED = 0.99  # share of the correct predictions
FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono-Oblique")


def _letter(text: str, random: np.random.Generator) -> Image.Image:
    """Draw dark ink on an unevenly lit page, in a random font, stroke, size, slant and rotation."""
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
    """Draw a folder of images with one subfolder per class."""
    random = np.random.default_rng(seed)
    for label in LABELS:
        (folder / label).mkdir(parents=True)
        for n in range(each):
            _letter(label, random).save(folder / label / f"{n:03}.png")


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    """Return a folder with the training images in `set`, and the test images as (path, label)."""
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
    """Return the folder of the letters' artifacts, after checking the output of the training."""
    folder, _ = letters
    model = folder / "models" / "digits.keras"
    output = _run(
        *("train", "--data", folder / "set", "--epochs", 4, "--batch-size", 32, "--out", model)
    )
    assert "broken.png" in output
    assert "3 classes" in output
    assert "temperature 1.000; every prediction is accepted: a threshold needs 100" in output
    assert "there are 12 validation images" in output
    assert "false rejections 0.00 %: 0 of 36 correct predictions" in output
    _run("export", "--model", model, "--data", folder / "set")
    return model.parent


ARTIFACTS = pytest.mark.parametrize(
    "name", ["digits-int8.tflite", "digits.tflite", "digits-int8.onnx"]
)


@ARTIFACTS
def test_artifact_has_the_letters_as_labels(artifacts, name):
    spec = Classifier.load(artifacts / name).spec
    assert spec.labels == LABELS
    assert spec.dataset.name != "MNIST"


@ARTIFACTS
def test_letters_are_predicted_and_accepted(letters, artifacts, name):
    _, aside = letters
    classifier = Classifier.load(artifacts / name)
    predictions = [classifier.classify(path) for path, _ in aside]
    assert _accepted_share(predictions, aside) >= MIN_ACCEPTED
    batch = classifier.classify_batch([path for path, _ in aside])
    assert [p.accepted for p in batch] == [p.accepted for p in predictions]


def _accepted_share(predictions, aside) -> float:
    """Return the accepted share of the correct predictions; at least 90 % must be correct."""
    accepted = [p.accepted for p, (_, label) in zip(predictions, aside, strict=True)
                if p.label == label]  # fmt: skip
    assert len(accepted) >= 0.9 * len(aside)
    return float(np.mean(accepted))


def _accepted(records, aside) -> float:
    """Return the accepted share of the correct predictions in records with the keys of --json."""
    labels = {str(path): label for path, label in aside}
    accepted = [
        record["accepted"] in (True, "true")
        for record in records
        if record["label"] == labels[record["image"]]
    ]
    assert len(accepted) >= 0.9 * len(labels)
    return float(np.mean(accepted))


def test_runtime_command_accepts_letters(letters, artifacts):
    folder, aside = letters
    output = _run("runtime", "--model", artifacts / "digits-int8.tflite", "--csv", folder / "aside")
    assert _accepted(csv.DictReader(io.StringIO(output)), aside) >= MIN_ACCEPTED


def test_watch_accepts_letters(letters, artifacts, tmp_path):
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


def test_letters_are_accepted_with_a_confidence_threshold(letters, tmp_path):
    _, aside = letters
    _draw(tmp_path / "set", MANY, 2)
    model = tmp_path / "digits.keras"
    data = ("--data", tmp_path / "set")
    output = _run("train", *data, "--epochs", 2, "--batch-size", 32, "--out", model)
    assert "false rejections 0.00 %" in output
    _run("export.tflite", "--quantize", "--model", model, *data)
    classifier = Classifier.load(tmp_path / "digits-int8.tflite")
    predictions = classifier.classify_batch([np.asarray(Image.open(path)) for path, _ in aside])
    assert _accepted_share(predictions, aside) >= MIN_ACCEPTED


def test_runtime_command_prints_a_label_that_is_not_ascii(letters, artifacts):
    _, aside = letters
    path, label = aside[-1]
    output = _run("runtime", "--model", artifacts / "digits-int8.tflite", "--json", path)
    assert json.loads(output)["label"] == label == "ß"


def test_report_has_the_letters_as_classes(letters, artifacts):
    folder, _ = letters
    options = ("--model", artifacts, "--data", folder / "set", "--quick", "--min-agreement", 90)
    options += ("--backend", "litert", "--threads", 1, "--min-seconds", 0.01, "--min-count", 2)
    _run("benchmarks", *options, "--max-drop", 5, "--out", folder / "report")
    report = json.loads((folder / "report" / "report.json").read_text())
    assert set(report) >= {"parity", "latency"}
    page = (folder / "report" / "report.html").read_text()
    assert all(f">{label}<" in page for label in LABELS)
    assert ">9<" not in page
