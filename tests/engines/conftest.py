"""What the tests of the engines share. They need pytest, NumPy, Pillow and one engine."""

from pathlib import Path

import pytest

import runtime
from runtime.backends import ENGINES

PUBLISHED = sorted((Path(runtime.__file__).parent / "pretrained").glob("digits*.*"))
INSTALLED = [engine for engine in ENGINES if engine.installed()]
PAIRS = [(engine, path) for engine in ENGINES for path in PUBLISHED if engine.suffix == path.suffix]


@pytest.fixture(params=PUBLISHED, ids=lambda path: path.name)
def published(request) -> Path:
    """Each published artefact."""
    return request.param


@pytest.fixture(
    params=[
        (engine, path) for engine in ENGINES for path in PUBLISHED if engine.suffix == path.suffix
    ],
    ids=lambda pair: f"{pair[0].name}-{pair[1].stem}",
)
def engine_and_path(request):
    """Each engine with each artefact it opens; skipped where the engine is not installed."""
    engine, path = request.param
    if engine not in INSTALLED:
        pytest.skip(f"{engine.name} is not installed in this environment")
    return engine, path
