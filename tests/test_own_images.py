"""Own images, from a folder to the benchmarks: color icons of 32×32 and meter wheels of 32×20.

`tests/test_letters.py` does the same with letters, which are ink of 28×28.
"""

import importlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from runtime.classifier import Classifier
from runtime.errors import ArtifactError
from runtime.model import artifact
from runtime.selftest import main as selftest

ROOT = Path(__file__).parents[1]
ICONS = ("green ball", "red ball", "red box")
N_ICONS = 30  # images of a class
N_WHEELS = 60  # images of a class
QUICK = ("--epochs", "3", "--batch-size", "32")
# Operators that AI-on-the-edge-device registers in CTfLiteClass::MakeStaticResolver.
FIRMWARE_OPERATORS = {
    "FULLY_CONNECTED", "RESHAPE", "SOFTMAX", "CONV_2D", "MAX_POOL_2D", "QUANTIZE", "MUL", "ADD",
    "LEAKY_RELU", "DEQUANTIZE",
}  # fmt: skip


def draw_icon(name: str, random: np.random.Generator) -> Image.Image:
    """Draw an icon on paper of any light color, off center, with noise."""
    paper = tuple(random.integers(120, 256, 3).tolist())
    picture = Image.new("RGB", (48, 40), paper)
    x, y = random.integers(4, 14, 2).tolist()
    color = (200, 40, 40) if name.startswith("red") else (40, 170, 60)
    pen = ImageDraw.Draw(picture)
    (pen.ellipse if name.endswith("ball") else pen.rectangle)((x, y, x + 24, y + 22), color)
    levels = np.asarray(picture) + random.normal(0, 8, (40, 48, 3))
    return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))


def run(module: str, *options: object) -> str:
    """Run a command in a process of its own, and return what it prints."""
    command = [sys.executable, "-m", module, *map(str, options)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def accuracy(classifier: Classifier, folder: Path) -> float:
    """Return the share of right and accepted predictions on a folder of class folders."""
    files = sorted(folder.glob("*/*.png"))
    predictions = classifier.classify_batch(files)
    right = [
        p.accepted and p.label == f.parent.name for p, f in zip(predictions, files, strict=True)
    ]
    return float(np.mean(right))


@pytest.fixture(scope="module")
def icons(tmp_path_factory) -> Path:
    """Return a folder with `set`, images of icons, and a folder `models` of two models."""
    folder = tmp_path_factory.mktemp("icons")
    random = np.random.default_rng(0)
    for name in ICONS:
        (folder / "set" / name).mkdir(parents=True)
        for n in range(N_ICONS):
            draw_icon(name, random).save(folder / "set" / name / f"{n}.png")
    data, model = ("--data", folder / "set"), folder / "models" / "icons.keras"
    run("train", *data, "--size", "32x32", "--color", *QUICK, "--out", model)
    run("export.tflite", "--quantize", "--model", model, *data)
    return folder


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> Path:
    """Return a folder with `set`, images of the wheels of a meter, and models in `models`."""
    folder = tmp_path_factory.mktemp("wheels")
    spec = importlib.util.spec_from_file_location("draw_meter", ROOT / "docs/draw_meter.py")
    draw_meter = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(draw_meter)
    draw_meter.draw(folder / "set", N_WHEELS)
    data, model = ("--data", folder / "set"), folder / "models" / "wheels.keras"
    run("train", *data, "--size", "32x20", "--color", *QUICK, "--out", model)
    run("export", "--scale", 255, "--model", model, *data)
    return folder


def test_icons_are_classified_from_the_spec_alone(icons):
    path = icons / "models" / "icons-int8.tflite"
    spec = artifact.read(path).spec
    assert (spec.form, spec.input_shape, spec.labels) == ("photo", (32, 32, 3), ICONS)
    assert accuracy(Classifier.load(path), icons / "set") >= 0.95
    assert selftest(["--model", str(path)]) == 0
    picture, view = icons / "set" / "red box" / "0.png", icons / "view.png"
    printed = run("runtime", "--model", path, "--json", "--show", view, picture)
    assert json.loads(printed)["label"] == "red box"
    with Image.open(view) as shown:
        assert shown.mode == "RGB"
    run("export.c", "--model", path, "--out", icons / "c")


def test_icons_are_benchmarked(icons):
    options = ("--model", icons / "models", "--data", icons / "set", "--backend", "litert")
    printed = run("benchmarks.parity", *options, "--min-agreement", 90, "--max-drop", 10)
    assert "Parity: passed" in printed
    out = icons / "robustness"
    run("benchmarks.robustness", *options, "--no-keras", "--out", out)
    (result,) = json.loads((out / "robustness.json").read_text())["results"]
    names = [curve["corruption"] for curve in result["curves"]]
    assert "blur" in names
    assert "thin strokes" not in names  # photographs have no strokes


def test_numbers_are_not_read_with_a_model_of_photographs(icons):
    classifier = Classifier.load(icons / "models" / "icons-int8.tflite")
    assert not classifier.reads_numbers
    with pytest.raises(ArtifactError, match="32x32 color"):
        classifier.read(icons / "set" / "red box" / "0.png")


@pytest.mark.parametrize("name", ["wheels.tflite", "wheels-int8.tflite"])
def test_wheels_run_as_the_firmware_of_meter_readers_runs_them(wheels, name):
    path = wheels / "models" / name
    engine = importlib.import_module("ai_edge_litert.interpreter")
    interpreter = engine.Interpreter(
        model_path=str(path),
        experimental_op_resolver_type=engine.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    source, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    assert (source["shape"].tolist(), source["dtype"]) == ([1, 32, 20, 3], np.float32)
    assert (result["shape"].tolist(), result["dtype"]) == ([1, 11], np.float32)
    operators = {operator["op_name"] for operator in interpreter._get_ops_details()}
    assert operators - {"DELEGATE"} <= FIRMWARE_OPERATORS
    # The firmware writes the pixels as floats and takes the highest score.
    picture = wheels / "set" / "between" / "0000.png"
    with Image.open(picture) as opened:
        levels = np.asarray(opened, np.float32)[np.newaxis]
    interpreter.set_tensor(source["index"], levels)
    interpreter.invoke()
    scores = interpreter.get_tensor(result["index"])[0]
    assert scores.argmax() == 10
    assert scores.sum() == pytest.approx(1, abs=0.01)
    classifier = Classifier.load(path)
    np.testing.assert_allclose(classifier.classify(picture).scores, scores, atol=0.02)
    assert classifier.spec.labels[10] == "between"
    assert accuracy(classifier, wheels / "set") >= 0.9
    assert path.stat().st_size < 700_000


def test_wheels_are_benchmarked(wheels):
    options = ("--data", wheels / "set", "--backend", "litert", "--backend", "onnxruntime")
    limits = ("--min-agreement", 90, "--max-drop", 10)
    assert "Parity: passed" in run(
        "benchmarks.parity", "--model", wheels / "models", *options, *limits
    )
