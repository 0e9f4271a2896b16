"""The queue of a sweep gives each run to one process, and again if that process is killed."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("optuna", reason='needs optuna: pip install "digit-edge[sweep]"')

from runtime.errors import EdgeError
from train.sweep.queue import Cell, Queue, Result

ROOT = Path(__file__).parents[3]
CELLS = [Cell((("dropout", d),), seed) for seed in (0, 1) for d in (0.3, 0.2)]
STORAGES = ("sqlite", "journal")


def finish_all(queue) -> list[Cell]:
    """Take and finish every run; return them."""
    taken = []
    while True:
        with queue.take() as item:
            if item is None:
                return taken
            cell, trial = item
            queue.finish(trial, Result(cell, 0.9, 0.1, 0.8))
            taken.append(cell)


@pytest.mark.parametrize("storage", STORAGES)
def test_each_run_is_taken_once_in_the_order_of_the_seeds(tmp_path, storage):
    queue = Queue(tmp_path, storage, [])
    queue.add(CELLS)
    again = Queue(tmp_path, storage, [])
    again.add(CELLS)
    with queue.take() as first, again.take() as second:
        assert [first[0], second[0]] == CELLS[:2]
        queue.finish(first[1], Result(first[0], 0.9, 0.1, 0.8))
        again.finish(second[1], Result(second[0], 0.9, 0.1, 0.8))
    assert finish_all(queue) == CELLS[2:]
    assert {result.cell for result in again.results()} == set(CELLS)


@pytest.mark.parametrize("storage", STORAGES)
def test_run_of_a_killed_process_is_taken_again(tmp_path, storage):
    queue = Queue(tmp_path, storage, [])
    queue.add(CELLS[:1])
    program = (
        "import os, signal, sys; from pathlib import Path; from train.sweep.queue import Queue\n"
        f"with Queue(Path({str(tmp_path)!r}), {storage!r}, []).take() as taken:\n"
        "    print(taken[0].name, flush=True); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert killed.stdout == "dropout=0.3\n", killed.stderr
    assert queue.running() == 1
    assert finish_all(queue) == CELLS[:1]
    assert queue.running() == 0


def test_run_of_a_living_process_is_not_taken_again(tmp_path):
    queue = Queue(tmp_path, "sqlite", [])
    queue.add(CELLS[:1])
    with queue.take() as taken, Queue(tmp_path, "sqlite", []).take() as other:
        assert taken is not None
        assert other is None


def test_failed_run_is_queued_again_by_the_next_command(tmp_path):
    queue = Queue(tmp_path, "sqlite", [])
    queue.add(CELLS[:1])
    with queue.take() as (_, trial):
        queue.fail(trial)
    assert finish_all(queue) == []
    queue.add(CELLS[:1])
    assert finish_all(queue) == CELLS[:1]


def test_study_grows_by_further_settings_and_seeds(tmp_path):
    queue = Queue(tmp_path, "sqlite", [])
    queue.add(CELLS[:2])
    finish_all(queue)
    more = [*CELLS, Cell((("dropout", 0.2), ("weight_decay", 0.1)), 0)]
    queue.add(more)
    assert finish_all(queue) == more[2:]


def test_study_with_other_options_is_refused(tmp_path):
    Queue(tmp_path, "sqlite", ["--fast"])
    with pytest.raises(EdgeError, match=r"its study has other options \(--fast\), not none"):
        Queue(tmp_path, "sqlite", [])


@pytest.mark.parametrize("storage", ["sqllite", "nothing://x"])
def test_unknown_storage_is_an_error(tmp_path, storage):
    with pytest.raises(EdgeError, match=f"--storage {storage}: cannot be opened"):
        Queue(tmp_path, storage, [])
