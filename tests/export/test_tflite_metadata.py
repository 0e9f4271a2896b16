"""The metadata of exported .tflite files, read by mediapipe's reader in `.venv-metadata`."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from export import pipeline, tflite
from runtime import Classifier
from runtime.model import artifact

PYTHON = Path(__file__).parents[2] / ".venv-metadata" / "bin" / "python"
# mediapipe's own packages import OpenCV and more. The reader needs none of it, so its package and
# those around it are replaced by empty ones. The module `cc` is missing in the wheel; only
# mediapipe's writer uses it.
READER = """
import importlib.util, json, sys, types
from pathlib import Path

root = Path(importlib.util.find_spec("mediapipe").origin).parent
for name in ("", ".tasks", ".tasks.python", ".tasks.python.core", ".tasks.python.metadata"):
    package = types.ModuleType("mediapipe" + name)
    package.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
    sys.modules[package.__name__] = package
for name in ("", ".metadata", ".metadata.python"):
    sys.modules["mediapipe.tasks.cc" + name] = types.ModuleType("cc")
sys.modules["mediapipe.tasks.cc.metadata.python"]._pywrap_metadata_version = None
from mediapipe.tasks.python.metadata.metadata import MetadataDisplayer

displayer = MetadataDisplayer.with_model_file(sys.argv[1])
names = displayer.get_packed_associated_file_list()
print(json.dumps({
    "metadata": json.loads(displayer.get_metadata_json()),
    "files": {n: displayer.get_associated_file_buffer(n).decode() for n in names},
}))
"""


@pytest.fixture(scope="module", params=["float32", "int8"])
def exported(request, source, samples, tmp_path_factory):
    """An exported artifact."""
    out = tmp_path_factory.mktemp("exported") / "digits.tflite"
    calibration = samples if request.param == "int8" else None
    model, spec, _ = pipeline.convert(source, tflite.TARGET, out, calibration)
    return artifact.write(out, model, spec)


def read_with_mediapipe(path):
    if not PYTHON.exists():
        pytest.skip("needs mediapipe: make .venv-metadata/installed")
    done = subprocess.run([PYTHON, "-c", READER, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_mediapipe_reads_normalization_labels_and_files(exported):
    read = read_with_mediapipe(exported.path)
    metadata, spec = read["metadata"], exported.spec
    (graph,) = metadata["subgraph_metadata"]
    (image,), (scores,) = graph["input_tensor_metadata"], graph["output_tensor_metadata"]
    assert metadata["name"] == spec.name
    assert metadata["min_parser_version"] == "1.0.0"
    assert metadata["version"] == spec.source_sha256
    assert image["content"] == {
        "content_properties_type": "ImageProperties",
        "content_properties": {
            "color_space": "GRAYSCALE",
            "default_size": {"width": 28, "height": 28},
        },
    }
    assert image["process_units"] == [
        {"options_type": "NormalizationOptions", "options": {"mean": [0.0], "std": [255.0]}}
    ]
    assert image["stats"] == scores["stats"] == {"max": [1.0], "min": [0.0]}
    assert scores["content"]["content_properties_type"] == "FeatureProperties"
    (labels,) = scores["associated_files"]
    assert labels["type"] == "TENSOR_AXIS_LABELS"
    assert read["files"][labels["name"]].split() == list(spec.labels)
    (described,) = metadata["associated_files"]
    assert json.loads(read["files"][described["name"]])["name"] == spec.name


def test_normalization_gives_the_input_of_the_model(exported, data):
    """A program that follows the metadata gets the scores of the runtime."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=exported.data)
    source, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    pixels = data.test.pixels[:1]
    values = (pixels.astype(np.float32) - 0.0) / 255.0
    scale, zero_point = source["quantization"]
    if scale:
        values = np.round(values / scale + zero_point).astype(source["dtype"])
    interpreter.allocate_tensors()
    interpreter.set_tensor(source["index"], values)
    interpreter.invoke()
    scores = interpreter.get_tensor(result["index"])
    np.testing.assert_allclose(scores, Classifier.load(exported.path).scores(pixels), atol=1e-6)


def test_metadata_change_neither_the_scores_nor_the_determinism(exported, source, samples, data):
    calibration = samples if exported.spec.quantization else None
    bare = tflite.convert(source, calibration)
    assert tflite.add_metadata(bare, exported.spec) == tflite.add_metadata(bare, exported.spec)
    backend = pipeline.open_backend(artifact.Artifact(exported.path, bare, exported.spec))
    pixels = data.test.pixels[:200]
    np.testing.assert_array_equal(
        backend.scores(pixels), Classifier.load(exported.path).scores(pixels)
    )
    assert len(exported.data) - len(bare) < 4000
