"""`kill_at_each_step`: kill a function before each line that it runs in some modules.

So every state between two system calls of these modules is tried.
"""

import os
import shutil
import sys
import traceback
import warnings
from collections.abc import Callable
from types import FrameType, ModuleType
from typing import Any

from runtime.system import atomic_write, file_lock

KILLED = 9  # exit status of a killed process
FAILED = 1  # exit status if the function raised


def kill_at_each_step(
    prepare: Callable[[], None],
    work: Callable[[], Any],
    check: Callable[[int], None],
    *modules: ModuleType,
) -> int:
    """Run `work` in a forked process, killed before its first line, its second line, and so on.

    `prepare` runs before, `check(step)` after each run. The lines are those of `modules`, of
    `atomic_write`, `file_lock` and `shutil`. Returns the number of kills.
    """
    files = {module.__file__ for module in (atomic_write, file_lock, shutil, *modules)}
    step = 0
    while True:
        step += 1
        prepare()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
            child = os.fork()
        if child == 0:
            _work_until(step, work, files)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, KILLED), f"the function failed at step {step}"
        check(step)
        if status == 0:
            print(f"{step - 1} kills")  # for docs/reliability.md: pytest -s
            return step - 1


def _work_until(step: int, work: Callable[[], Any], files: set[str | None]) -> None:
    lines = 0

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal lines
        if frame.f_code.co_filename not in files:
            return None
        if event == "line":
            lines += 1
            if lines == step:
                os._exit(KILLED)
        return trace

    try:
        sys.settrace(trace)
        work()
        sys.settrace(None)
    except BaseException:
        sys.settrace(None)
        traceback.print_exc()
        os._exit(FAILED)
    os._exit(0)
