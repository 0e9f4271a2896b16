"""`Pool`: worker processes that map tasks to answers in the order of the tasks.

`runtime.cli.batch` classifies many images with it. It uses processes rather than threads because
reading a small file is mostly Python code, which only one thread can run at a time.
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
_TaskIn = TypeVar("_TaskIn", contravariant=True)
_AnswerOut = TypeVar("_AnswerOut", covariant=True)

# Most tasks per worker that are submitted and not yet answered. No worker waits for its next task,
# and memory stays bounded.
_TASKS_PER_WORKER = 4


class Work(Protocol[_TaskIn, _AnswerOut]):
    """The function that workers apply to each task; each worker gets a copy."""

    def open(self) -> None:
        """Prepare in the worker process, before the first task."""

    def do(self, task: _TaskIn) -> _AnswerOut:
        """Return the answer to a task."""


class Pool(Generic[Task, Answer]):
    """Worker processes that live until `close`, with a bounded number of tasks in memory.

    Args:
        work: applied to each task; must be picklable.
        jobs: number of processes.
    """

    def __init__(self, work: Work[Task, Answer], jobs: int) -> None:
        # A forked process starts in milliseconds with all modules imported. macOS has fork too, but
        # its system libraries crash after it.
        method = "fork" if sys.platform == "linux" else "spawn"
        # Deferred, because Ctrl-C during the start would leave some workers running. A worker that
        # was just forked would raise KeyboardInterrupt before `_init_worker` ignores Ctrl-C.
        with interrupt.deferred():
            self._executor = ProcessPoolExecutor(
                jobs, multiprocessing.get_context(method), partial(_init_worker, work)
            )
            self._executor.submit(os.getpid)  # forks all workers before this process has threads
        # If workers end while tasks are queued, Python before 3.11.5 waits forever for them to be
        # read (python/cpython#94777; later versions make this call themselves).
        cast(Any, self._executor)._call_queue.cancel_join_thread()
        self._free_slots = threading.Semaphore(_TASKS_PER_WORKER * jobs)
        self._answers: queue.SimpleQueue[Future[Answer] | BaseException | None]
        self._answers = queue.SimpleQueue()
        self._closed = False

    def answers(self, tasks: Iterator[Task]) -> Iterator[Answer]:
        """Yield the answers to `tasks` in their order; a separate thread iterates over `tasks`.

        Raises:
            EdgeError: a worker died, for example because memory ran out.
        """
        threading.Thread(target=self._feed, args=(tasks,), name="tasks", daemon=True).start()
        while (item := self._answers.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            try:
                answer = item.result()
            except BrokenExecutor as error:
                raise _died() from error
            self._free_slots.release()
            yield answer

    def close(self) -> None:
        """Terminate the workers, also in the middle of a task."""
        self._closed = True
        for process in multiprocessing.active_children():
            process.terminate()
        # Wait, because an executor that is still shutting down at exit may print a traceback.
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _feed(self, tasks: Iterator[Task]) -> None:
        try:
            for task in tasks:
                self._free_slots.acquire()
                if self._closed:
                    return
                self._answers.put(cast("Future[Answer]", self._executor.submit(_run_task, task)))
            self._answers.put(None)
        except BrokenExecutor:
            self._answers.put(_died())
        except CancelledError:
            return
        except BaseException as error:  # `answers` raises it in the main thread
            self._answers.put(error)


def _died() -> EdgeError:
    return EdgeError("a worker process died, possibly out of memory: pass fewer --jobs")


# State of a worker process.
_work: Work[Any, Any]
_is_open = False  # whether `_work.open` was called


def _init_worker(work: Work[Any, Any]) -> None:
    global _work
    # The terminal sends Ctrl-C to all processes; the parent process terminates the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    _work = work


def _run_task(task: object) -> object:
    global _is_open
    if not _is_open:
        # Not in `_init_worker`: an error there would be printed and not raised in the parent.
        _work.open()
        _is_open = True
    answer: object = _work.do(task)
    return answer


def _exit_with_parent() -> None:
    """Exit as soon as the parent process is gone, also if it was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
