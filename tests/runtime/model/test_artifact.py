"""The spec in a model file: written, read back, and every way in which it can be wrong."""

import base64
import dataclasses
import io
import json
import math
import os
import stat
import zipfile

import numpy as np
import pytest

from runtime import ArtifactError, EdgeError
from runtime.model import artifact
from runtime.model.spec import (
    Dataset,
    GoldenOutputs,
    Metrics,
    ModelSpec,
    Quantization,
    QuantizationParams,
)
from runtime.system import atomic_write

MODELS = {".tflite": b"\x1c\0\0\0TFL3" + bytes(200), ".onnx": b"\x08\x08" + b"\x12\x03abc" * 9}


def keras_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("config.json", "{}")
    return buffer.getvalue()


MODELS[".keras"] = keras_zip()
FORMATS = pytest.mark.parametrize("suffix", sorted(MODELS))


@pytest.fixture
def spec() -> ModelSpec:
    golden = GoldenOutputs(
        np.arange(2 * 784, dtype=np.uint32).astype(np.uint8).reshape(2, 28, 28, 1),
        np.array([[0.1, 0.2, 0.7], [1 / 3, 1 / 3, 1 / 3]], np.float32),
    )
    return ModelSpec(
        name="letters",
        labels=("a", "b", "ß ü"),
        input_shape=(28, 28, 1),
        precision="int8",
        temperature=1.25,
        confidence_threshold=0.4,
        source_sha256="f" * 64,
        dataset=Dataset("letters", "e" * 64),
        metrics=Metrics(0.99, 100, 0.98, 50),
        golden=golden,
        quantization=Quantization(
            QuantizationParams(1 / 255, -128), QuantizationParams(1 / 256, -128), Dataset("c", "d")
        ),
        provenance=(("seed", "0"), ("recipe", "none")),
    )


@FORMATS
def test_what_is_written_is_read_back(spec, tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    written = artifact.write(path, MODELS[suffix], spec)
    opened = artifact.read(path)
    assert opened.spec.to_json() == spec.to_json()
    assert opened.spec.quantization == spec.quantization
    assert opened.spec.provenance == spec.provenance
    np.testing.assert_array_equal(opened.spec.golden.pixels, spec.golden.pixels)
    np.testing.assert_array_equal(opened.spec.golden.scores, spec.golden.scores)
    assert opened.spec.digest == written.spec.digest == path.read_bytes()[-64:].decode()
    assert os.listdir(tmp_path) == [path.name]


@FORMATS
def test_the_model_itself_is_untouched(spec, suffix):
    data = artifact.embed(suffix, MODELS[suffix], spec)
    if suffix == ".keras":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            assert archive.read("config.json") == b"{}"
    else:
        assert data.startswith(MODELS[suffix])


@FORMATS
def test_the_same_model_and_spec_give_the_same_bytes(spec, suffix):
    assert artifact.embed(suffix, MODELS[suffix], spec) == artifact.embed(
        suffix, MODELS[suffix], spec
    )


def test_the_digest_is_that_of_the_file_with_zeros_in_its_place(spec):
    import hashlib

    data = artifact.embed(".tflite", MODELS[".tflite"], spec)
    assert hashlib.sha256(data[:-64] + b"0" * 64).hexdigest().encode() == data[-64:]


def rewrite(path, suffix, text: str):
    """A file with a right digest around any text as its spec."""

    class Fake:
        labels = ("a", "b")

        def to_json(self):
            return text

    path.write_bytes(artifact.embed(suffix, MODELS[suffix], Fake()))


@FORMATS
@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{}", "not JSON", '{"schema_version": "x"}', "[" * 100_000],
    ids=["empty", "null", "list", "no fields", "no JSON", "text version", "deep"],
)
def test_a_spec_that_is_none_is_refused(tmp_path, suffix, text):
    path = tmp_path / f"model{suffix}"
    rewrite(path, suffix, text)
    with pytest.raises(ArtifactError, match="its spec cannot be read") as caught:
        artifact.read(path)
    assert str(path) in str(caught.value)


def calibrated_on(name: object, sha256: object) -> dict[str, object]:
    scales = {"scale": 1.0, "zero_point": 0}
    return {"input": scales, "output": None, "calibration": {"name": name, "sha256": sha256}}


def quantized(**changes: object) -> dict[str, object]:
    whole = calibrated_on("", "")
    return {**whole, "input": {"scale": 1.0, "zero_point": 0, **changes}}


def reached(**changes: object) -> dict[str, object]:
    whole = {"train_accuracy": 1, "n_train": 9, "test_accuracy": 0.5, "n_test": 2}
    return {**whole, **changes}


def golden_score(score: float) -> dict[str, object]:
    pixels = base64.b64encode(bytes(784)).decode()
    return {"pixels": pixels, "scores": [[0.0, 0.0, score]]}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("schema_version", 99, "upgrade digit-edge"),
        ("labels", ["a"], "fewer than two labels"),
        ("labels", [1, 2, 3], "its label 1 is not a text"),
        ("labels", "abc", "its spec cannot be read .*labels"),
        ("labels", ["a", "a", "b"], "not distinct"),
        ("labels", ["a", "b\nc", "d"], "printable"),
        ("precision", "float16", "neither float32 nor int8"),
        ("golden", {"pixels": "AAAA", "scores": []}, "cannot be read"),
        ("golden", {"pixels": "", "scores": [[1, 0, 0]]}, r"golden inputs \(0\) and golden scores \(1\) differs"),
        ("metrics", {"accuracy": 1}, "cannot be read"),
        ("input_shape", None, "cannot be read"),
        ("input_shape", [float("inf")], "cannot be read"),
        ("name", 7, "its name 7 is not a text"),
        ("source_sha256", None, "its source_sha256 None is not a text"),
        ("dataset", {"name": ["digits"], "sha256": ""}, "its dataset's name .* is not a text"),
        ("dataset", {"name": "digits", "sha256": 1.5}, "its dataset's sha256 1.5 is not a text"),
        ("quantization", calibrated_on(True, ""), "its calibration's name True is not a text"),
        ("quantization", calibrated_on("", 0), "its calibration's sha256 0 is not a text"),
        ("name", "a\ud800", r"its name 'a\\ud800' is not UTF-8"),
        ("labels", ["a", "b", "\udfff"], r"its label '\\udfff' is not UTF-8"),
        ("provenance", {"seed": "\ud800"}, "its provenance .* is not UTF-8"),
        ("temperature", math.nan, "its temperature nan is not a finite number"),
        ("accept_confidence", math.inf, "its accept_confidence inf is not a finite number"),
        ("metrics", reached(n_test=None), "its n_test None is not a finite number"),
        ("metrics", reached(test_accuracy=math.nan), "its test_accuracy nan is not a finite number"),
        ("metrics", reached(n_train="many"), "its n_train 'many' is not a finite number"),
        ("quantization", quantized(scale=-math.inf), "its input's scale -inf is not a finite number"),
        ("quantization", quantized(zero_point=[]), r"its input's zero_point \[\] is not a finite"),
        ("golden", golden_score(math.nan), "its golden scores are not all finite"),
        ("golden", golden_score(math.inf), "its golden scores are not all finite"),
        ("golden", golden_score(1e300), "its golden scores are not all finite"),
    ],
)
def test_a_spec_that_contradicts_itself_is_refused(spec, tmp_path, field, value, message):
    path = tmp_path / "model.onnx"
    rewrite(path, ".onnx", json.dumps({**json.loads(spec.to_json()), field: value}))
    with pytest.raises(ArtifactError, match=message):
        artifact.read(path)


def test_calibration_counts_are_kept_and_files_made_before_them_read(spec, tmp_path):
    path = tmp_path / "model.onnx"
    counted = dataclasses.replace(spec.quantization, calibration_counts=(3, 0, 4))
    artifact.write(path, MODELS[".onnx"], dataclasses.replace(spec, quantization=counted))
    assert artifact.read(path).spec.quantization == counted
    floating = dataclasses.replace(spec.quantization, output=None)
    artifact.write(path, MODELS[".onnx"], dataclasses.replace(spec, quantization=floating))
    assert artifact.read(path).spec.quantization == floating
    before = json.loads(spec.to_json())
    del before["quantization"]["calibration_counts"]
    rewrite(path, ".onnx", json.dumps(before))
    assert artifact.read(path).spec.quantization == spec.quantization
    before["quantization"]["calibration_counts"] = [3, 4]
    rewrite(path, ".onnx", json.dumps(before))
    with pytest.raises(ArtifactError, match="one calibration count for each label"):
        artifact.read(path)


@pytest.mark.parametrize(
    "wrong",
    [{"labels": ("only one",)}, {"name": 7}, {"name": "\udcff"}, {"temperature": math.nan}],
    ids=["labels", "name", "surrogate", "temperature"],
)
def test_a_bad_spec_is_not_written(spec, tmp_path, wrong):
    bad = dataclasses.replace(spec, **wrong)
    with pytest.raises(ArtifactError):
        artifact.write(tmp_path / "model.onnx", MODELS[".onnx"], bad)
    assert os.listdir(tmp_path) == []


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "kept.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_write.atomic_file(path) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["kept.txt"]


def test_where_nothing_can_be_written_the_error_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgeError, match="cannot write .*file/model.txt"):
        atomic_write.write(tmp_path / "file" / "model.txt", "text")
    with pytest.raises(EdgeError, match="cannot write"):
        atomic_write.write("/proc/model.txt", "text")


def test_a_new_file_has_the_permissions_of_any_other(tmp_path):
    atomic_write.write(tmp_path / "written.txt", "text")
    (tmp_path / "plain.txt").write_text("text")
    modes = {stat.S_IMODE((tmp_path / n).stat().st_mode) for n in ("written.txt", "plain.txt")}
    assert len(modes) == 1
