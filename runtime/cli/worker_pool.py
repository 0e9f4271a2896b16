"""Classifies many images on all cores: worker processes, answers in the order of the images.

Processes and not threads: reading a small file is mostly Python, which one thread at a time runs.
"""

import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Future, ProcessPoolExecutor
from functools import partial
from typing import Any, Generic, Protocol, TypeVar, cast

from runtime.errors import EdgeError
from runtime.system import interrupt

Task = TypeVar("Task")
Answer = TypeVar("Answer")
_Given = TypeVar("_Given", contravariant=True)
_Made = TypeVar("_Made", covariant=True)

# Tasks given out and not yet answered, a worker: enough that none waits for the next one.
_AHEAD = 4


class Work(Protocol[_Given, _Made]):
    """What is done to each task; a worker gets a copy."""

    def open(self) -> None:
        """Prepare, in the process that will work."""

    def do(self, task: _Given) -> _Made:
        """One task's answer."""


class Pool(Generic[Task, Answer]):
    """Worker processes that live until `close`; no more tasks and answers are held than needed."""

    def __init__(self, work: Work[Task, Answer], jobs: int) -> None:
        # Where a process can be forked it starts in milliseconds, with everything imported.
        # macOS could fork too, but its own libraries do not survive it.
        method = "fork" if sys.platform == "linux" else "spawn"
        # Deferred: half of the workers would have nobody to end them, and one that is just forked
        # would raise KeyboardInterrupt before `_begin` ignores Ctrl-C.
        with interrupt.deferred():
            self._executor = ProcessPoolExecutor(
                jobs, multiprocessing.get_context(method), partial(_begin, work)
            )
            self._executor.submit(os.getpid)  # forks all workers, before there are threads here
        # When workers end with tasks on their way, Python before 3.11.5 waits for ever for these
        # to be read (python/cpython#94777, where the later ones do the same as this).
        cast(Any, self._executor)._call_queue.cancel_join_thread()
        self._open = threading.Semaphore(_AHEAD * jobs)
        self._answers: queue.SimpleQueue[Future[Answer] | BaseException | None]
        self._answers = queue.SimpleQueue()
        self._closed = False

    def answers(self, tasks: Iterator[Task]) -> Iterator[Answer]:
        """The answers to `tasks`, in their order; tasks are taken on a thread of its own.

        Raises:
            EdgeError: a worker died, as when memory runs out.
        """
        threading.Thread(target=self._feed, args=(tasks,), name="tasks", daemon=True).start()
        while (item := self._answers.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            try:
                answer = item.result()
            except BrokenExecutor as error:
                raise _died() from error
            self._open.release()
            yield answer

    def close(self) -> None:
        """End the workers, whatever they are at."""
        self._closed = True
        for process in multiprocessing.active_children():
            process.terminate()
        # Waiting, as an executor still at its end when Python exits may print a traceback there.
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _feed(self, tasks: Iterator[Task]) -> None:
        try:
            for task in tasks:
                self._open.acquire()
                if self._closed:
                    return
                self._answers.put(cast("Future[Answer]", self._executor.submit(_do, task)))
            self._answers.put(None)
        except BrokenExecutor:
            self._answers.put(_died())
        except CancelledError:
            return
        except BaseException as error:  # raised where the answers are awaited
            self._answers.put(error)


def _died() -> EdgeError:
    return EdgeError("a worker process died, perhaps for want of memory: give fewer --jobs")


# In a worker: what it does, and whether that is prepared.
_work: Work[Any, Any]
_prepared = False


def _begin(work: Work[Any, Any]) -> None:
    global _work
    # Ctrl-C reaches every process of the terminal; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _work = work


def _do(task: object) -> object:
    global _prepared
    if not _prepared:
        # Not when it starts: what fails there is printed, and not raised where it is awaited.
        _work.open()
        _prepared = True
    answer: object = _work.do(task)
    return answer


def _end_with_parent() -> None:
    """Leave when the first process is gone, even if it was killed and could not say so."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
