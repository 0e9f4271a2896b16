"""runtime.cli.worker_pool: the order of the answers, and the end of the processes."""

import itertools
import multiprocessing
import threading
import time

import pytest

from runtime.cli.worker_pool import Pool


class Doubling:
    def open(self) -> None:
        pass

    def do(self, task: int) -> int:
        return 2 * task


class Stuck:
    """Answers the first task; each further one takes longer than the test."""

    def open(self) -> None:
        pass

    def do(self, task: tuple[int, bytes]) -> int:
        number, _ = task
        if number > 0:
            time.sleep(600)
        return number


def test_answers_are_in_the_order_of_the_tasks():
    pool = Pool(Doubling(), 2)
    assert list(pool.answers(iter(range(100)))) == [2 * task for task in range(100)]
    pool.close()


# 300,000 bytes exceed a pipe's buffer: Python 3.10 waited forever for them to be read.
@pytest.mark.parametrize("size", [0, 300_000])
def test_closed_pool_leaves_no_processes_and_no_threads_of_the_executor(size):
    """A thread that still runs when Python exits may print a traceback."""
    before = set(threading.enumerate())
    pool = Pool(Stuck(), 2)
    assert next(pool.answers((number, bytes(size)) for number in itertools.count())) == 0
    pool.close()
    remaining = set(threading.enumerate()) - before
    assert {thread.name for thread in remaining} <= {"tasks", "QueueFeederThread"}
    assert multiprocessing.active_children() == []
