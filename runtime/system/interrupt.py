"""Handle Ctrl-C: whenever SIGINT arrives, a command prints one line and exits with status 130.

Python's own handler raises KeyboardInterrupt between any two instructions. That is not enough: a
destructor or a callback prints and drops the exception, and scikit-learn turns it into a warning.
The command then continues. The handler in this module records each interrupt and has three modes:

    immediate    raise KeyboardInterrupt; for waits and short work; the default in a command.

    deferred     raise nothing; a call of `check` raises KeyboardInterrupt later.

    at_once      end the process; for imports, which may suppress an exception or crash.

A second Ctrl-C ends the process in any mode. `runtime.cli.exit_status` runs every command inside
`Command`, which installs the handler. In a program that imports `runtime` as a library, this module
has no effect.
"""

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from types import FrameType, TracebackType

from runtime.system import streams

INTERRUPTED = 130  # exit status after Ctrl-C: 128 + the number of SIGINT, as in a shell

_MESSAGE = "interrupted"  # the line that is printed unless `report_as` sets another line
_WRITE = streams.Output.write.__code__  # KeyboardInterrupt is not raised inside this function

# Two signals within this time count as one Ctrl-C; a later second signal ends the process.
# `timeout -s INT` sends one signal to the process and one to its process group.
_SAME_CTRL_C_S = 0.05

_AFTER_WRITE_S = 0.002  # an interrupt that arrives during a write is raised after this delay


class _Mode(Enum):
    """The reaction to the first Ctrl-C."""

    IMMEDIATE = "raise KeyboardInterrupt"
    DEFERRED = "record the interrupt for `check`"
    AT_ONCE = "end the process"


class _State:
    """The state of the one handler of this process."""

    def __init__(self) -> None:
        self.mode = _Mode.IMMEDIATE
        self.pending = False  # whether an interrupt was recorded
        self.pending_since_s = 0.0  # time (monotonic) of the recorded interrupt
        self.is_redelivery = False  # whether the next signal is the recorded one, sent again
        self.message = _MESSAGE
        self.reported = False  # whether the message was printed
        self.children: set[int] = set()  # ids of processes that a second Ctrl-C kills
        # A copy of file descriptor 2, because `suppress_native_output` redirects 2 to /dev/null.
        self.stderr = 2
        self.unraisable_hook: Callable[[sys.UnraisableHookArgs], object] = sys.unraisablehook


_state = _State()


def install_for(package: str) -> None:
    """Install the handler if this process runs a command of the package.

    The `__init__.py` of each package calls this function before its other imports. A command is
    `python -m package…` or `digit-edge`. Until the command begins, the process only imports
    modules, and Ctrl-C ends the process at once.

    Args:
        package: name of the package, such as "runtime" or "digit_edge.runtime".
    """
    if _is_command(package) and install():
        _state.mode = _Mode.AT_ONCE
        # Exit handlers run in reverse order, so this one is the last. Afterwards Python restores
        # the default action of SIGINT, which would kill a process that has finished its work.
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)


def _is_command(package: str) -> bool:
    """Return whether this process runs `digit-edge` or a module of the package with -m."""
    # argv[0] is "-m" while Python locates the module to run and imports its packages.
    if sys.argv[:1] == ["-m"] and "-m" in sys.orig_argv[:-1]:
        module = sys.orig_argv[sys.orig_argv.index("-m") + 1]
        return f"{module}.".startswith((f"{package}.", "digit_edge."))
    return os.path.basename(sys.argv[0] if sys.argv else "").startswith("digit-edge")


def install() -> bool:
    """Install the handler for SIGINT.

    A process that was started with SIGINT ignored (nohup, `command &` in a script) continues to
    ignore SIGINT.

    Returns:
        True if the handler was installed. False if SIGINT is ignored or has another handler, or if
        this is not the main thread, because Python then allows no handler.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return False
    streams.open_closed_descriptors()  # otherwise the copy of stderr could be descriptor 1
    _state.stderr = os.dup(2)
    _state.unraisable_hook = sys.unraisablehook
    sys.unraisablehook = _on_unraisable
    signal.signal(signal.SIGINT, _on_sigint)
    return True


def uninstall() -> None:
    """Restore Python's own handler of SIGINT and clear a recorded interrupt."""
    global _state
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.unraisablehook = _state.unraisable_hook
    if _state.stderr != 2:
        os.close(_state.stderr)
    _state = _State()


class Command:
    """The context in which `exit_status` runs a command, in the mode `immediate`.

    After an interrupt, every exception of the block is suppressed. An import may turn the
    KeyboardInterrupt into an ImportError, and a converter may turn it into an error of its own.
    Call `end` after the block.
    """

    def __enter__(self) -> "Command":
        self._installed = install()
        _state.mode = _Mode.IMMEDIATE
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        _state.mode = _Mode.DEFERRED
        if kind is KeyboardInterrupt:
            _state.pending = True
        if kind is not None and not _state.pending:
            self._restore()  # the exception is a bug, and Python prints its traceback
        return _state.pending

    def end(self) -> bool:
        """Print the message if there was an interrupt; return whether there was an interrupt."""
        interrupted = _state.pending
        if interrupted:
            _state.reported = True
            print(_state.message, file=sys.stderr)
            # namedtuple and dataclass call `exec` with a text. If KeyboardInterrupt was raised
            # through such an `exec`, Python kills itself with SIGINT at exit, unless another `exec`
            # follows.
            exec("")
        self._restore()
        return interrupted

    def _restore(self) -> None:
        if self._installed:
            self._installed = False
            uninstall()
        elif signal.getsignal(signal.SIGINT) is not _on_sigint:
            # SIGINT is ignored or has another handler, so other code raised the KeyboardInterrupt.
            # The KeyboardInterrupt must not end the next command in this process.
            _state.pending = _state.reported = False


def report_as(message: str) -> None:
    """Set the line that is printed after an interrupt of this command, instead of "interrupted"."""
    _state.message = message


def check() -> None:
    """Raise KeyboardInterrupt if an interrupt was recorded."""
    if _state.pending:
        raise KeyboardInterrupt


@contextmanager
def deferred() -> Iterator[None]:
    """Only record an interrupt within the block.

    Raises:
        KeyboardInterrupt: at the end of the block, and at the start if an interrupt was recorded
            before; in the block from `check`.
    """
    with _in_mode(_Mode.DEFERRED):
        yield


@contextmanager
def immediate() -> Iterator[None]:
    """Raise KeyboardInterrupt at any point of the block; for waits within `deferred`.

    Raises:
        KeyboardInterrupt: at the start of the block too, if an interrupt was recorded before.
    """
    with _in_mode(_Mode.IMMEDIATE):
        yield


@contextmanager
def at_once() -> Iterator[None]:
    """End the process if an interrupt arrives within the block, without running `finally` clauses.

    Raises:
        KeyboardInterrupt: at the start of the block, if an interrupt was recorded before.
    """
    sys.stdout.flush()
    with _in_mode(_Mode.AT_ONCE):
        yield


@contextmanager
def child(pid: int) -> Iterator[None]:
    """Kill a child process and its process group if a second Ctrl-C arrives within the block.

    Args:
        pid: id of the child process.
    """
    _state.children.add(pid)
    try:
        yield
    finally:
        _state.children.discard(pid)


@contextmanager
def _in_mode(mode: _Mode) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # Python runs signal handlers in the main thread only
        return
    previous, _state.mode = _state.mode, mode
    try:
        check()  # otherwise an interrupt recorded earlier would not end a wait
        yield
    finally:
        _state.mode = previous
    check()


def _on_sigint(number: int, frame: FrameType | None) -> None:
    now_s = time.monotonic()
    if _state.is_redelivery:
        _state.is_redelivery = False
        _raise(frame)
        return
    if _state.mode is _Mode.AT_ONCE:
        _end_process()
    if _state.pending:
        if now_s - _state.pending_since_s > _SAME_CTRL_C_S:
            _end_process()
        return
    _state.pending, _state.pending_since_s = True, now_s
    _raise(frame)


def _raise(frame: FrameType | None) -> None:
    if _state.mode is not _Mode.IMMEDIATE:
        return
    if frame is None or frame.f_code is not _WRITE:
        raise KeyboardInterrupt
    # An exception here would hide that the bytes were written, and the caller would write the bytes
    # again.
    timer = threading.Timer(_AFTER_WRITE_S, _redeliver)
    timer.daemon = True
    timer.start()


def _redeliver() -> None:
    if _state.pending and _state.mode is _Mode.IMMEDIATE:
        _state.is_redelivery = True
        os.kill(os.getpid(), signal.SIGINT)


def _end_process() -> None:
    for pid in _state.children:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
        with suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
    if not _state.reported:
        # sys.stderr cannot be used, because the interrupted code may be writing to it.
        with suppress(OSError):
            os.write(_state.stderr, f"{_state.message}\n".encode(errors="backslashreplace"))
    os._exit(INTERRUPTED)


def _on_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    """Suppress the traceback of a KeyboardInterrupt in a destructor or callback.

    The handler has recorded the interrupt already.
    """
    if not (_state.pending and unraisable.exc_type is KeyboardInterrupt):
        _state.unraisable_hook(unraisable)
