"""The published line reader in each engine installed here."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import runtime
from runtime import Classifier
from runtime.backends import ENGINES, open_backend
from runtime.backends.golden import check
from runtime.model import artifact

pytestmark = pytest.mark.portable

PRETRAINED = Path(runtime.__file__).parent / "pretrained"
# Engines for whose format a line reader is published.
INSTALLED = [
    engine
    for engine in ENGINES
    if engine.installed() and (PRETRAINED / f"lines-int8{engine.suffix}").exists()
]


@pytest.fixture(params=INSTALLED, ids=lambda engine: engine.name)
def engine(request):
    """Each engine installed here."""
    return request.param


def test_line_reader_gives_its_golden_scores_at_any_width(engine) -> None:
    backend = open_backend(artifact.read(PRETRAINED / f"lines-int8{engine.suffix}"), engine.name)
    check(backend)
    for width in (32, 160, 64):
        scores = backend.scores(np.zeros((1, 32, width, 1), np.uint8))
        assert scores.shape == (1, width // 4, 12)
    check(backend)


def test_number_is_read_with_the_line_reader(engine) -> None:
    classifier = Classifier.load(PRETRAINED / f"digits-int8{engine.suffix}", backend=engine.name)
    golden = classifier.spec.golden
    assert golden is not None
    labels = "".join(classifier.spec.labels[best] for best in golden.scores.argmax(axis=1))
    row = np.hstack(golden.pixels[:, :, :, 0])
    picture = Image.fromarray(255 - row).resize((3 * row.shape[1], 3 * row.shape[0]))
    text = classifier.read(picture).text
    assert len(text) == len(labels)
    # Of these eight, one may be doubtful; none is wrong.
    assert sum(read != label for read, label in zip(text, labels, strict=True)) <= 1
    assert set(text) <= {*labels, "?"}
    assert classifier._line_reader() is not None
