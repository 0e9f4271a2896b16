"""Fixtures of the engine tests: published artifacts, and installed engines that open them.

These tests need only pytest, NumPy, Pillow and one engine, so that they also run on a Raspberry Pi.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from pathlib import Path

import pytest


class WheelFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Import `runtime` as `digit_edge.runtime`, which is its name in an installed wheel."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "runtime":
            return importlib.machinery.ModuleSpec(name, self)
        return None

    def exec_module(self, module):
        sys.modules[module.__name__] = importlib.import_module(f"digit_edge.{module.__name__}")


if importlib.util.find_spec("runtime") is None:
    sys.meta_path.insert(0, WheelFinder())

import runtime  # noqa: E402
from runtime.backends import ENGINES  # noqa: E402

_PRETRAINED = Path(runtime.__file__).parent / "pretrained"
PUBLISHED = sorted(
    path for path in _PRETRAINED.glob("digits*") if path.suffix in (".c", ".onnx", ".tflite")
)
INSTALLED = [engine for engine in ENGINES if engine.installed()]
PAIRS = [
    (engine, path) for engine in INSTALLED for path in PUBLISHED if engine.suffix == path.suffix
]
ONE_ENGINE = Path(sys.prefix).name.startswith(".venv-")  # not the development environment


def pytest_configure(config):
    """Register the markers; on a Raspberry Pi, pyproject.toml is missing."""
    for name in ("one_engine", "portable"):
        config.addinivalue_line("markers", f"{name}: see pyproject.toml")


def pytest_collection_modifyitems(config, items):
    """Deselect the tests that this environment or this artifact cannot have."""
    deselected = [item for item in items if not _is_applicable(item)]
    items[:] = [item for item in items if item not in deselected]
    config.hook.pytest_deselected(items=deselected)


def _is_applicable(item) -> bool:
    if item.get_closest_marker("one_engine") is not None:
        return ONE_ENGINE
    if "int8_tflite" in getattr(item, "fixturenames", ()):
        pair = item.callspec.params["engine_and_path"]
        # Without an engine there is no pair; pytest then skips the test.
        return pair not in PAIRS or (pair[1].suffix == ".tflite" and "int8" in pair[1].stem)
    return True


@pytest.fixture(params=PUBLISHED, ids=lambda path: path.name)
def published(request) -> Path:
    """Each published artifact."""
    return request.param


@pytest.fixture(params=PAIRS, ids=lambda pair: f"{pair[0].name}-{pair[1].stem}")
def engine_and_path(request):
    """Each installed engine with each artifact that it opens."""
    return request.param
