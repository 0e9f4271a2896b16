"""Run a user's command for each digit or number, without a shell: `--on-digit`, `--on-number`.

`runtime.outputs.sinks.open_sinks` creates a `CommandHook` for `digit-edge watch` and `camera`.
"""

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
from decimal import Decimal

from runtime.errors import EdgeError, report

# A run of the command that takes longer is killed. `close` starts waiting runs for this time; the
# remaining runs are dropped.
TIMEOUT_S = 10.0
MAX_WAITING_RUNS = 100  # if more runs are waiting, further digits are skipped

# Program → its options before a text that it runs as code. In such a text, a file name like
# `$(reboot).png` would be run.
_CODE_OPTIONS = {
    **dict.fromkeys(
        ("sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "yash", "fish", "csh", "tcsh", "rbash"),
        r"-[A-Za-z]*c[A-Za-z]*|--command|--init-command|-C",
    ),
    **dict.fromkeys(("python", "pypy"), r"-[A-Za-z]*c"),
    **dict.fromkeys(("perl", "ruby", "lua", "osascript"), r"-[A-Za-z]*[eE]"),
    **dict.fromkeys(("node", "nodejs"), r"-[A-Za-z]*[ep]|--eval|--print"),
    "php": r"-[A-Za-z]*[rBRE]|--run",
    "pwsh": r"-[Cc].*",
    "env": r"-[A-Za-z]*S|--split-string",
    **dict.fromkeys(("su", "runuser", "script", "flock"), r"-[A-Za-z]*c|--command"),
}
_JOINERS = {"ssh", "watch", "parallel", "eval"}  # they give all their arguments to a shell
_TEXT_FIRST = {"awk", "gawk", "mawk", "sed"}  # their first argument is code, further ones are files
_FILES = {"{image}", "{label}"}  # arguments that are only a placeholder
_SAFE_LABEL = re.compile(r"[A-Za-z0-9_.+-]+")  # labels that are no code in any shell
_VARIABLES = "DIGIT_EDGE_"  # prefix of the environment variables with the values of the record

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")  # "{label}" in the command line
# Option → allowed placeholders: keys of a record. The command is run if the first one has a value.
_FIELDS = {
    "--on-digit": ("label", "confidence", "image"),
    "--on-number": ("value", "region", "confidence", "image"),
}


class CommandHook:
    """Runs a command for one digit or number after another, in a thread of its own.

    The command line is split into arguments before the placeholders are replaced. So a label or a
    file name cannot add arguments or shell syntax. The values are also in the environment of the
    command: DIGIT_EDGE_LABEL, DIGIT_EDGE_CONFIDENCE and DIGIT_EDGE_IMAGE. For a number there are
    DIGIT_EDGE_VALUE and DIGIT_EDGE_REGION in place of the label. A failed run is reported on
    stderr, unless the run before failed for the same reason.

    A command can be a shell with a text to run (`sh -c`). In this text, {image} is an error, and a
    label with other characters than letters, digits and _ . + - is not passed.

    Args:
        command: a command line, in which {label}, {confidence} (4 decimals) and {image} are
            replaced by the values of the record; with `--on-number` {value}, {region},
            {confidence} and {image}.
        option: the option of the command line, `--on-digit` or `--on-number`.

    Raises:
        EdgeError: the command line is invalid, {image} is in code, or the program is not installed.
    """

    def __init__(self, command: str, option: str = "--on-digit") -> None:
        self._option, self._fields = option, _FIELDS[option]
        self._noun = option.removeprefix("--on-")
        try:
            self._arguments = shlex.split(command)
        except ValueError as error:
            raise EdgeError(f"{option} {command!r}: {error}; close the quotes") from error
        if not self._arguments:
            raise EdgeError(f"{option}: no command; pass one, like 'echo {{{self._fields[0]}}}'")
        program = self._arguments[0]
        found = {n for a in self._arguments for n in _PLACEHOLDER.findall(a)}
        unknown = found - set(self._fields)
        if unknown:
            *others, last = (f"{{{field}}}" for field in self._fields)
            raise EdgeError(
                f"{option}: unknown placeholder {{{min(unknown)}}}; use {', '.join(others)} or "
                f"{last}"
            )
        if _PLACEHOLDER.search(program):
            raise EdgeError(f"{option}: the program must not be a placeholder; write its name")
        code = _code(self._arguments)
        if any("{image}" in text for text in code):
            raise EdgeError(
                f"{option}: {program} would run the name in {{image}} as code; write "
                f'"${_VARIABLES}IMAGE" in its place, with the quotes'
            )
        self._has_label_in_code = any("{label}" in text for text in code)
        if shutil.which(program) is None:
            raise EdgeError(
                f"{option}: command {program!r} not found; install it or write its path"
            )
        self._program = program
        self._last_failure = ""
        self._accepted = 0  # number of runs that were queued
        self._skipping = False  # whether a digit was skipped, which was reported
        # Arguments and variables of each waiting run; None ends the thread.
        self._queue: queue.Queue[tuple[list[str], dict[str, str]] | None] = queue.Queue(
            MAX_WAITING_RUNS + 1
        )
        self._stop_at: float | None = None  # time (monotonic, s) after which no run is started
        self._worker = threading.Thread(target=self._work, name=f"on-{self._noun}", daemon=True)
        self._worker.start()

    @property
    def accepted(self) -> int:
        """Number of runs that were queued."""
        return self._accepted

    @property
    def waiting(self) -> int:
        """Number of runs that are waiting or running."""
        return self._queue.unfinished_tasks

    @property
    def full(self) -> bool:
        """Whether the next digits may be skipped."""
        return self.waiting >= MAX_WAITING_RUNS

    def write(self, record: dict[str, object]) -> None:
        """Queue a run of the command; ignore rejected digits and numbers, and unreadable images.

        If too many runs are waiting, the digit is skipped. The first skipped digit is reported on
        stderr.

        Args:
            record: see `runtime.outputs.sinks`.
        """
        if record.get(self._fields[0]) is None or not record.get("accepted", True):
            return
        if self._has_label_in_code and not _SAFE_LABEL.fullmatch(str(record["label"])):
            self._fail(
                f"the label {record['label']!r} could be run as code; write "
                f'"${_VARIABLES}LABEL" in place of {{label}}, with the quotes'
            )
            return
        if self._queue.unfinished_tasks > MAX_WAITING_RUNS:
            if not self._skipping:
                report(
                    EdgeError(
                        f"{self._option} {self._program}: {MAX_WAITING_RUNS} runs are waiting, so "
                        f"further {self._noun}s are skipped; use a faster command"
                    )
                )
            self._skipping = True
            return
        self._accepted += 1
        arguments = [_fill(argument, record) for argument in self._arguments]
        variables = {
            f"{_VARIABLES}{name.upper()}": _text(name, record.get(name, ""))
            for name in self._fields
        }
        self._queue.put((arguments, variables))

    def close(self) -> None:
        """Wait for the queued runs, for about twice `TIMEOUT_S` at most.

        Raises:
            EdgeError: a run could not be started within `TIMEOUT_S`.
        """
        self._stop_at = time.monotonic() + TIMEOUT_S
        self._queue.put(None)
        self._worker.join()
        not_run = self._queue.qsize()
        if not_run:
            raise EdgeError(
                f"{self._option} {self._program}: the command was not run for the last {not_run} "
                f"{self._noun}{'s' * (not_run > 1)}; use a faster command"
            )

    def _work(self) -> None:
        while (run := self._queue.get()) is not None:
            if self._stop_at is not None and time.monotonic() > self._stop_at:
                return
            self._run(*run)
            self._queue.task_done()
        self._queue.task_done()

    def _run(self, arguments: list[str], variables: dict[str, str]) -> None:
        try:
            process = subprocess.Popen(
                arguments,
                env=os.environ | variables,
                stdin=subprocess.DEVNULL,
                stdout=2,  # stderr, because stdout is for results
                start_new_session=True,  # a new process group, to kill the command's children too
            )
        except (OSError, ValueError) as error:
            self._fail(f"the command cannot be run: {getattr(error, 'strerror', None) or error}")
            return
        try:
            status = process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            self._fail(
                f"the command was killed after {TIMEOUT_S:g} s; run longer commands in the "
                "background"
            )
            return
        if status == 0:
            self._last_failure = ""
        else:
            self._fail(f"the command exited with status {status}")

    def _fail(self, reason: str) -> None:
        """Report a failure, unless the last run failed for the same reason."""
        if reason != self._last_failure:
            report(EdgeError(f"{self._option} {self._program}: {reason}"))
        self._last_failure = reason


def _code(arguments: list[str]) -> list[str]:
    """Return the arguments of a command that a shell or an interpreter in it runs as code."""
    code = []
    for at, argument in enumerate(arguments):
        # "/usr/bin/python3.11" → "python"
        program = os.path.basename(argument).rstrip("0123456789.")
        if program in _JOINERS:
            code += arguments[at + 1 :]
        if program in _TEXT_FIRST:
            code += [other for other in arguments[at + 1 :] if other not in _FILES]
        options = _CODE_OPTIONS.get(program)
        if options is None:
            continue
        for option in range(at + 1, len(arguments)):
            name, _, value = arguments[option].partition("=")
            if re.fullmatch(options, name):
                text = option + 1
                # Further options may follow: sh -c -e 'text'.
                while text < len(arguments) and arguments[text].startswith("-"):
                    text += 1
                code += [value, *arguments[option + 1 : text + 1]]
            elif re.match(options, name):  # glued, such as -c'text'
                code.append(arguments[option])
    return code


def _fill(argument: str, record: dict[str, object]) -> str:
    """Fill in the placeholders of one argument."""
    return _PLACEHOLDER.sub(lambda match: _text(match[1], record.get(match[1], "")), argument)


def _text(name: str, value: object) -> str:
    """Return the text that replaces a placeholder."""
    if name == "confidence" and isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, float):
        return f"{Decimal(repr(value)):f}"  # 0.00001, not 1e-05
    # A program would read "-x.png" as an option, but not "./-x.png".
    return f"./{value}" if name == "image" and str(value).startswith("-") else str(value)
