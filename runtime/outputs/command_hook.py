"""Runs a command of the user's for each digit, without a shell: `--on-digit`."""

import os
import queue
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time
from contextlib import suppress

from runtime.errors import EdgeError, report

# A command that takes longer is ended; at the end of the program, so long for those that wait.
TIMEOUT_S = 10.0
MAX_WAITING = 100

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_FIELDS = ("label", "confidence", "image")


class CommandHook:
    """Commands run one after another, in the order of the digits, on a thread of their own.

    The command line is split into arguments first and its placeholders filled in afterwards: what
    a label or a file name holds stays within its argument, whatever it looks like to a shell.
    """

    def __init__(self, command: str) -> None:
        try:
            self._arguments = shlex.split(command)
        except ValueError as error:
            raise EdgeError(f"--on-digit {command!r}: {error}; close the quotes") from error
        if not self._arguments:
            raise EdgeError("--on-digit has no command: give one, like 'echo {label}'")
        program = self._arguments[0]
        unknown = {n for a in self._arguments for n in _PLACEHOLDER.findall(a)} - set(_FIELDS)
        if unknown:
            raise EdgeError(
                f"--on-digit knows no {{{min(unknown)}}}: it fills in {{label}}, {{confidence}} "
                "and {image}"
            )
        if _PLACEHOLDER.search(program):
            raise EdgeError("--on-digit runs no command that a result names: write the program out")
        if shutil.which(program) is None:
            raise EdgeError(f"--on-digit: no command {program!r} here; install it or give its path")
        self._program = program
        self._last_failure = ""
        self._passed_over = False
        self._queue: queue.Queue[list[str] | None] = queue.Queue(MAX_WAITING + 1)
        self._stop_at: float | None = None
        self._worker = threading.Thread(target=self._work, name="on-digit", daemon=True)
        self._worker.start()

    @property
    def waiting(self) -> int:
        """Commands not run to their end yet."""
        return self._queue.unfinished_tasks

    @property
    def full(self) -> bool:
        """Whether the next digits may be passed over."""
        return self.waiting >= MAX_WAITING

    def write(self, record: dict[str, object]) -> None:
        """Have the command run for a record that is a digit; others are passed over."""
        if "label" not in record or not record.get("accepted", True):
            return
        if self._queue.unfinished_tasks > MAX_WAITING:
            if not self._passed_over:
                report(EdgeError(f"--on-digit {self._program}: {MAX_WAITING} runs wait already: "
                                 "digits are passed over; make it quicker"))  # fmt: skip
            self._passed_over = True
            return
        self._queue.put([_fill(argument, record) for argument in self._arguments])

    def close(self) -> None:
        """Wait for the commands asked for; EdgeError where some could not be run in time."""
        self._stop_at = time.monotonic() + TIMEOUT_S
        self._queue.put(None)
        self._worker.join()
        left = self._queue.qsize()
        if left:
            raise EdgeError(f"--on-digit {self._program}: not run for the last {left} digits")

    def _work(self) -> None:
        while (arguments := self._queue.get()) is not None:
            if self._stop_at is not None and time.monotonic() > self._stop_at:
                return
            self._run(arguments)
            self._queue.task_done()
        self._queue.task_done()

    def _run(self, arguments: list[str]) -> None:
        try:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=2,  # stdout is for results
                start_new_session=True,  # so that its children end with it
            )
        except (OSError, ValueError) as error:
            self._fail(f"cannot be run: {getattr(error, 'strerror', None) or error}")
            return
        try:
            status = process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            self._fail(f"ended after {TIMEOUT_S:g} s: start what takes longer in the background")
            return
        if status == 0:
            self._last_failure = ""
        else:
            self._fail(f"ended with status {status}")

    def _fail(self, reason: str) -> None:
        """Say what went wrong; the same thing over and over only once."""
        if reason != self._last_failure:
            report(EdgeError(f"--on-digit {self._program}: {reason}"))
        self._last_failure = reason


def _fill(argument: str, record: dict[str, object]) -> str:
    return _PLACEHOLDER.sub(lambda found: _text(found[1], record.get(found[1], "")), argument)


def _text(name: str, value: object) -> str:
    if name == "confidence" and isinstance(value, float):
        return f"{value:.4f}"
    # A file named like an option is no option.
    return f"./{value}" if name == "image" and str(value).startswith("-") else str(value)
