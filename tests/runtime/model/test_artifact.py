"""Artifacts: a spec is stored and read back; every invalid spec is rejected.

The last tests check `runtime.system.atomic_write` with files.
"""

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

pytestmark = pytest.mark.portable

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
def test_written_spec_is_read_back(spec, tmp_path, suffix):
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
def test_bytes_of_the_model_are_unchanged(spec, suffix):
    data = artifact.embed(suffix, MODELS[suffix], spec)
    if suffix == ".keras":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            assert archive.read("config.json") == b"{}"
    else:
        assert data.startswith(MODELS[suffix])


@FORMATS
def test_same_model_and_spec_result_in_the_same_bytes(spec, suffix):
    assert artifact.embed(suffix, MODELS[suffix], spec) == artifact.embed(
        suffix, MODELS[suffix], spec
    )


def test_digest_is_the_sha256_of_the_file_with_zeros_in_its_place(spec):
    import hashlib

    data = artifact.embed(".tflite", MODELS[".tflite"], spec)
    assert hashlib.sha256(data[:-64] + b"0" * 64).hexdigest().encode() == data[-64:]


def rewrite(path, suffix, text: str):
    """Write a model file with any text as its spec and a correct digest."""

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
def test_text_that_is_not_a_spec_is_rejected(tmp_path, suffix, text):
    path = tmp_path / f"model{suffix}"
    rewrite(path, suffix, text)
    with pytest.raises(ArtifactError, match="the model's spec cannot be read") as caught:
        artifact.read(path)
    assert str(path) in str(caught.value)


def quantization_calibrated_on(name: object, sha256: object) -> dict[str, object]:
    params = {"scale": 1.0, "zero_point": 0}
    return {"input": params, "output": None, "calibration": {"name": name, "sha256": sha256}}


def quantization_with_input(**changes: object) -> dict[str, object]:
    valid = quantization_calibrated_on("", "")
    return {**valid, "input": {"scale": 1.0, "zero_point": 0, **changes}}


def metrics_with(**changes: object) -> dict[str, object]:
    valid = {"train_accuracy": 1, "n_train": 9, "test_accuracy": 0.5, "n_test": 2}
    return {**valid, **changes}


def golden_with_score(score: float) -> dict[str, object]:
    pixels = base64.b64encode(bytes(784)).decode()
    return {"pixels": pixels, "scores": [[0.0, 0.0, score]]}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("schema_version", 99, "upgrade digit-edge"),
        ("labels", ["a"], "fewer than two labels"),
        ("labels", [1, 2, 3], "the model's label 1 is not a text"),
        ("labels", "abc", "the model's spec cannot be read .*labels"),
        ("labels", ["a", "a", "b"], "not distinct"),
        ("labels", ["a", "b\nc", "d"], "printable"),
        ("precision", "float16", "neither float32 nor int8"),
        ("golden", {"pixels": "AAAA", "scores": []}, "cannot be read"),
        (
            "golden",
            {"pixels": "", "scores": [[1, 0, 0]]},
            r"golden inputs \(0\) and golden scores \(1\) differs",
        ),
        ("metrics", {"accuracy": 1}, "cannot be read"),
        ("input_shape", None, "cannot be read"),
        ("input_shape", [float("inf")], "cannot be read"),
        ("name", 7, "the model's name 7 is not a text"),
        ("source_sha256", None, "the model's source_sha256 None is not a text"),
        (
            "dataset",
            {"name": ["digits"], "sha256": ""},
            "the model's dataset's name .* is not a text",
        ),
        (
            "dataset",
            {"name": "digits", "sha256": 1.5},
            "the model's dataset's sha256 1.5 is not a text",
        ),
        (
            "quantization",
            quantization_calibrated_on(True, ""),
            "the model's calibration's name True is not a text",
        ),
        (
            "quantization",
            quantization_calibrated_on("", 0),
            "the model's calibration's sha256 0 is not a text",
        ),
        ("name", "a\ud800", r"the model's name 'a\\ud800' is not UTF-8"),
        ("labels", ["a", "b", "\udfff"], r"the model's label '\\udfff' is not UTF-8"),
        ("provenance", {"seed": "\ud800"}, "the model's provenance .* is not UTF-8"),
        ("temperature", math.nan, "the model's temperature nan is not a finite number"),
        ("accept_confidence", math.inf, "the model's accept_confidence inf is not a finite number"),
        ("metrics", metrics_with(n_test=None), "the model's n_test None is not a finite number"),
        (
            "metrics",
            metrics_with(test_accuracy=math.nan),
            "the model's test_accuracy nan is not a finite number",
        ),
        (
            "metrics",
            metrics_with(n_train="many"),
            "the model's n_train 'many' is not a finite number",
        ),
        (
            "quantization",
            quantization_with_input(scale=-math.inf),
            "the model's input's scale -inf is not a finite number",
        ),
        (
            "quantization",
            quantization_with_input(zero_point=[]),
            r"the model's input's zero_point \[\] is not a finite",
        ),
        ("golden", golden_with_score(math.nan), "a golden score of the model is not finite"),
        ("golden", golden_with_score(math.inf), "a golden score of the model is not finite"),
        ("golden", golden_with_score(1e300), "a golden score of the model is not finite"),
    ],
)
def test_spec_with_an_invalid_field_is_rejected(spec, tmp_path, field, value, message):
    path = tmp_path / "model.onnx"
    rewrite(path, ".onnx", json.dumps({**json.loads(spec.to_json()), field: value}))
    with pytest.raises(ArtifactError, match=message):
        artifact.read(path)


@pytest.mark.parametrize(
    "changes", [{"calibration_counts": (3, 0, 4)}, {"output": None}], ids=["counts", "float output"]
)
def test_optional_fields_of_the_quantization_are_read_back(spec, tmp_path, changes):
    path = tmp_path / "model.onnx"
    quantization = dataclasses.replace(spec.quantization, **changes)
    artifact.write(path, MODELS[".onnx"], dataclasses.replace(spec, quantization=quantization))
    assert artifact.read(path).spec.quantization == quantization


def test_older_spec_without_calibration_counts_is_read(spec, tmp_path):
    path = tmp_path / "model.onnx"
    record = json.loads(spec.to_json())
    del record["quantization"]["calibration_counts"]
    rewrite(path, ".onnx", json.dumps(record))
    assert artifact.read(path).spec.quantization == spec.quantization


def test_wrong_number_of_calibration_counts_is_rejected(spec, tmp_path):
    path = tmp_path / "model.onnx"
    record = json.loads(spec.to_json())
    record["quantization"]["calibration_counts"] = [3, 4]
    rewrite(path, ".onnx", json.dumps(record))
    with pytest.raises(ArtifactError, match="one calibration count for each label"):
        artifact.read(path)


@pytest.mark.parametrize(
    "changes",
    [{"labels": ("only one",)}, {"name": 7}, {"name": "\udcff"}, {"temperature": math.nan}],
    ids=["labels", "name", "surrogate", "temperature"],
)
def test_invalid_spec_is_not_written(spec, tmp_path, changes):
    invalid = dataclasses.replace(spec, **changes)
    with pytest.raises(ArtifactError):
        artifact.write(tmp_path / "model.onnx", MODELS[".onnx"], invalid)
    assert os.listdir(tmp_path) == []


def write_half_and_fail(path) -> None:
    with atomic_write.atomic_file(path) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError


def test_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "kept.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError):
        write_half_and_fail(path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["kept.txt"]


def test_file_in_the_place_of_a_folder_is_an_edge_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgeError, match=r"cannot write .*file/model\.txt"):
        atomic_write.write(tmp_path / "file" / "model.txt", "text")


def test_read_only_folder_is_an_edge_error():
    with pytest.raises(EdgeError, match="cannot write"):
        atomic_write.write("/proc/model.txt", "text")


def test_written_file_has_the_default_permissions(tmp_path):
    atomic_write.write(tmp_path / "written.txt", "text")
    (tmp_path / "plain.txt").write_text("text")
    modes = {stat.S_IMODE((tmp_path / n).stat().st_mode) for n in ("written.txt", "plain.txt")}
    assert len(modes) == 1
