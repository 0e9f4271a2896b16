"""runtime.cli.worker_pool: what is left of a pool once it is closed."""

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
    """Answers the first task and is then at work for longer than a test lasts."""

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


# More bytes than a pipe holds: Python 3.10 waited for ever for somebody to read them.
@pytest.mark.parametrize("size", [0, 300_000])
def test_nothing_is_left_of_a_closed_pool(size):
    # What is left when Python exits may print a traceback there: seen once, on a busy machine.
    before = set(threading.enumerate())
    pool = Pool(Stuck(), 2)
    assert next(pool.answers((number, bytes(size)) for number in itertools.count())) == 0
    pool.close()
    left = set(threading.enumerate()) - before
    assert {thread.name for thread in left} <= {"tasks", "QueueFeederThread"}
    assert multiprocessing.active_children() == []
