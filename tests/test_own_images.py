"""Own images, from a folder to the benchmarks: color icons of 32×32 and meter wheels of 32×20.

`tests/test_letters.py` does the same with letters, which are ink of 28×28.
"""

import importlib
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from benchmarks.parity.__main__ import main as benchmark_parity
from benchmarks.photos.__main__ import main as benchmark_photos
from benchmarks.robustness.__main__ import main as benchmark_robustness
from export.c.__main__ import main as export_c
from export.onnx import main as export_onnx
from export.tflite import main as export_tflite
from runtime.__main__ import main as classify
from runtime.classifier import Classifier
from runtime.errors import ArtifactError
from runtime.model import artifact
from runtime.selftest import main as selftest
from train.__main__ import main as train

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


@pytest.fixture(scope="module")
def icons(tmp_path_factory) -> Path:
    """Return a folder with `set`, a folder of images for each icon, and `icons.keras`."""
    folder = tmp_path_factory.mktemp("icons")
    random = np.random.default_rng(0)
    for name in ICONS:
        (folder / "set" / name).mkdir(parents=True)
        for n in range(N_ICONS):
            draw_icon(name, random).save(folder / "set" / name / f"{n}.png")
    out = ["--out", str(folder / "icons.keras")]
    assert train(["--data", str(folder / "set"), "--size", "32x32", "--color", *QUICK, *out]) == 0
    return folder


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> Path:
    """Return a folder with `set`, images of the wheels of a meter, and `wheels.keras`."""
    folder = tmp_path_factory.mktemp("wheels")
    spec = importlib.util.spec_from_file_location("draw_meter", ROOT / "examples" / "draw_meter.py")
    draw_meter = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(draw_meter)
    draw_meter.draw(folder / "set", N_WHEELS)
    out = ["--out", str(folder / "wheels.keras")]
    assert train(["--data", str(folder / "set"), "--size", "32x20", "--color", *QUICK, *out]) == 0
    return folder


def accuracy(classifier: Classifier, folder: Path) -> float:
    """Return the share of right and accepted predictions on a folder of class folders."""
    files = sorted(folder.glob("*/*.png"))
    predictions = classifier.classify_batch(files)
    right = [
        p.accepted and p.label == f.parent.name for p, f in zip(predictions, files, strict=True)
    ]
    return float(np.mean(right))


def test_icons_go_from_a_folder_to_the_benchmarks(icons, capsys):
    model, data = icons / "icons.keras", ["--data", str(icons / "set")]
    assert export_tflite(["--quantize", "--model", str(model), *data]) == 0
    artifact_path = icons / "icons-int8.tflite"
    spec = artifact.read(artifact_path).spec
    assert (spec.form, spec.input_shape, spec.labels) == ("photo", (32, 32, 3), ICONS)
    assert accuracy(Classifier.load(artifact_path), icons / "set") >= 0.95
    assert selftest(["--model", str(artifact_path)]) == 0
    capsys.readouterr()
    picture, view = str(icons / "set" / "red box" / "0.png"), icons / "view.png"
    assert classify(["--model", str(artifact_path), "--json", "--show", str(view), picture]) == 0
    assert json.loads(capsys.readouterr().out)["label"] == "red box"
    assert Image.open(view).mode == "RGB"
    models = icons / "models"
    models.mkdir()
    for path in (model, artifact_path):
        (models / path.name).write_bytes(path.read_bytes())
    options = ["--model", str(models), *data, "--backend", "litert"]
    assert benchmark_parity([*options, "--min-agreement", "90", "--max-drop", "10"]) == 0
    out = icons / "robustness"
    assert benchmark_robustness([*options, "--no-keras", "--out", str(out)]) == 0
    (result,) = json.loads((out / "robustness.json").read_text())["results"]
    names = [curve["corruption"] for curve in result["curves"]]
    assert "blur" in names
    assert "thin strokes" not in names  # photographs have no strokes
    out = icons / "photos"
    options = ["--model", str(artifact_path), *data, "--out", str(out), "--no-speed"]
    assert benchmark_photos(options) == 0


def test_numbers_are_not_read_with_a_model_of_photographs(icons):
    if not (icons / "icons.onnx").exists():
        export_onnx(["--model", str(icons / "icons.keras"), "--data", str(icons / "set")])
    classifier = Classifier.load(icons / "icons.onnx")
    assert not classifier.reads_numbers
    with pytest.raises(ArtifactError, match="32x32 color"):
        classifier.read(icons / "set" / "red box" / "0.png")


def test_wheels_are_exported_for_the_firmware_of_meter_readers(wheels, capsys):
    options = ["--model", str(wheels / "wheels.keras"), "--data", str(wheels / "set")]
    engine = importlib.import_module("ai_edge_litert.interpreter")
    for quantize in ([], ["--quantize"]):
        out = wheels / f"dig-class11_0001_s0{'_q' if quantize else ''}.tflite"
        assert export_tflite([*options, "--scale", "255", *quantize, "--out", str(out)]) == 0
        interpreter = engine.Interpreter(
            model_path=str(out),
            experimental_op_resolver_type=engine.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        interpreter.allocate_tensors()
        source, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        assert (source["shape"].tolist(), source["dtype"]) == ([1, 32, 20, 3], np.float32)
        assert (result["shape"].tolist(), result["dtype"]) == ([1, 11], np.float32)
        operators = {operator["op_name"] for operator in interpreter._get_ops_details()}
        assert operators <= FIRMWARE_OPERATORS
        # The firmware writes the pixels as floats and takes the highest score.
        picture = wheels / "set" / "between" / "0000.png"
        levels = np.asarray(Image.open(picture), np.float32)[np.newaxis]
        interpreter.set_tensor(source["index"], levels)
        interpreter.invoke()
        scores = interpreter.get_tensor(result["index"])[0]
        assert scores.argmax() == 10
        assert scores.sum() == pytest.approx(1, abs=0.01)
        classifier = Classifier.load(out)
        np.testing.assert_allclose(classifier.classify(picture).scores, scores, atol=0.02)
        assert classifier.spec.labels[10] == "between"
        assert accuracy(classifier, wheels / "set") >= 0.9
        assert out.stat().st_size < 700_000


def test_wheels_run_as_c_and_in_the_benchmarks(wheels):
    options = ["--model", str(wheels / "wheels.keras"), "--data", str(wheels / "set")]
    assert export_tflite([*options, "--quantize"]) == 0
    model = wheels / "wheels-int8.tflite"
    assert accuracy(Classifier.load(model), wheels / "set") >= 0.9
    assert export_c(["--model", str(model), "--out", str(wheels / "c")]) == 0
    folder = wheels / "alone"
    folder.mkdir()
    (folder / model.name).write_bytes(model.read_bytes())
    options = ["--model", str(folder), "--data", str(wheels / "set"), "--backend", "litert"]
    assert benchmark_parity(options) == 0
