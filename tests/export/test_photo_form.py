"""Models of photographs made elsewhere: `--form photo` passes them whole images."""

import base64
import io
import json
import shutil

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from benchmarks.harness.test_set import form_of
from export import spec, tflite
from export.web import open_model
from runtime.classifier import Classifier
from runtime.errors import ArtifactError, DatasetError, EdgeError
from runtime.model import artifact
from runtime.model.default_model import PRETRAINED
from runtime.preprocess.form import MNIST_FORM, PHOTO, Form
from runtime.reload import ReloadingClassifier
from runtime.serve import responses
from runtime.serve.problem_details import HttpProblem

COLORS = {"red": (220, 30, 40), "green": (20, 200, 60), "blue": (30, 30, 190)}
LABELS = ",".join(COLORS)
SHARPNESS = 20.0  # factor of the mean of a channel from 0 to 1


def picture(color: str, size: tuple[int, int] = (50, 30)) -> bytes:
    levels = np.full((size[1], size[0], 3), COLORS[color]) + np.arange(-9, 9, 18 / size[0])[:, None]
    buffer = io.BytesIO()
    Image.fromarray(levels.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def colors(tmp_path_factory):
    """Return a folder of pictures of each color, and `colors.onnx`, which names the color."""
    folder = tmp_path_factory.mktemp("colors")
    for color in COLORS:
        (folder / "set" / color).mkdir(parents=True)
        for n in range(12):
            (folder / "set" / color / f"{n}.png").write_bytes(picture(color, (40 + n, 30)))
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["means"]),
        helper.make_node("Flatten", ["means"], ["rows"]),
        helper.make_node("Mul", ["rows", "factor"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "colors",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 24, 16])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor("factor", TensorProto.FLOAT, [], [SHARPNESS])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "colors.onnx")
    return folder


@pytest.fixture(scope="module")
def classifier(colors) -> Classifier:
    out = colors / "with-spec.onnx"
    options = ["--labels", LABELS, "--form", "photo", "--out", str(out)]
    assert spec.main([str(colors / "colors.onnx"), *options]) == 0
    return Classifier.load(out)


def test_whole_image_is_passed_to_a_model_of_photographs(classifier):
    assert classifier.spec.pixel_form == Form(PHOTO, (24, 16, 3))
    assert classifier.spec.interface.layout == "nchw"
    for color in COLORS:
        assert classifier.classify(picture(color)).label == color
    batch = classifier.classify_batch([picture(color) for color in COLORS])
    assert [prediction.label for prediction in batch] == list(COLORS)


def test_scale_is_found_with_images_of_the_classes(colors, tmp_path, capsys):
    out = tmp_path / "colors.onnx"
    options = ["--labels", LABELS, "--form", "photo", "--data", str(colors / "set")]
    assert spec.main([str(colors / "colors.onnx"), *options, "--out", str(out)]) == 0
    assert "right with" in capsys.readouterr().out


def test_color_model_without_the_option_gets_a_warning(colors, tmp_path, capsys):
    out = tmp_path / "ink.onnx"
    assert spec.main([str(colors / "colors.onnx"), "--labels", LABELS, "--out", str(out)]) == 0
    assert "pass --form photo" in capsys.readouterr().err


def test_keras_model_of_photographs_is_exported(colors, tmp_path):
    import keras

    model = keras.Sequential(
        [keras.Input((20, 28, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)]
    )
    model.layers[-1].set_weights([SHARPNESS * np.eye(3), np.zeros(3)])
    model.save(tmp_path / "colors.keras")
    options = ["--labels", LABELS, "--data", str(colors / "set"), "--form", "photo"]
    for quantize in ([], ["--quantize"]):
        out = tmp_path / "colors.tflite"
        arguments = ["--model", str(tmp_path / "colors.keras"), *options, *quantize]
        assert tflite.main([*arguments, "--out", str(out)]) == 0
        exported = Classifier.load(out)
        assert exported.spec.pixel_form == Form(PHOTO, (20, 28, 3))
        assert [exported.classify(picture(color)).label for color in COLORS] == list(COLORS)


def test_form_of_a_model_with_a_spec_cannot_be_passed(tmp_path):
    shutil.copy(PRETRAINED / "digits.keras", tmp_path)
    with pytest.raises(EdgeError, match="--form"):
        tflite.main(["--model", str(tmp_path / "digits.keras"), "--form", "photo"])


def test_api_returns_the_pixels_of_a_photograph_and_reads_no_numbers(classifier):
    for drawing in (False, True):
        body = responses.classify(classifier, picture("green"), drawing)
        view = json.loads(body.content)["view"]
        assert len(base64.b64decode(view["pixels"])) == 24 * 16 * 3
        assert (view["method"], view["polarity"]) == ("photo", "none")
    with pytest.raises(HttpProblem, match="reads no numbers") as caught:
        responses.read(classifier, picture("green"))
    assert caught.value.status == 501


def test_running_service_takes_a_model_of_another_form(classifier, colors, tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    shutil.copy(PRETRAINED / "digits.onnx", path)
    monkeypatch.setattr("runtime.reload.INTERVAL_S", 0.0)
    reader = ReloadingClassifier(path)
    assert reader.classifier.reads_numbers
    reader._next_check_s = 0
    shutil.copy(colors / "with-spec.onnx", tmp_path / "new.onnx")
    (tmp_path / "new.onnx").replace(path)
    assert reader.classifier.classify(picture("blue")).label == "blue"


def test_static_page_refuses_a_model_of_photographs(colors, classifier):
    with pytest.raises(ArtifactError, match="page"):
        open_model(colors / "with-spec.onnx")


def test_benchmarks_take_the_form_from_the_models(colors, classifier, tmp_path):
    assert form_of(colors / "with-spec.onnx") == Form(PHOTO, (24, 16, 3))
    assert form_of(PRETRAINED) == MNIST_FORM
    shutil.copy(colors / "with-spec.onnx", tmp_path)
    shutil.copy(PRETRAINED / "digits.onnx", tmp_path)
    with pytest.raises(DatasetError, match="models of one form"):
        form_of(tmp_path)


def test_copy_of_the_spec_says_the_form(classifier, colors):
    record = json.loads(artifact.read(colors / "with-spec.onnx").spec.to_json())
    assert (record["form"], record["schema_version"]) == ("photo", 3)
