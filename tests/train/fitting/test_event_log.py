"""TensorBoard's event files, read back by TensorBoard."""

import pytest

from runtime.errors import EdgeError
from train.checkpoint import Epoch

pytest.importorskip("tensorflow")

from train.fitting.event_log import EventLog

HISTORY = tuple(
    Epoch(
        epoch=n,
        train_loss=1 / n,
        train_accuracy=1 - 0.1 / n,
        val_loss=0.5 / n,
        val_accuracy=1 - 0.05 / n,
        learning_rate=0.003 / n,
        seconds=10.0 + n,
    )
    for n in (1, 2, 3)
)


def curves(folder):
    """Return (name → [(step, value), …]) as TensorBoard reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder))
    read.Reload()
    return {
        name: [(event.step, event.value) for event in read.Scalars(name)]
        for name in read.Tags()["scalars"]
    }


def test_tensorboard_reads_every_curve_once(tmp_path):
    log = EventLog(tmp_path / "log")
    for length in (1, 2, 3):
        log.write(HISTORY[:length])
    read = curves(tmp_path / "log")
    assert set(read) == {
        *("loss/train", "loss/validation", "accuracy/train", "accuracy/validation"),
        *("learning rate", "seconds per epoch"),
    }
    assert read["loss/train"] == [(n, pytest.approx(1 / n)) for n in (1, 2, 3)]
    assert read["accuracy/validation"] == [(n, pytest.approx(1 - 0.05 / n)) for n in (1, 2, 3)]


def test_resumed_run_replaces_the_files_of_the_interrupted_one(tmp_path):
    EventLog(tmp_path).write(HISTORY[:2])
    (tmp_path / "notes.txt").write_text("kept")
    log = EventLog(tmp_path)
    log.write(HISTORY[:2])  # after resuming, with the epochs of the checkpoint
    log.write(HISTORY)
    assert [step for step, _ in curves(tmp_path)["loss/train"]] == [1, 2, 3]
    assert (tmp_path / "notes.txt").exists()


def test_unwritable_folder_is_an_error(tmp_path):
    (tmp_path / "log").write_text("a file")
    with pytest.raises(EdgeError, match="choose another folder"):
        EventLog(tmp_path / "log")
