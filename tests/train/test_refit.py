"""The acceptance rule of exported artefacts fitted anew: the rule changes, and nothing else."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import runtime
from runtime import artefact
from runtime.classifier import Classifier

pytest.importorskip("sklearn")

ROOT = Path(__file__).parents[2]
PRETRAINED = Path(runtime.__file__).parent / "pretrained"
NAMES = ("digits.tflite", "digits-int8.onnx")


def _refit(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "train.refit", "--data", "embedded", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def _bare(one: artefact.Artefact) -> bytes:
    return one.data[: -len(artefact.embed(one.path.suffix, b"", one.spec))]


@pytest.fixture
def exported(tmp_path) -> list[Path]:
    """Published artefacts that say they were trained on the embedded digits, without a rule."""
    from train.data import embedded

    paths = []
    for name in NAMES:
        one = artefact.read(PRETRAINED / name)
        spec = dataclasses.replace(
            one.spec,
            dataset=embedded().dataset,
            provenance=(("seed", "3"), ("held back", "200 images")),
            acceptance=None,
        )
        paths.append(artefact.write(tmp_path / name, _bare(one), spec).path)
    return paths


def test_the_rule_is_new_and_the_network_the_same(exported):
    before = list(map(artefact.read, exported))
    done = _refit(*exported)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    after = list(map(artefact.read, exported))
    assert done.stdout.splitlines() == [f"{a.path}: digest {a.spec.digest[:12]}…" for a in after]
    records = {str(one.spec.acceptance.to_record()) for one in after}
    assert len(records) == 1
    for old, new in zip(before, after, strict=True):
        assert _bare(new) == _bare(old)
        provenance = (*old.spec.provenance, new.spec.provenance[-1])
        assert new.spec.provenance[-1][0] == "acceptance"
        expected = dataclasses.replace(
            old.spec, acceptance=new.spec.acceptance, provenance=provenance
        )
        assert new.spec.to_json() == expected.to_json()
    classifier = Classifier.load(exported[0])
    from train.data import embedded

    accepted = [answer.accepted for answer in classifier.classify_batch(embedded().test.pixels)]
    assert np.mean(accepted) > 0.95


def test_what_cannot_be_fitted_is_one_line_and_leaves_every_file(exported, tmp_path):
    float32, int8 = exported
    other = artefact.read(int8)
    stranger = tmp_path / "stranger.onnx"
    spec = dataclasses.replace(other.spec, source_sha256="0" * 64)
    artefact.write(stranger, _bare(other), spec)
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(float32.read_bytes()[:-70] + b"\0" * 70)
    kept = {path: path.read_bytes() for path in tmp_path.iterdir()}
    published = PRETRAINED / "digits.tflite"
    for arguments, reason in (
        ([int8, float32], "no float32 export"),
        ([float32, stranger], "of another network"),
        ([float32, damaged], "damaged.tflite"),
        ([float32, tmp_path / "absent.onnx"], "absent.onnx"),
        ([published], "was trained on MNIST"),
    ):
        done = _refit(*arguments)
        assert done.returncode == 2 and done.stdout == ""
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
        assert reason in done.stderr
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == kept
