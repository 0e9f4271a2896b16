"""Where int8's differences come from, and the lint of the graphs."""

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

LAYERS = {
    ".tflite": ["conv1", "conv2", "conv3", "hidden", "scores"],
    ".onnx": ["conv1", "conv2", "conv3", "matmul1", "matmul2"],
}


@pytest.mark.parametrize("suffix", sorted(LAYERS))
def test_differences_are_traced_to_steps_and_layers(models, test_set, tmp_path, suffix) -> None:
    job = ExplainRequest(
        case=BenchmarkCase(f"digits-int8{suffix}", "traced", "cpu", 1),
        plain=str(models / f"digits{suffix}"),
        int8=str(models / f"digits-int8{suffix}"),
        pixels=str(tmp_path / "pixels.npy"),
        scores=str(tmp_path / "scores.npy"),
    )
    pixels = test_set.pixels[:109]  # no whole number of batches
    np.save(tmp_path / "pixels.npy", pixels)
    opened = open_backend(artifact.read(models / f"digits{suffix}"))
    np.save(tmp_path / "scores.npy", opened.scores(pixels))
    explanation = subprocesses.request_explanation(job)
    assert isinstance(explanation, Explanation), explanation
    assert explanation.artifact == f"digits-int8{suffix}"
    assert [step.name for step in explanation.steps] == ["conversion", "quantization", "kernels"]
    conversion, quantization, kernels = explanation.steps
    assert conversion.max_difference < 1e-5 < quantization.max_difference < 0.5
    assert kernels.mean_difference < quantization.mean_difference
    weighted = [layer.name for layer in explanation.layers if layer.weighted]
    assert weighted == LAYERS[suffix]
    assert all(layer.snr_db > 20 for layer in explanation.layers)
    assert [layer.channels for layer in explanation.layers if layer.weighted] == [
        32, 64, 64, 128, 10,
    ]  # fmt: skip
    assert explanation.worst is not None
    assert explanation.worst.name in weighted
    batch = {f.artifact: f.detail for f in explanation.findings if f.check == "batch"}
    assert batch == {f"digits{suffix}": "free", f"digits-int8{suffix}": "free"}
    found = {f.check: f for f in explanation.findings if f.artifact == f"digits-int8{suffix}"}
    # Of a network trained for seconds some channels stay silent.
    assert {f.check for f in explanation.findings if not f.fine} <= {"silent channels"}
    assert found["calibration"].detail.endswith(", 6 of each class")
    tables = parity_tables.explanation_tables([explanation])
    assert [explanation.worst.name in table.note for table in tables] == [False, True, False]


def test_the_worst_layer_is_the_one_that_loses_most() -> None:
    def layer(name: str, operator: str, snr_db: float) -> Layer:
        return Layer(name, operator, snr_db, 0.0, 1.0, 1, 0)

    layers = (
        layer("conv1", "Conv", 40.0),
        layer("pool1", "MaxPool", 20.0),  # without weights: not asked
        layer("conv2", "Conv", 31.0),
        layer("hidden", "Gemm", 30.0),
    )
    assert Explanation(1, (), layers, (), "", "").worst == layers[2]


@pytest.mark.parametrize("suffix", sorted(LAYERS))
def test_a_scale_that_the_spec_states_wrongly_is_found(models, tmp_path, suffix) -> None:
    found = linted(models, tmp_path / f"lying{suffix}", lambda stated: dataclasses.replace(
        stated, input=dataclasses.replace(stated.input, scale=1.0)
    ))  # fmt: skip
    assert not found["input scale"].fine
    assert "the spec says 1" in found["input scale"].detail
    assert found["output scale"].fine


@pytest.mark.parametrize(
    ("counts", "fine", "said"),
    [
        ((6,) * 10, True, "6 of each class"),
        ((5,) * 5 + (7,) * 5, True, "5 to 7 of each class"),
        ((1,) + (9,) * 9, False, "1 to 9 of each class"),
        ((0, 6, 0) + (7,) * 7, False, "none of 0, 2"),
        ((), True, "unknown number of images per class"),
    ],
    ids=["even", "nearly even", "uneven", "without two", "an older file"],
)
def test_calibration_is_judged_by_class(models, tmp_path, counts, fine, said) -> None:
    found = linted(models, tmp_path / "some.onnx", lambda stated: dataclasses.replace(
        stated, calibration_counts=counts
    ))  # fmt: skip
    assert found["calibration"].fine is fine
    assert said in found["calibration"].detail


def test_an_onnx_graph_of_other_names_has_steps_and_no_layers(models, test_set, tmp_path) -> None:
    """As one that another quantiser made: nothing is compared that does not belong together."""
    onnx = pytest.importorskip("onnx")
    sound = artifact.read(models / "digits.onnx")
    model = onnx.load_from_string(sound.data)
    inside = {name for node in model.graph.node for name in node.output} - {"scores"}
    for node in model.graph.node:
        node.input[:] = [f"{name}_" if name in inside else name for name in node.input]
        node.output[:] = [f"{name}_" if name in inside else name for name in node.output]
    del model.metadata_props[:]
    artifact.write(tmp_path / "other.onnx", model.SerializeToString(), sound.spec)
    np.save(tmp_path / "pixels.npy", test_set.pixels[:9])
    np.save(tmp_path / "scores.npy", open_backend(sound).scores(test_set.pixels[:9]))
    files = str(tmp_path / "pixels.npy"), str(tmp_path / "scores.npy")
    job = ExplainRequest(
        BenchmarkCase("", "", "cpu", 1),
        str(tmp_path / "other.onnx"),
        str(models / "digits-int8.onnx"),
        *files,
    )
    traced = explain.explain(job)
    assert traced.layers == ()
    assert traced.steps[0].flips == 0


def test_a_graph_without_layers_is_linted_too(models, tmp_path) -> None:
    import keras

    from export import tflite

    gray = keras.layers.AveragePooling2D((28, 14))
    ends = [keras.layers.Flatten(), keras.layers.Softmax()]
    model = keras.Sequential([keras.layers.Input((28, 28, 1)), gray, *ends])
    known = artifact.read(models / "digits.tflite")
    bare = tflite.convert(SimpleNamespace(model=model, artifact=known))
    spec = dataclasses.replace(known.spec, labels=("left", "right"), golden=None)
    opened = artifact.write(tmp_path / "halves.tflite", bare, spec)
    found = {finding.check: finding for finding in lint(opened)}
    assert found["batch"].fine


def test_a_damaged_artifact_fails_its_trace_and_says_so(faulty, tmp_path) -> None:
    job = ExplainRequest(
        BenchmarkCase("truncated.onnx", "traced", "cpu", 1),
        str(faulty / "digits.onnx"),
        str(faulty / "truncated.onnx"),
        str(tmp_path / "pixels.npy"),
        str(tmp_path / "scores.npy"),
    )
    np.save(tmp_path / "pixels.npy", np.zeros((1, 28, 28, 1), np.uint8))
    np.save(tmp_path / "scores.npy", np.zeros((1, 10), np.float32))
    answer = subprocesses.request_explanation(job)
    assert isinstance(answer, SkippedCase)
    assert answer.status == FAILED
    assert "cut short" in answer.reason


def lint(opened: Artifact) -> list[LintFinding]:
    tracer = {".tflite": explain_tflite, ".onnx": explain_onnx}[opened.format]
    return tracer.lint(tracer.Model(opened))


def linted(models, path, change) -> dict:
    """The findings of the int8 model with a changed spec, by check."""
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
