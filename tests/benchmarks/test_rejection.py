"""What is drawn is what it is called; decisions are counted and ranked rightly."""

import dataclasses
import json

import numpy as np
import pytest

from benchmarks.harness.cases import ABSENT, FAILED
from benchmarks.parity.run import TestSet
from benchmarks.rejection import negatives as oddities
from benchmarks.rejection import report as rejection_report
from benchmarks.rejection import run as rejection
from benchmarks.rejection.__main__ import main as rejection_main
from benchmarks.rejection.negatives import BLANK, KINDS, NegativeKind
from benchmarks.robustness import run as robustness
from runtime.classifier import Classifier
from runtime.errors import CHECK_FAILED, DatasetError
from runtime.model import artifact
from runtime.model.rejection import RejectionModel
from train import negatives


@pytest.fixture(scope="module")
def digits() -> TestSet:
    """The embedded digits' test split."""
    from train.data.load import sklearn_digits

    data = sklearn_digits()
    return TestSet(data.name, data.sha256, data.labels, data.test.pixels, data.test.labels)


@pytest.fixture
def published(tmp_path):
    """A folder with the published artifacts."""
    folder = tmp_path / "models"
    folder.mkdir()
    for path in robustness.PUBLISHED.glob("digits*.*"):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_kind_is_repeatable_pixels_and_not_all_the_same(kind) -> None:
    first, again, other = (kind.draw(40, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (40, 28, 28, 1)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    # Blank pages are alike where the runtime found nothing on them.
    assert (first != other).any() or kind.name == BLANK
    assert len(np.unique(first.reshape(40, -1), axis=0)) > (15 if kind.name == BLANK else 35)


def test_nothing_that_is_measured_with_was_fitted_to() -> None:
    assert not set(oddities._FONTS) & set(negatives._FONTS)
    assert not any(name.startswith("DejaVu") for name in oddities._FONTS)
    random = np.random.default_rng(0)
    fitted = negatives.draw_negatives(400, 0)
    for kind in KINDS:
        if kind.name == BLANK:
            continue
        drawn = kind.draw(40, random)
        same = (drawn[:, None] == fitted[None]).all(axis=(2, 3, 4))
        assert not same.any(), kind.name


def test_letters_that_look_like_digits_are_left_out() -> None:
    for letters in (oddities.LETTERS, negatives.LETTERS):
        assert not set(letters) & set("OoIlZzSsBbgq")
        assert len(letters) == 33


def test_decisions_are_those_of_the_classifier(published, digits) -> None:
    kinds = (KINDS[0], NegativeKind("letters", 60, oddities.letters))
    report = rejection.measure(published, digits, kinds=kinds, backends=("litert",))
    assert report, report.failures
    for result in report.results:
        classifier = Classifier.load(published / result.case.artifact)
        assert result.has_rejection_model == (classifier.spec.rejection_model is not None)
        blank, letters = result.kinds
        assert (blank.rejected, blank.auroc) == (blank.n, 1.0)
        drawn = oddities.letters(60, np.random.default_rng([rejection._SEED, 1]))
        accepted = sum(p.accepted for p in classifier.classify_batch(drawn))
        assert letters.rejected == 60 - accepted
        accepted = sum(p.accepted for p in classifier.classify_batch(digits.pixels))
        assert result.digits_rejected == len(digits.pixels) - accepted
        assert 0 < result.batch_cost_ns < 1e6
        assert 0 < result.cost_ns < 1e6


def test_a_rule_in_the_spec_is_what_decides(published, digits) -> None:
    opened = artifact.read(published / "digits.tflite")
    counts_ink = RejectionModel(
        weights=np.full((1, 10, 14), 127, np.int8),
        scales=np.ones(1, np.float32),
        biases=np.zeros(1, np.float32),
        outputs=np.ones(1, np.float32),
        logit_weight=0.0,
        threshold=1e9,
    )
    spec = dataclasses.replace(opened.spec, rejection_model=counts_ink)
    graph = opened.data[: opened.data.index(b"PK\x03\x04")]
    artifact.write(published / "digits.tflite", graph, spec)
    gray = NegativeKind(
        "bright", 20, lambda n, random: random.integers(200, 256, (n, 28, 28, 1), np.uint8)
    )
    report = rejection.measure(published, digits, kinds=(gray,), backends=("litert",))
    ruled = next(r for r in report.results if r.case.artifact == "digits.tflite")
    assert ruled.has_rejection_model
    assert ruled.digits_rejected == ruled.digits
    assert ruled.kinds[0].rejected == 20
    assert ruled.kinds[0].auroc == 0.0
    assert "MISSED" in rejection_report.targets(report)[0]


def test_the_command_writes_its_report_and_says_3_when_an_artifact_is_damaged(
    published, tmp_path, capsys, monkeypatch
) -> None:
    few = tuple(dataclasses.replace(kind, n=30) for kind in KINDS)
    monkeypatch.setitem(rejection.measure.__kwdefaults__, "kinds", few)
    data = (published / "digits.onnx").read_bytes()
    (published / "digits.onnx").write_bytes(data[:-100])
    out = tmp_path / "report"
    arguments = ["--models", str(published), "--data", "embedded", "--out", str(out)]
    assert rejection_main(arguments) == CHECK_FAILED
    printed = capsys.readouterr().out
    assert "Rejection: FAILED" in printed
    assert "digits.onnx" in printed
    text = (out / rejection_report.MARKDOWN_NAME).read_text("utf-8")
    assert all(f"| {kind.name}" in text for kind in KINDS)
    record = json.loads((out / rejection_report.JSON_NAME).read_text("utf-8"))
    assert len(record["results"]) >= 3
    failed = [row for row in record["unmeasured"] if row["status"] == FAILED]
    assert [row["row"]["artefact"] for row in failed] == ["digits.onnx"]
    assert {row["status"] for row in record["unmeasured"]} <= {FAILED, ABSENT}


def test_other_classes_than_digits_are_refused(published, digits) -> None:
    letters = dataclasses.replace(digits, class_names=tuple("abcdefghij"))
    with pytest.raises(DatasetError, match="classes a, b"):
        rejection.measure(published, letters)
