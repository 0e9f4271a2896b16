"""Ctrl-C: a command ends with status 130 and one line, at whatever moment it arrives.

Python's own handler raises KeyboardInterrupt between any two instructions. In a destructor or a
callback it is printed and dropped, and scikit-learn turns it into a warning: the command goes on.
The handler here also records the interrupt, so that it cannot be lost. It has three modes:

    immediate    raise KeyboardInterrupt; for waits and short work, and the default in a command
    deferred     only record it; `check`, called at each step, raises KeyboardInterrupt
    at_once      end the process; for imports, which may swallow an exception or crash on it

A second Ctrl-C ends the process in any mode. Unless a command has called `install` nothing here
has an effect: a library leaves the signal handlers of a program alone.
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

INTERRUPTED = 130

_MESSAGE = "interrupted"
_WRITE = streams.Output.write.__code__
# Two signals within this time are one Ctrl-C: `timeout -s INT` sends one to the process and one to
# its group.
_SAME_S = 0.05
_AFTER_WRITE_S = 0.002  # until an interrupt that came in the middle of a write is raised


class _Mode(Enum):
    IMMEDIATE = "raise KeyboardInterrupt"
    DEFERRED = "record it for `check`"
    AT_ONCE = "end the process"


class _State:
    """The state of the one handler of this process."""

    def __init__(self) -> None:
        self.mode = _Mode.IMMEDIATE
        self.pending = False
        self.pending_since_s = 0.0
        self.is_again = False  # whether the next signal is the recorded one, sent once more
        self.message = _MESSAGE
        self.reported = False
        self.children: set[int] = set()
        # A copy of file descriptor 2: `suppress_native_output` redirects that one to /dev/null.
        self.stderr = 2
        self.unraisable_hook: Callable[[sys.UnraisableHookArgs], object] = sys.unraisablehook


_state = _State()


def install_for(package: str) -> None:
    """Install the handler if this process is `python -m package…`; called by the package itself.

    Until the command begins there are only imports, and an interrupt ends the process at once.
    """
    # While Python locates the module to run, and imports the packages it is in, argv[0] is "-m".
    if sys.argv[:1] != ["-m"] or "-m" not in sys.orig_argv[:-1]:
        return
    module = sys.orig_argv[sys.orig_argv.index("-m") + 1]
    if module.partition(".")[0] == package and install():
        _state.mode = _Mode.AT_ONCE
        # The last thing that Python calls; after it the signal would kill the process, which has
        # done its work.
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)


def install() -> bool:
    """Handle SIGINT from now on; return False if it is handled or ignored already.

    A process that was started with SIGINT ignored (nohup, `command &` in a script) goes on ignoring
    it. Only the main thread may set a signal handler.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return False
    streams.open_closed_descriptors()  # a copy of stderr must not become descriptor 1
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
    """The context in which `exit_status` runs a command; within it the mode is `immediate`.

    If there was an interrupt, the block ends without an exception, whatever it was turned into: an
    import may make an ImportError of it, a converter an error of its own.
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
            self._restore()  # a bug: the traceback is on its way
        return _state.pending

    def end(self) -> bool:
        """Return whether there was an interrupt, after printing the line for it."""
        interrupted = _state.pending
        if interrupted:
            _state.reported = True
            print(_state.message, file=sys.stderr)
            # If KeyboardInterrupt has left an `exec` of text (namedtuple and dataclass use it),
            # Python kills itself with SIGINT at its end, unless another `exec` came after it.
            exec("")
        self._restore()
        return interrupted

    def _restore(self) -> None:
        if self._installed:
            self._installed = False
            uninstall()
        elif signal.getsignal(signal.SIGINT) is not _on_sigint:
            # SIGINT is ignored or handled elsewhere, so this KeyboardInterrupt was raised by other
            # code. It has ended this command, and must not end the next one of the process.
            _state.pending = _state.reported = False


def report_as(message: str) -> None:
    """Set the line that is printed after an interrupt."""
    _state.message = message


def check() -> None:
    """Raise KeyboardInterrupt if an interrupt was recorded."""
    if _state.pending:
        raise KeyboardInterrupt


@contextmanager
def deferred() -> Iterator[None]:
    """Only record an interrupt within the block; `check` raises it, and so does the end."""
    with _in_mode(_Mode.DEFERRED):
        yield


@contextmanager
def immediate() -> Iterator[None]:
    """Raise KeyboardInterrupt at any point of the block, for a wait within `deferred`."""
    with _in_mode(_Mode.IMMEDIATE):
        yield


@contextmanager
def at_once() -> Iterator[None]:
    """End the process if an interrupt arrives within the block, which has nothing to clean up."""
    sys.stdout.flush()
    with _in_mode(_Mode.AT_ONCE):
        yield


@contextmanager
def child(pid: int) -> Iterator[None]:
    """Kill a child process and its process group if a second Ctrl-C arrives within the block."""
    _state.children.add(pid)
    try:
        yield
    finally:
        _state.children.discard(pid)


@contextmanager
def _in_mode(mode: _Mode) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are handled in the main thread
        return
    before, _state.mode = _state.mode, mode
    try:
        check()  # one that was recorded before would not end a wait
        yield
    finally:
        _state.mode = before
    check()


def _on_sigint(number: int, frame: FrameType | None) -> None:
    now_s = time.monotonic()
    if _state.is_again:
        _state.is_again = False
        _raise(frame)
        return
    if _state.mode is _Mode.AT_ONCE:
        _end_process()
    if _state.pending:
        if now_s - _state.pending_since_s > _SAME_S:
            _end_process()
        return
    _state.pending, _state.pending_since_s = True, now_s
    _raise(frame)


def _raise(frame: FrameType | None) -> None:
    if _state.mode is not _Mode.IMMEDIATE:
        return
    if frame is None or frame.f_code is not _WRITE:
        raise KeyboardInterrupt
    # In a write an exception would hide that the bytes are out: they would be written again.
    timer = threading.Timer(_AFTER_WRITE_S, _deliver_again)
    timer.daemon = True
    timer.start()


def _deliver_again() -> None:
    if _state.pending and _state.mode is _Mode.IMMEDIATE:
        _state.is_again = True
        os.kill(os.getpid(), signal.SIGINT)


def _end_process() -> None:
    for pid in _state.children:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
        with suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
    if not _state.reported:
        # Not through sys.stderr: the interrupted code may be in the middle of a write to it.
        with suppress(OSError):
            os.write(_state.stderr, f"{_state.message}\n".encode(errors="backslashreplace"))
    os._exit(INTERRUPTED)


def _on_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    """Print no traceback of a KeyboardInterrupt in a destructor or callback: it is recorded."""
    if not (_state.pending and unraisable.exc_type is KeyboardInterrupt):
        _state.unraisable_hook(unraisable)
