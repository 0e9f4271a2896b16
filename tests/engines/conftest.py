"""What the tests of the engines share. They need pytest, NumPy, Pillow and one engine."""

from pathlib import Path

import pytest

import runtime
from runtime.backends import ENGINES

_PRETRAINED = Path(runtime.__file__).parent / "pretrained"
PUBLISHED = sorted([*_PRETRAINED.glob("digits*.onnx"), *_PRETRAINED.glob("digits*.tflite")])
INSTALLED = [engine for engine in ENGINES if engine.installed()]
PAIRS = [
    (engine, path) for engine in INSTALLED for path in PUBLISHED if engine.suffix == path.suffix
]


@pytest.fixture(params=PUBLISHED, ids=lambda path: path.name)
def published(request) -> Path:
    """Each published artifact."""
    return request.param


@pytest.fixture(params=PAIRS, ids=lambda pair: f"{pair[0].name}-{pair[1].stem}")
def engine_and_path(request):
    """Each engine installed here with each artifact it opens."""
    return request.param
