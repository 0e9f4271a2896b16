"""Models that their engine opens and cannot run, or that crash it, hang it or take all memory."""

import dataclasses
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

import runtime
from runtime import ArtifactError, Classifier, trial
from runtime.model import artifact
from runtime.reload import ReloadingClassifier, previous
from runtime.trial import try_model

onnx = pytest.importorskip("onnx")
PRETRAINED = Path(runtime.__file__).parent / "pretrained"
FAILING_BYTE = 2436  # with its top bit flipped, LiteRT opens digits-int8.tflite and cannot run it
CRASHING_BYTES = (16, 18)  # if these are 0, LiteRT crashes when it opens digits.tflite
# An image for which the model of `failing_on_ink` fails: it has more ink than any digit.
BLOCK = np.zeros((28, 28), np.uint8)
BLOCK[4:24, 4:24] = 255
MAX_INK = 250.0  # sum of the pixels, from 0 to 1, beyond which the model fails


def embed(path: Path, model: bytes, **spec) -> Path:
    """Write a model with the spec of the published one; keywords replace fields of the spec."""
    original = artifact.read(PRETRAINED / "digits.onnx").spec
    path.write_bytes(artifact.embed(".onnx", model, dataclasses.replace(original, **spec)))
    return path


def published() -> "onnx.ModelProto":
    model = onnx.load(PRETRAINED / "digits.onnx")
    del model.metadata_props[:]
    return model


def with_extra_term(nodes, initializers) -> bytes:
    """Return the published model; the result `term` of the nodes is added to the scores."""
    model = published()
    graph = model.graph
    scores = graph.output[0].name
    for node in graph.node:
        node.output[:] = ["published" if name == scores else name for name in node.output]
    graph.initializer.extend(initializers)
    graph.node.extend([*nodes, onnx.helper.make_node("Add", ["published", "term"], [scores])])
    return model.SerializeToString()


def tensor(name, values, dtype):
    return onnx.numpy_helper.from_array(np.array(values, dtype), name)


def failing_on_ink(path: Path) -> Path:
    """Write a model that fails for images with much ink, such as `BLOCK`."""
    make, image = onnx.helper.make_node, published().graph.input[0].name
    nodes = [
        make("ReduceMax", ["sum"], ["largest"], keepdims=0),
        make("Div", ["largest", "limit"], ["share"]),
        make("Cast", ["share"], ["index"], to=onnx.TensorProto.INT64),
        make("Gather", ["nothing", "index"], ["term"]),  # there is no element 1
    ]
    nodes.insert(0, make("ReduceSum", [image, "axes"], ["sum"]))
    values = [
        tensor("axes", [1, 2, 3], np.int64),
        tensor("limit", MAX_INK, np.float32),
        tensor("nothing", [0.0], np.float32),
    ]
    return embed(path, with_extra_term(nodes, values))


def memory_bomb(path: Path) -> Path:
    """Write a model that fills 4 GB to compute its scores."""
    make = onnx.helper.make_node
    nodes = [
        make("ConstantOfShape", ["shape"], ["large"]),
        make("ReduceMax", ["large"], ["term"], keepdims=0),
    ]
    return embed(path, with_extra_term(nodes, [tensor("shape", [1 << 30], np.int64)]))


def endless_loop(path: Path) -> Path:
    """Write a model that adds 0 for 2^62 times."""
    helper = onnx.helper
    scalar = [
        helper.make_tensor_value_info(name, kind, [])
        for name, kind in (("i", onnx.TensorProto.INT64), ("on", onnx.TensorProto.BOOL))
    ]
    total = helper.make_tensor_value_info("total", onnx.TensorProto.FLOAT, [])
    result = helper.make_tensor_value_info("next", onnx.TensorProto.FLOAT, [])
    on = helper.make_tensor_value_info("still", onnx.TensorProto.BOOL, [])
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["on"], ["still"]),
            helper.make_node("Add", ["total", "total"], ["next"]),
        ],
        "body",
        [*scalar, total],
        [on, result],
    )
    nodes = [helper.make_node("Loop", ["times", "true", "zero"], ["term"], body=body)]
    values = [
        tensor("times", 1 << 62, np.int64),
        tensor("true", True, np.bool_),
        tensor("zero", 0.0, np.float32),
    ]
    return embed(path, with_extra_term(nodes, values))


def crashing(path: Path) -> Path:
    """Write a .tflite model that ends LiteRT with SIGSEGV."""
    source = PRETRAINED / "digits.tflite"
    opened = artifact.read(source)
    with zipfile.ZipFile(source) as archive:
        size = min(member.header_offset for member in archive.infolist())
    model = bytearray(opened.data[:size])
    for at in CRASHING_BYTES:
        model[at] = 0
    path.write_bytes(artifact.embed(".tflite", bytes(model), opened.spec))
    return path


@pytest.fixture
def failing(tmp_path, plant):
    """Models that open and fail for `BLOCK`, by format."""
    return {
        ".tflite": plant(tmp_path / "failing.tflite", flip=[FAILING_BYTE]),
        ".onnx": failing_on_ink(tmp_path / "failing.onnx"),
    }


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_engine_that_cannot_run_the_model_raises_artifact_error(failing, suffix):
    classifier = Classifier.load(failing[suffix])
    for images in ([BLOCK], [BLOCK] * 200):
        with pytest.raises(ArtifactError, match=r"cannot run .*failing.* convert the model again"):
            classifier.classify_batch(images)


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_command_reports_it_in_one_line(failing, suffix, tmp_path):
    from PIL import Image

    Image.fromarray(BLOCK).save(tmp_path / "block.png")
    for command in ("runtime", "runtime.read"):
        done = subprocess.run(
            [sys.executable, "-m", command, "--model", failing[suffix], tmp_path / "block.png"],
            capture_output=True,
            text=True,
        )
        assert done.returncode in (0, 2)  # `read` finds no digit in this image
        assert "Traceback" not in done.stderr
        assert len(done.stderr.splitlines()) <= 1


def test_previous_model_is_used_if_the_engine_fails_while_running(tmp_path, capfd):
    model = failing_on_ink(tmp_path / "m.onnx")
    shutil.copy(PRETRAINED / "digits-int8.onnx", previous(model))
    reader = ReloadingClassifier(model)
    assert reader.classifier.spec.precision == "float32"
    prediction, used = reader.run(lambda c: (c.classify(BLOCK), c.spec.precision))
    assert used == "int8"
    assert prediction.label in reader.classifier.spec.labels
    assert reader.classifier.spec.precision == "int8"
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].endswith(f"using the previous model {previous(model)}")


def test_error_is_raised_if_there_is_no_previous_model(tmp_path):
    reader = ReloadingClassifier(failing_on_ink(tmp_path / "m.onnx"))
    with pytest.raises(ArtifactError, match="cannot run"):
        reader.run(lambda c: c.classify(BLOCK))


def test_watch_goes_on_with_the_previous_model(popen, tmp_path, until):
    from PIL import Image

    model = failing_on_ink(tmp_path / "m.onnx")
    shutil.copy(PRETRAINED / "digits-int8.onnx", previous(model))
    (tmp_path / "in").mkdir()
    ring = BLOCK.copy()  # a filled block would be taken for blank
    ring[10:18, 10:18] = 0
    Image.fromarray(ring).save(tmp_path / "in" / "a.png")
    results = tmp_path / "results"
    command = [sys.executable, "-m", "runtime.watch", tmp_path / "in", "--existing", "--settle"]
    process = popen(
        [*command, "0", "--state", tmp_path / "state", "--out", results, "--model", model],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: results.exists() and results.read_text(), "no result")
    process.terminate()
    assert "using the previous model" in process.stderr.read()
    assert process.wait() == 0


BAD_MODELS = [
    (crashing, "SIGSEGV"),
    (memory_bomb, "memory|SIG|allocate|arena"),
    (endless_loop, "within"),
]


@pytest.mark.parametrize(("make", "reason"), BAD_MODELS, ids=["crash", "memory", "loop"])
def test_bad_new_model_does_not_end_the_service(tmp_path, monkeypatch, capfd, make, reason):
    suffix = ".tflite" if make is crashing else ".onnx"
    monkeypatch.setattr("runtime.reload.INTERVAL_S", 0.0)
    monkeypatch.setattr(trial, "TIMEOUT_S", 5.0)
    model = tmp_path / f"m{suffix}"
    shutil.copy(PRETRAINED / f"digits-int8{suffix}", model)
    reader = ReloadingClassifier(model)
    os.replace(make(tmp_path / f"new{suffix}"), model)
    start = time.monotonic()
    assert reader.classifier.spec.precision == "int8"
    seconds = time.monotonic() - start
    assert seconds < 30
    message = capfd.readouterr().err
    assert message.endswith("; the current model stays in use\n")
    assert message.count("\n") == 1
    assert re.search(reason, message)
    # A good model is still taken; on a loaded machine its trial takes longer.
    monkeypatch.setattr(trial, "TIMEOUT_S", 60.0)
    shutil.copy(PRETRAINED / f"digits{suffix}", tmp_path / f"good{suffix}")
    os.replace(tmp_path / f"good{suffix}", model)
    assert reader.classifier.spec.precision == "float32"


def test_crashing_model_at_the_start_is_replaced_by_the_previous_one(tmp_path, capfd):
    model = crashing(tmp_path / "m.tflite")
    shutil.copy(PRETRAINED / "digits-int8.tflite", previous(model))
    assert ReloadingClassifier(model).classifier.spec.precision == "int8"
    assert "SIGSEGV" in capfd.readouterr().err


def test_good_models_pass_the_trial():
    for name in ("digits.tflite", "digits-int8.tflite", "digits.onnx", "digits-int8.onnx"):
        for threads in (1, 4):
            try_model(artifact.read(PRETRAINED / name), None, threads, "cpu")


def test_tried_bytes_are_the_ones_that_are_used(tmp_path, monkeypatch):
    """The file is replaced by a crashing one after it was read."""
    model = tmp_path / "m.tflite"
    shutil.copy(PRETRAINED / "digits-int8.tflite", model)
    bad = crashing(tmp_path / "bad.tflite")
    real = artifact.read

    def read(path):
        opened = real(path)
        shutil.copy(bad, model)
        return opened

    monkeypatch.setattr(artifact, "read", read)
    monkeypatch.setattr("runtime.reload.previous", lambda path: model)  # so that there is a trial
    assert ReloadingClassifier(model).classifier.spec.precision == "int8"
