"""The table of engines: how to install one."""

import re
import sys
from pathlib import Path

import pytest

from runtime import engines

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.mark.parametrize(("version", "package"), [((3, 11), "tflite"), ((3, 12), "litert")])
def test_hint_for_tflite_runtime_works_on_this_python(monkeypatch, version, package):
    monkeypatch.setattr(sys, "version_info", version)
    assert f"digit-edge[{package}]" in engines.install_hint("tflite-runtime")


def test_extra_tflite_brings_an_engine_for_each_python():
    extra = re.search(r"^tflite = \[\n(.*?)^\]", PYPROJECT.read_text(), re.DOTALL | re.MULTILINE)[1]
    markers = dict(re.findall(r'"([a-z-]+)[^;]*; ([^"]+)"', extra))
    assert markers == {
        "tflite-runtime": "python_version < '3.12'",
        "numpy": "python_version < '3.12'",
        "ai-edge-litert": "python_version >= '3.12'",
    }
