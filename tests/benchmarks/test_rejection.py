"""The rejection benchmark: its drawn images, its figures and its command."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.harness.cases import ABSENT, FAILED
from benchmarks.harness.test_set import TestSet
from benchmarks.rejection import negatives
from benchmarks.rejection import report as rejection_report
from benchmarks.rejection import run as rejection
from benchmarks.rejection.__main__ import main as rejection_main
from benchmarks.rejection.negatives import BLANK, KINDS, NegativeKind
from benchmarks.robustness import run as robustness
from benchmarks.schema.rejection import RejectionResult
from runtime.classifier import Classifier
from runtime.errors import CHECK_FAILED, DatasetError
from runtime.model import artifact
from runtime.model.rejection import RejectionModel
from train import negatives as training_negatives

MAX_COST_NS = 1e6  # of one decision, even on a slow machine


@pytest.fixture(scope="module")
def digits() -> TestSet:
    """Return the test split of the embedded digits."""
    from train.data.load import sklearn_digits

    data = sklearn_digits()
    return TestSet(data.name, data.sha256, data.labels, data.test.pixels, data.test.labels)


@pytest.fixture
def published(tmp_path):
    """Return a folder with copies of the published artifacts."""
    folder = tmp_path / "models"
    folder.mkdir()
    for path in robustness.PUBLISHED.glob("digits*.*"):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_drawn_images_are_model_pixels(kind) -> None:
    images = kind.draw(40, np.random.default_rng(1))
    assert images.shape == (40, 28, 28, 1)
    assert images.dtype == np.uint8


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_same_seed_draws_the_same_images(kind) -> None:
    first, second = (kind.draw(40, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind.name != BLANK], ids=lambda kind: kind.name
)
def test_another_seed_draws_other_images(kind) -> None:
    """Blank pages are left out: preprocessing makes many of them equal."""
    first, second = (kind.draw(40, np.random.default_rng(seed)) for seed in (1, 2))
    assert (first != second).any()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_drawn_images_are_varied(kind) -> None:
    images = kind.draw(40, np.random.default_rng(1))
    min_distinct = 15 if kind.name == BLANK else 35
    assert len(np.unique(images.reshape(40, -1), axis=0)) > min_distinct


def test_fonts_differ_from_those_of_training() -> None:
    assert not set(negatives._FONTS) & set(training_negatives._FONTS)
    assert not any(name.startswith("DejaVu") for name in negatives._FONTS)


def test_images_differ_from_those_of_training() -> None:
    random = np.random.default_rng(0)
    training_images = training_negatives.draw_negatives(400, 0)
    for kind in KINDS:
        if kind.name == BLANK:
            continue
        images = kind.draw(40, random)
        same = (images[:, None] == training_images[None]).all(axis=(2, 3, 4))
        assert not same.any(), kind.name


@pytest.mark.parametrize("module", [negatives, training_negatives])
def test_letters_that_look_like_digits_are_left_out(module) -> None:
    assert not set(module.LETTERS) & set("OoIlZzSsBbgq")
    assert len(module.LETTERS) == 33


@pytest.fixture
def measured(published, digits) -> list[tuple[RejectionResult, Classifier]]:
    """Return the results for blank pages and 60 letters, each with its classifier."""
    kinds = (KINDS[0], NegativeKind("letters", 60, negatives.letters))
    report = rejection.measure(published, digits, kinds=kinds, backends=("litert",))
    assert report, report.failures
    return [(r, Classifier.load(published / r.case.artifact)) for r in report.results]


def test_result_says_whether_the_artifact_has_a_rejection_model(measured) -> None:
    for result, classifier in measured:
        assert result.has_rejection_model == (classifier.spec.rejection_model is not None)


def test_all_blank_pages_are_rejected(measured) -> None:
    for result, _ in measured:
        blank, _ = result.kinds
        assert (blank.rejected, blank.auroc) == (blank.n, 1.0)


def test_rejected_negatives_are_those_that_the_classifier_rejects(measured) -> None:
    images = negatives.letters(60, np.random.default_rng([rejection._SEED, 1]))
    for result, classifier in measured:
        _, letters = result.kinds
        accepted = sum(p.accepted for p in classifier.classify_batch(images))
        assert letters.rejected == 60 - accepted


def test_rejected_digits_are_those_that_the_classifier_rejects(measured, digits) -> None:
    for result, classifier in measured:
        accepted = sum(p.accepted for p in classifier.classify_batch(digits.pixels))
        assert result.digits_rejected == len(digits.pixels) - accepted


def test_time_per_decision_is_measured(measured) -> None:
    for result, _ in measured:
        assert 0 < result.batch_cost_ns < MAX_COST_NS
        assert 0 < result.cost_ns < MAX_COST_NS


def test_rejection_model_of_the_spec_decides(published, digits) -> None:
    opened = artifact.read(published / "digits.tflite")
    ink_model = RejectionModel(
        weights=np.full((1, 10, 14), 127, np.int8),
        scales=np.ones(1, np.float32),
        biases=np.zeros(1, np.float32),
        outputs=np.ones(1, np.float32),
        logit_weight=0.0,
        threshold=1e9,
    )
    spec = dataclasses.replace(opened.spec, rejection_model=ink_model)
    graph = opened.data[: opened.data.index(b"PK\x03\x04")]
    artifact.write(published / "digits.tflite", graph, spec)
    bright = NegativeKind(
        "bright", 20, lambda n, random: random.integers(200, 256, (n, 28, 28, 1), np.uint8)
    )
    report = rejection.measure(published, digits, kinds=(bright,), backends=("litert",))
    result = next(r for r in report.results if r.case.artifact == "digits.tflite")
    assert result.has_rejection_model
    assert result.digits_rejected == result.digits
    assert result.kinds[0].rejected == 20
    assert result.kinds[0].auroc == 0.0
    assert "MISSED" in rejection_report.targets(report)[0]


@pytest.fixture
def damaged_run(published, tmp_path, capsys, monkeypatch) -> tuple[int, str, Path]:
    """Run the command with a damaged artifact; return exit status, output and report folder."""
    small_kinds = tuple(dataclasses.replace(kind, n=30) for kind in KINDS)
    monkeypatch.setitem(rejection.measure.__kwdefaults__, "kinds", small_kinds)
    data = (published / "digits.onnx").read_bytes()
    (published / "digits.onnx").write_bytes(data[:-100])
    out = tmp_path / "report"
    arguments = ["--model", str(published), "--data", "embedded", "--out", str(out)]
    status = rejection_main(arguments)
    return status, capsys.readouterr().out, out


def test_command_with_a_damaged_artifact_fails_and_names_it(damaged_run) -> None:
    status, output, _ = damaged_run
    assert status == CHECK_FAILED
    assert "Rejection: FAILED" in output
    assert "digits.onnx" in output


def test_command_with_a_damaged_artifact_writes_a_report_of_the_others(damaged_run) -> None:
    _, _, out = damaged_run
    text = (out / rejection_report.MARKDOWN_NAME).read_text("utf-8")
    assert all(f"| {kind.name}" in text for kind in KINDS)
    record = json.loads((out / rejection_report.JSON_NAME).read_text("utf-8"))
    assert len(record["results"]) >= 3
    failed = [case for case in record["unmeasured"] if case["status"] == FAILED]
    assert [case["row"]["artefact"] for case in failed] == ["digits.onnx"]
    assert {case["status"] for case in record["unmeasured"]} <= {FAILED, ABSENT}


def test_data_set_with_other_classes_is_an_error(published, digits) -> None:
    letters = dataclasses.replace(digits, class_names=tuple("abcdefghij"))
    with pytest.raises(DatasetError, match="classes a, b"):
        rejection.measure(published, letters)
