"""Damaged and foreign model files are refused with one line, before an engine sees them."""

import random
import shutil
import zipfile
from pathlib import Path

import pytest

import runtime
from runtime import ArtifactError, Classifier
from runtime.model import artifact

_PRETRAINED = Path(runtime.__file__).parent / "pretrained"
PUBLISHED = sorted([*_PRETRAINED.glob("*.onnx"), *_PRETRAINED.glob("*.tflite")])


@pytest.fixture(params=PUBLISHED, ids=lambda path: path.name)
def published(request) -> Path:
    """Each published artifact."""
    return request.param


def refusal(path) -> str:
    with pytest.raises(ArtifactError) as caught:
        Classifier.load(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_a_flipped_byte_anywhere_is_found(published, tmp_path):
    data = bytearray(published.read_bytes())
    damaged = tmp_path / published.name
    places = random.Random(0).sample(range(len(data)), 1900)
    # The head, and the tail with the spec's end and the digest, byte for byte.
    places += [*range(20), *range(len(data) - 80, len(data))]
    for place in places:
        data[place] ^= 1 << place % 8
        damaged.write_bytes(data)
        refusal(damaged)
        data[place] ^= 1 << place % 8
    damaged.write_bytes(data)
    assert artifact.read(damaged).spec.digest == data[-64:].decode()


def test_a_truncated_file_is_found(published, tmp_path):
    data = published.read_bytes()
    damaged = tmp_path / published.name
    for size in (0, 1, 4, 8, 100, len(data) // 2, len(data) - 65, len(data) - 1):
        damaged.write_bytes(data[:size])
        refusal(damaged)


def test_something_appended_is_found(published, tmp_path):
    damaged = tmp_path / published.name
    damaged.write_bytes(published.read_bytes() + b"\n")
    refusal(damaged)


def test_a_model_without_a_spec_is_told_how_to_get_one(published, tmp_path):
    bare = tmp_path / published.name
    data = published.read_bytes()
    if published.suffix == ".tflite":
        with zipfile.ZipFile(published) as archive:
            start = min(info.header_offset for info in archive.infolist())
        bare.write_bytes(data[:start])
    else:
        bare.write_bytes(data[: -64 - len(b"\x72\x4a\x0a\x06digest\x12\x40")])
    assert f"python -m export.spec {bare}" in refusal(bare)


@pytest.mark.parametrize("name", ["absent.tflite", "folder.onnx", "words.tflite", "model.h5"])
def test_what_is_no_model_is_refused(tmp_path, name):
    path = tmp_path / name
    if name == "folder.onnx":
        path.mkdir()
    elif name != "absent.tflite":
        path.write_text("not a model at all")
    refusal(path)


def test_one_format_under_the_name_of_another_is_refused(published, tmp_path):
    other = tmp_path / f"model{'.onnx' if published.suffix == '.tflite' else '.tflite'}"
    shutil.copy(published, other)
    assert f"is not a {other.suffix} model" in refusal(other)


def test_other_programs_find_the_labels(published):
    if published.suffix == ".tflite":
        with zipfile.ZipFile(published) as archive:
            assert archive.testzip() is None
            labels = archive.read("labels.txt").decode().splitlines()
    else:
        session = pytest.importorskip("onnxruntime").InferenceSession(published.read_bytes())
        labels = session.get_modelmeta().custom_metadata_map["labels.txt"].splitlines()
    assert labels == list("0123456789")
