"""The error sources of int8 artifacts, their layers, and the lint of their graphs."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.harness import subprocesses
from benchmarks.harness.cases import FAILED, BenchmarkCase, SkippedCase
from benchmarks.harness.messages import ExplainRequest, Explanation, Layer, LintFinding
from benchmarks.quantization import explain
from benchmarks.quantization import onnx as explain_onnx
from benchmarks.quantization import tflite as explain_tflite
from benchmarks.report import parity_tables
from runtime.backends import open_backend
from runtime.model import artifact
from runtime.model.artifact import Artifact

# The layers with weights, by format.
LAYERS = {
    ".tflite": ["conv1", "conv2", "conv3", "hidden", "scores"],
    ".onnx": ["conv1", "conv2", "conv3", "matmul1", "matmul2"],
}
CHANNELS = [32, 64, 64, 128, 10]  # of these layers, in both formats
PIXELS = 109  # images explained; not a multiple of the batch size


@pytest.fixture(scope="module", params=sorted(LAYERS))
def suffix(request) -> str:
    """Return the file suffix of a format."""
    return request.param


@pytest.fixture(scope="module")
def explanation(models, test_set, tmp_path_factory, suffix) -> Explanation:
    """Return the explanation of the int8 artifact of a format, made in a process of its own."""
    folder = tmp_path_factory.mktemp("explanation")
    request = ExplainRequest(
        case=BenchmarkCase(f"digits-int8{suffix}", "traced", "cpu", 1),
        plain=str(models / f"digits{suffix}"),
        int8=str(models / f"digits-int8{suffix}"),
        pixels=str(folder / "pixels.npy"),
        scores=str(folder / "scores.npy"),
    )
    pixels = test_set.pixels[:PIXELS]
    np.save(folder / "pixels.npy", pixels)
    opened = open_backend(artifact.read(models / f"digits{suffix}"))
    np.save(folder / "scores.npy", opened.scores(pixels))
    explanation = subprocesses.request_explanation(request)
    assert isinstance(explanation, Explanation), explanation
    return explanation


def test_explanation_names_the_int8_artifact(explanation, suffix) -> None:
    assert explanation.artifact == f"digits-int8{suffix}"


def test_quantization_is_the_largest_error_source(explanation) -> None:
    assert [step.name for step in explanation.steps] == ["conversion", "quantization", "kernels"]
    conversion, quantization, kernels = explanation.steps
    assert conversion.max_difference < 1e-5 < quantization.max_difference < 0.5
    assert kernels.mean_difference < quantization.mean_difference


def test_explanation_lists_the_layers_with_weights(explanation, suffix) -> None:
    weighted = [layer for layer in explanation.layers if layer.weighted]
    assert [layer.name for layer in weighted] == LAYERS[suffix]
    assert [layer.channels for layer in weighted] == CHANNELS


def test_signal_to_noise_ratio_of_every_layer_is_above_20_db(explanation) -> None:
    assert all(layer.snr_db > 20 for layer in explanation.layers)


def test_worst_layer_is_named_below_the_table_of_layers(explanation, suffix) -> None:
    assert explanation.worst is not None
    assert explanation.worst.name in LAYERS[suffix]
    tables = parity_tables.explanation_tables([explanation])
    assert [explanation.worst.name in table.note for table in tables] == [False, True, False]


def test_lint_finds_a_free_batch_axis(explanation, suffix) -> None:
    batch = {f.artifact: f.detail for f in explanation.findings if f.check == "batch"}
    assert batch == {f"digits{suffix}": "free", f"digits-int8{suffix}": "free"}


def test_lint_of_sound_artifacts_remarks_at_most_silent_channels(explanation) -> None:
    """A network that was trained for seconds may have silent channels."""
    assert {f.check for f in explanation.findings if not f.fine} <= {"silent channels"}


def test_lint_counts_calibration_images_by_class(explanation, suffix) -> None:
    findings = {f.check: f for f in explanation.findings if f.artifact == f"digits-int8{suffix}"}
    assert findings["calibration"].detail.endswith(", 6 of each class")


def test_worst_layer_loses_most_against_the_weighted_layer_before_it() -> None:
    def layer(name: str, operator: str, snr_db: float) -> Layer:
        return Layer(name, operator, snr_db, 0.0, 1.0, 1, 0)

    layers = (
        layer("conv1", "Conv", 40.0),
        layer("pool1", "MaxPool", 20.0),  # has no weights, so it does not count
        layer("conv2", "Conv", 31.0),
        layer("hidden", "Gemm", 30.0),
    )
    assert Explanation(1, (), layers, (), "", "").worst == layers[2]


def test_lint_finds_a_wrong_scale_in_the_spec(models, tmp_path, suffix) -> None:
    findings = lint_int8(
        models,
        tmp_path / f"wrong-scale{suffix}",
        lambda quantization: dataclasses.replace(
            quantization, input=dataclasses.replace(quantization.input, scale=1.0)
        ),
    )
    assert not findings["input scale"].fine
    assert "the spec says 1" in findings["input scale"].detail
    assert findings["output scale"].fine


@pytest.mark.parametrize(
    ("counts", "fine", "detail"),
    [
        ((6,) * 10, True, "6 of each class"),
        ((5,) * 5 + (7,) * 5, True, "5 to 7 of each class"),
        ((1,) + (9,) * 9, False, "1 to 9 of each class"),
        ((0, 6, 0) + (7,) * 7, False, "none of 0, 2"),
        ((), True, "unknown number of images per class"),
    ],
    ids=["even", "nearly even", "uneven", "two classes missing", "older file"],
)
def test_lint_checks_that_calibration_covers_the_classes_evenly(
    models, tmp_path, counts, fine, detail
) -> None:
    findings = lint_int8(
        models,
        tmp_path / "some.onnx",
        lambda quantization: dataclasses.replace(quantization, calibration_counts=counts),
    )
    assert findings["calibration"].fine is fine
    assert detail in findings["calibration"].detail


def test_onnx_graphs_with_different_tensor_names_have_no_layers(models, test_set, tmp_path) -> None:
    """Another quantizer may rename tensors; only those of the same name are compared."""
    onnx = pytest.importorskip("onnx")
    sound = artifact.read(models / "digits.onnx")
    model = onnx.load_from_string(sound.data)
    inner = {name for node in model.graph.node for name in node.output} - {"scores"}
    for node in model.graph.node:
        node.input[:] = [f"{name}_" if name in inner else name for name in node.input]
        node.output[:] = [f"{name}_" if name in inner else name for name in node.output]
    del model.metadata_props[:]
    artifact.write(tmp_path / "other.onnx", model.SerializeToString(), sound.spec)
    np.save(tmp_path / "pixels.npy", test_set.pixels[:9])
    np.save(tmp_path / "scores.npy", open_backend(sound).scores(test_set.pixels[:9]))
    request = ExplainRequest(
        BenchmarkCase("", "", "cpu", 1),
        str(tmp_path / "other.onnx"),
        str(models / "digits-int8.onnx"),
        str(tmp_path / "pixels.npy"),
        str(tmp_path / "scores.npy"),
    )
    explanation = explain.explain(request)
    assert explanation.layers == ()
    assert explanation.steps[0].flips == 0


def test_graph_without_weights_can_be_linted(models, tmp_path) -> None:
    import keras

    from export import tflite

    model = keras.Sequential(
        [
            keras.layers.Input((28, 28, 1)),
            keras.layers.AveragePooling2D((28, 14)),
            keras.layers.Flatten(),
            keras.layers.Softmax(),
        ]
    )
    digits = artifact.read(models / "digits.tflite")
    graph = tflite.convert(SimpleNamespace(model=model, artifact=digits))
    spec = dataclasses.replace(digits.spec, labels=("left", "right"), golden=None)
    opened = artifact.write(tmp_path / "halves.tflite", graph, spec)
    findings = {finding.check: finding for finding in lint(opened)}
    assert findings["batch"].fine


def test_explanation_of_a_damaged_artifact_fails_with_the_reason(faulty, tmp_path) -> None:
    request = ExplainRequest(
        BenchmarkCase("truncated.onnx", "traced", "cpu", 1),
        str(faulty / "digits.onnx"),
        str(faulty / "truncated.onnx"),
        str(tmp_path / "pixels.npy"),
        str(tmp_path / "scores.npy"),
    )
    np.save(tmp_path / "pixels.npy", np.zeros((1, 28, 28, 1), np.uint8))
    np.save(tmp_path / "scores.npy", np.zeros((1, 10), np.float32))
    response = subprocesses.request_explanation(request)
    assert isinstance(response, SkippedCase)
    assert response.status == FAILED
    assert "has no model spec" in response.reason


def lint(opened: Artifact) -> list[LintFinding]:
    """Lint an artifact with the module of its format."""
    tracer = {".tflite": explain_tflite, ".onnx": explain_onnx}[opened.format]
    return tracer.lint(tracer.Model(opened))


def lint_int8(models, path, change) -> dict[str, LintFinding]:
    """Lint the int8 artifact of the suffix of `path`, with its quantization in the spec changed.

    Returns:
        The findings by check.
    """
    sound = artifact.read(models / f"digits-int8{path.suffix}")
    graph = sound.data[: sound.data.index(b"PK\x03\x04")] if path.suffix == ".tflite" else None
    if graph is None:
        import onnx

        model = onnx.load_from_string(sound.data)
        del model.metadata_props[:]
        graph = model.SerializeToString()
    spec = dataclasses.replace(sound.spec, quantization=change(sound.spec.quantization))
    artifact.write(path, graph, spec)
    return {finding.check: finding for finding in lint(artifact.read(path))}
