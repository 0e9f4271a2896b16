"""`exit_status`: run a command's `main`, print its error in one line, and return its exit status.

Every `__main__.py` ends with `sys.exit(exit_status(main))`. It also handles Ctrl-C, a full disk, a
closed pipe and missing packages.
"""

import sys
from collections.abc import Callable
from contextlib import suppress

from runtime.errors import BAD_INPUT, EdgeError, report
from runtime.system import interrupt, streams
from runtime.system.interrupt import INTERRUPTED


def exit_status(main: Callable[[], int], needs_stdout: bool = True) -> int:
    """Run a command; print its `EdgeError` and return the exit status.

    Args:
        main: the command's main function; it returns a status.
        needs_stdout: False if the result is a file, so that the command continues if the reader of
            its standard output exits.

    Returns:
        0 success · 2 bad input or usage, or lost lines on standard output · 3 a failed check ·
        130 interrupted.
    """
    status, failure = 0, None
    with streams.guarded(needs_stdout):
        with interrupt.Command() as command:
            status, failure = _run(main)
        with suppress(BrokenPipeError):
            sys.stdout.flush()  # before the line on stderr, which may be the same file
        lost = streams.lost_output()
        if command.end():
            return INTERRUPTED
        if failure is not None:
            report(failure)
        elif lost is not None:
            report(EdgeError(lost))
            status = status or BAD_INPUT
        return status


def _run(main: Callable[[], int]) -> tuple[int, EdgeError | None]:
    """Return a command's exit status, and its error or None."""
    try:
        try:
            status = main()
        except SystemExit as exit_request:  # raised by argparse for --help and for wrong options
            if not isinstance(exit_request.code, int | None):
                raise
            status = exit_request.code or 0
        sys.stdout.flush()
        return status, None
    except EdgeError as error:
        return error.exit_code, error
    except ModuleNotFoundError as error:
        # A device has the packages of the runtime only; name the extra for training and export.
        package = (error.name or "").partition(".")[0]
        if package in ("", "digit_edge", "train", "export", "runtime", "benchmarks"):
            raise
        missing = f'{package} is not installed: pip install "digit-edge[train]"'
        return BAD_INPUT, EdgeError(missing)
    except MemoryError:
        message = "out of memory: end other programs, or raise the memory limit of this one"
        return BAD_INPUT, EdgeError(message)
    except BrokenPipeError:
        return 0, None  # the reader of standard output has exited (`… | head`)
    except OSError as error:
        # `tempfile` raises it without a file name if no folder for temporary files is writable.
        no_temporary = isinstance(error, FileNotFoundError) and error.filename is None
        if error.errno not in streams.NO_ROOM and not no_temporary:
            raise
        return BAD_INPUT, EdgeError(
            f"cannot write {error.filename or 'a file'}: {error.strerror}; make room on its disk, "
            "or set TMPDIR to a folder with room for temporary files, and run it again"
        )
