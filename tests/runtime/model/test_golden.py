"""Golden outputs that are not finite never pass."""

import dataclasses
import zipfile
from pathlib import Path

import numpy as np
import pytest

import runtime
from runtime.backends import golden, open_backend
from runtime.errors import ArtifactError
from runtime.model import artifact

PRETRAINED = Path(runtime.__file__).parent / "pretrained"
NOT_FINITE = [float("nan"), float("inf"), -float("inf")]


@pytest.mark.parametrize("value", NOT_FINITE)
def test_golden_score_that_is_not_finite_fails_the_comparison(value):
    backend = open_backend(artifact.read(PRETRAINED / "digits.tflite"))
    scores = backend.spec.golden.scores.copy()
    scores[3, 2] = value
    outputs = dataclasses.replace(backend.spec.golden, scores=scores)
    backend.spec = dataclasses.replace(backend.spec, golden=outputs)
    assert golden.largest_difference(backend, 8) == float("inf")
    with pytest.raises(ArtifactError, match="differ by inf"):
        golden.check(backend)


@pytest.mark.parametrize("value", NOT_FINITE)
def test_file_with_golden_scores_that_are_not_finite_is_rejected(tmp_path, value):
    source = PRETRAINED / "digits.tflite"
    opened = artifact.read(source)
    with zipfile.ZipFile(source) as archive:
        size = min(member.header_offset for member in archive.infolist())
    scores = np.full_like(opened.spec.golden.scores, value)
    outputs = dataclasses.replace(opened.spec.golden, scores=scores)
    path = tmp_path / "m.tflite"
    spec = dataclasses.replace(opened.spec, golden=outputs)
    path.write_bytes(artifact.embed(".tflite", opened.data[:size], spec))
    with pytest.raises(ArtifactError, match="golden score of the model is not finite"):
        artifact.read(path)
