"""Damaged and foreign model files are rejected with one line, before an engine opens them."""

import random
import shutil
import zipfile
from pathlib import Path

import pytest

import runtime
from runtime import ArtifactError, Classifier
from runtime.model import artifact

pytestmark = pytest.mark.portable

_PRETRAINED = Path(runtime.__file__).parent / "pretrained"
PUBLISHED = sorted([*_PRETRAINED.glob("*.onnx"), *_PRETRAINED.glob("*.tflite")])


@pytest.fixture(params=PUBLISHED, ids=lambda path: path.name)
def published(request) -> Path:
    """Each published artifact."""
    return request.param


def error_message(path) -> str:
    """Load a model that must be rejected; return the error."""
    with pytest.raises(ArtifactError) as caught:
        Classifier.load(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_every_flipped_bit_is_detected(published, tmp_path):
    data = bytearray(published.read_bytes())
    damaged = tmp_path / published.name
    positions = random.Random(0).sample(range(len(data)), 1900)
    # All bytes of the header, and of the tail with the end of the spec and the digest.
    positions += [*range(20), *range(len(data) - 80, len(data))]
    for position in positions:
        data[position] ^= 1 << position % 8
        damaged.write_bytes(data)
        error_message(damaged)
        data[position] ^= 1 << position % 8
    damaged.write_bytes(data)
    assert artifact.read(damaged).spec.digest == data[-64:].decode()


def test_truncated_file_is_detected(published, tmp_path):
    data = published.read_bytes()
    damaged = tmp_path / published.name
    for size in (0, 1, 4, 8, 100, len(data) // 2, len(data) - 65, len(data) - 1):
        damaged.write_bytes(data[:size])
        error_message(damaged)


def test_appended_byte_is_detected(published, tmp_path):
    damaged = tmp_path / published.name
    damaged.write_bytes(published.read_bytes() + b"\n")
    error_message(damaged)


def test_error_for_a_model_without_spec_names_the_command_that_adds_one(published, tmp_path):
    bare = tmp_path / published.name
    data = published.read_bytes()
    if published.suffix == ".tflite":
        with zipfile.ZipFile(published) as archive:
            start = min(info.header_offset for info in archive.infolist())
        bare.write_bytes(data[:start])
    else:
        bare.write_bytes(data[: -64 - len(b"\x72\x4a\x0a\x06digest\x12\x40")])
    assert f"digit-edge export-spec {bare}" in error_message(bare)


@pytest.mark.parametrize("name", ["absent.tflite", "folder.onnx", "words.tflite", "model.h5"])
def test_path_without_a_model_is_rejected(tmp_path, name):
    path = tmp_path / name
    if name == "folder.onnx":
        path.mkdir()
    elif name != "absent.tflite":
        path.write_text("not a model at all")
    error_message(path)


def test_model_with_the_suffix_of_another_format_is_rejected(published, tmp_path):
    other = tmp_path / f"model{'.onnx' if published.suffix == '.tflite' else '.tflite'}"
    shutil.copy(published, other)
    assert f"is not a {other.suffix} model" in error_message(other)


def test_zipfile_and_onnxruntime_can_read_the_labels(published):
    if published.suffix == ".tflite":
        with zipfile.ZipFile(published) as archive:
            assert archive.testzip() is None
            labels = archive.read("labels.txt").decode().splitlines()
    else:
        session = pytest.importorskip("onnxruntime").InferenceSession(published.read_bytes())
        labels = session.get_modelmeta().custom_metadata_map["labels.txt"].splitlines()
    assert labels == list(artifact.read(published).spec.labels)
    assert labels[:10] == list("0123456789")
