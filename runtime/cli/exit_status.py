"""Runs a command: its exit status, and its error on one line."""

import sys
from collections.abc import Callable
from contextlib import suppress

from runtime.errors import BAD_INPUT, EdgeError, report
from runtime.system import interrupt, streams
from runtime.system.interrupt import INTERRUPTED


def exit_status(main: Callable[[], int], needs_stdout: bool = True) -> int:
    """Run a command and turn what it refuses into a message and an exit status.

    Args:
        main: the command.
        needs_stdout: False if it writes files, so that it goes on if the reader of a pipe leaves.

    Returns:
        0 done · 2 bad input or usage, or lost lines on standard output · 3 a failed check ·
        130 interrupted.
    """
    status, refusal = 0, None
    with streams.guarded(needs_stdout):
        with interrupt.Command() as command:
            status, refusal = _run(main)
        with suppress(BrokenPipeError):
            sys.stdout.flush()  # before the line on stderr, which may go to the same file
        lost = streams.lost_output()
        if command.end():
            return INTERRUPTED
        if refusal is not None:
            report(refusal)
        elif lost is not None:
            report(EdgeError(lost))
            status = status or BAD_INPUT
        return status


def _run(main: Callable[[], int]) -> tuple[int, EdgeError | None]:
    """Return a command's exit status, and the error if it ended with one."""
    try:
        try:
            status = main()
        except SystemExit as stop:  # argparse, after --help and after wrong options
            if not isinstance(stop.code, int | None):
                raise
            status = stop.code or 0
        sys.stdout.flush()
        return status, None
    except EdgeError as error:
        return error.exit_code, error
    except ModuleNotFoundError as error:
        # The device has the runtime alone; what trains and exports is asked for by name.
        package = (error.name or "").partition(".")[0]
        if package in ("", "train", "export", "runtime", "benchmarks"):
            raise
        missing = f'{package} is not installed: pip install "digit-edge[train]"'
        return BAD_INPUT, EdgeError(missing)
    except MemoryError:
        full = "out of memory: end other programs, or raise the limit on this one"
        return BAD_INPUT, EdgeError(full)
    except BrokenPipeError:
        return 0, None  # the reader left (`… | head`)
    except OSError as error:
        # The one without a name is that of `tempfile`, if no folder for temporary files has room.
        no_temporary = isinstance(error, FileNotFoundError) and error.filename is None
        if error.errno not in streams.NO_ROOM and not no_temporary:
            raise
        return BAD_INPUT, EdgeError(
            f"cannot write {error.filename or 'a file'}: {error.strerror}; make room on its disk, "
            "or set TMPDIR to a folder with room for temporary files, and run it again"
        )
