"""Keras is imported without the optional packages, which can be imported afterwards."""

import importlib
import sys

import pytest

from train import keras_import


@pytest.fixture
def optional(tmp_path, monkeypatch):
    """The name of an importable package that Keras must not see."""
    (tmp_path / "optional_package.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(keras_import, "_OPTIONAL", ("optional_package",))
    yield "optional_package"
    sys.modules.pop("optional_package", None)


def test_package_is_hidden_within_the_block_only(optional):
    with keras_import.keras_import(), pytest.raises(ImportError):
        importlib.import_module(optional)
    importlib.import_module(optional)


def test_package_that_is_imported_already_stays(optional):
    before = importlib.import_module(optional)
    with keras_import.keras_import():
        assert importlib.import_module(optional) is before
    assert sys.modules[optional] is before


def test_failed_import_hides_nothing_afterwards(optional):
    with pytest.raises(ImportError), keras_import.keras_import():
        importlib.import_module("no_such_module")
    importlib.import_module(optional)
