"""Checkpoints: restored exactly, and rejected if damaged or of a run with other settings."""

import json

import numpy as np
import pytest

from runtime.errors import EdgeError
from train import checkpoint
from train.checkpoint import Checkpoint, Epoch

SETTINGS = json.dumps({"seed": 0, "recipe": {"epochs": 3}})


@pytest.fixture
def written(tmp_path):
    history = (Epoch(1, 0.5, 0.8, 0.25, 0.9, 1e-3, 2.0),)
    values = (np.arange(6, dtype=np.float32).reshape(2, 3), np.int64(7))
    path = tmp_path / "run-checkpoint.npz"
    checkpoint.write(path, Checkpoint(SETTINGS, history, values))
    return path, history, values


def test_checkpoint_is_read_as_it_was_written(written):
    path, history, values = written
    read = checkpoint.read(path, SETTINGS)
    assert read.history == history
    for actual, expected in zip(read.values, values, strict=True):
        np.testing.assert_array_equal(actual, expected)
        assert actual.dtype == expected.dtype


def test_writing_leaves_no_temporary_file(written):
    path = written[0]
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_other_settings_are_rejected_and_named(written):
    other = json.dumps({"seed": 1, "recipe": {"epochs": 3}})
    with pytest.raises(EdgeError, match=r"other settings \(seed was 0, is 1\).*--resume"):
        checkpoint.read(written[0], other)


def test_recipe_with_former_names_of_settings_is_resumed(tmp_path):
    path = tmp_path / "run-checkpoint.npz"
    stored = json.dumps({"seed": 0, "recipe": {"spoilt": 0.5, "calm": 0.1, "averaging": 0.99}})
    checkpoint.write(path, Checkpoint(stored, (), ()))
    current = {"corrupted_fraction": 0.5, "cooldown": 0.1, "ema_decay": 0.99}
    assert checkpoint.read(path, json.dumps({"seed": 0, "recipe": current})).history == ()
    with pytest.raises(EdgeError, match="other settings"):
        checkpoint.read(path, json.dumps({"seed": 0, "recipe": current | {"cooldown": 0.2}}))


@pytest.mark.parametrize("keep", [0, 10, 200, -30])
def test_truncated_checkpoint_is_rejected(written, keep):
    path = written[0]
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(EdgeError, match=r"run-checkpoint\.npz.*without --resume"):
        checkpoint.read(path, SETTINGS)


def test_damaged_array_header_is_rejected(tmp_path):
    """The array is so large that NumPy parses its header before zipfile verifies its checksum."""
    path = tmp_path / "run-checkpoint.npz"
    checkpoint.write(path, Checkpoint(SETTINGS, (), (np.zeros((99, 99)),)))
    path.write_bytes(path.read_bytes().replace(b"(99, 99), }", b"(99, 99), {"))
    with pytest.raises(EdgeError, match=r"run-checkpoint\.npz.*without --resume"):
        checkpoint.read(path, SETTINGS)


def test_unwritable_checkpoint_raises_edge_error(written):
    path = written[0] / "below-a-file.npz"
    with pytest.raises(EdgeError, match="cannot write"):
        checkpoint.write(path, Checkpoint(SETTINGS, (), ()))
