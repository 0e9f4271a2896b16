"""Exporting a line reader: the artifact says what it is, and reads as its Keras model."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from export import onnx, tflite
from export.keras_model import open_source
from export.lines import ComposedLines, compose, export_lines
from runtime.backends import open_backend
from runtime.backends.golden import check as check_golden
from runtime.errors import ArtifactError, ImageError, ParityError
from runtime.model import artifact
from runtime.model.spec import SEQUENCE, ModelSpec
from train.data.load import sklearn_digits

SOURCE = Path(artifact.__file__).parents[1] / "pretrained" / "lines.keras"


@pytest.fixture(scope="module")
def lines() -> ComposedLines:
    composed = compose(sklearn_digits(), 40, 0)
    return dataclasses.replace(composed, train=composed.train[:3], test=composed.test[:6])


@pytest.mark.parametrize("target", [tflite.TARGET, onnx.TARGET], ids=["tflite", "onnx"])
@pytest.mark.parametrize("quantize", [False, True], ids=["float32", "int8"])
def test_artifact_reads_lines_of_any_width_as_keras_does(
    tmp_path: Path, lines: ComposedLines, target, quantize: bool
) -> None:
    out = tmp_path / f"lines{target.suffix}"
    made = export_lines(open_source(SOURCE), target, lines, out, quantize)
    spec = artifact.read(out).spec
    assert (spec.kind, spec.input_shape, spec.labels[-1]) == (SEQUENCE, (32, None, 1), "blank")
    assert spec.precision == ("int8" if quantize else "float32")
    assert spec.metrics is not None
    assert spec.metrics.n_test == 150
    backend = open_backend(made)
    check_golden(backend)
    for width in (32, 64, 128, 32):
        scores = backend.scores(np.zeros((2, 32, width, 1), np.uint8))
        assert scores.shape == (2, width // 4, 12)
        assert (scores.argmax(axis=2) == 11).all()  # an empty line is blank
    with pytest.raises(ImageError, match="pixels must be uint8 of shape"):
        backend.scores(np.zeros((1, 28, 64, 1), np.uint8))


def test_artifact_that_reads_otherwise_is_not_written(
    tmp_path: Path, lines: ComposedLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source(SOURCE)
    scores = source.scores
    monkeypatch.setattr(type(source), "scores", lambda self, pixels: scores(pixels) + 1)
    out = tmp_path / "lines.tflite"
    with pytest.raises(ParityError, match="largest difference of a logit 1"):
        export_lines(source, tflite.TARGET, lines, out, False)
    assert not out.exists()


def test_spec_of_a_line_reader_survives_json_and_a_contradiction_is_refused() -> None:
    spec = artifact.read(SOURCE).spec
    again = ModelSpec.from_json(spec.to_json())
    assert (again.kind, again.input_shape, again.labels) == (
        spec.kind,
        spec.input_shape,
        spec.labels,
    )
    assert spec.golden is not None
    assert again.golden is not None
    assert np.array_equal(again.golden.scores, spec.golden.scores)
    assert np.array_equal(again.golden.pixels, spec.golden.pixels)

    def with_kind(kind: str) -> str:
        return json.dumps(json.loads(spec.to_json()) | {"kind": kind})

    with pytest.raises(ArtifactError, match="is not that of a classes model"):
        ModelSpec.from_json(with_kind("classes"))
    with pytest.raises(ArtifactError, match="model's kind 'words' is unknown"):
        ModelSpec.from_json(with_kind("words"))
