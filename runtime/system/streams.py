"""Standard output and standard error of a command, also if they cannot be written.

A lost line does not stop the work: a training whose log is on a full disk still saves its model.
`exit_status` then reports the loss once and returns 2. A command whose lines are its only result
raises an error of its own as soon as `lost_output` returns one.
"""

import errno
import io
import os
import select
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# A full disk, a quota, a limit on the size of files. Windows has no quotas of this kind.
NO_ROOM = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


# Bytes that a pipe takes without blocking once it is writable. Windows waits for none.
_PIPE_BUF = getattr(select, "PIPE_BUF", sys.maxsize)


class Output(io.FileIO):
    """A file descriptor that drops everything after the first write that fails.

    The interpreter flushes the streams at its end: they must not fail a second time there.
    """

    def __init__(self, descriptor: int, is_needed: bool, was_closed: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._is_needed = is_needed
        self.was_closed = was_closed
        may_block = not stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._most_bytes = _PIPE_BUF if may_block else sys.maxsize
        self.failure: OSError | None = None

    def write(self, data: bytes | bytearray | memoryview, /) -> int:  # type: ignore[override]  # no other buffers come
        """Write some or all of the bytes, or drop them.

        Raises:
            BrokenPipeError: the reader of standard output has left; raised once.
        """
        if self.failure is None:
            try:
                if self.was_closed:
                    raise OSError(errno.EBADF, "it is closed")
                self._wait()
                return super().write(memoryview(data)[: self._most_bytes])
            except BrokenPipeError as error:
                self.failure = error
                if self._is_needed:
                    raise
            except OSError as error:
                self.failure = error
        return memoryview(data).nbytes

    def _wait(self) -> None:
        """Wait until a write does not block. Here, unlike in `write`, Ctrl-C raises at once."""
        if self._most_bytes < sys.maxsize:
            select.select((), (self.fileno(),), ())


_stdout: Output | None = None


@contextmanager
def guarded(needs_stdout: bool) -> Iterator[None]:
    """Replace `sys.stdout` and `sys.stderr` within the block; a failing write raises no OSError.

    Args:
        needs_stdout: whether BrokenPipeError is raised once if the reader of a pipe leaves.

    Streams that somebody else has put there, such as pytest, stay as they are.
    """
    global _stdout
    open_closed_descriptors()
    before, stdout_before = (sys.stdout, sys.stderr), _stdout
    for stream in before:
        # A file name or a tick that the terminal's encoding lacks is no reason to fail.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if _is_plain(sys.stdout, sys.__stdout__):
        _stdout = Output(1, needs_stdout, was_closed=sys.stdout is None)
        sys.stdout = _text(_stdout, sys.stdout)
    if _is_plain(sys.stderr, sys.__stderr__):
        sys.stderr = _text(Output(2, False, was_closed=False), sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        _stdout = stdout_before


def lost_output() -> str | None:
    """Return an error message if a line on standard output was lost, or None.

    The reader of a pipe that has left (`… | head`) has not lost anything.
    """
    failure = None if _stdout is None else _stdout.failure
    if failure is None or isinstance(failure, BrokenPipeError):
        return None
    remedy = "make room" if failure.errno in NO_ROOM else "redirect it"
    return f"cannot write to standard output: {failure.strerror}; {remedy} and run it again"


def is_closed() -> bool:
    """Return whether the command was started with standard output closed."""
    return _stdout is not None and _stdout.was_closed


def open_closed_descriptors() -> None:
    """Open the null device as each of descriptors 0, 1 and 2 that is closed (`>&-`).

    Otherwise the next file that is opened would be standard output for a native library.
    """
    if None in (sys.__stdin__, sys.__stdout__, sys.__stderr__):
        for descriptor in (0, 1, 2):
            try:
                os.fstat(descriptor)
            except OSError:
                os.open(os.devnull, os.O_RDWR)


def _is_plain(stream: object, original: object) -> bool:
    """Return whether the stream is Python's own, or None because it was closed."""
    if stream is None or stream is not original:
        return stream is original
    buffer = getattr(stream, "buffer", None)
    return isinstance(getattr(buffer, "raw", buffer), io.FileIO)


def _text(raw: Output, like: object) -> io.TextIOWrapper:
    old = like if isinstance(like, io.TextIOWrapper) else None
    # Under `python -u` there is no buffer, and what a write leaves over is lost without an error.
    # A buffer that is flushed after each line is the same for a reader.
    unbuffered = old is not None and isinstance(old.buffer, io.RawIOBase)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),  # type: ignore[type-var]  # typeshed wants another `write`
        encoding="utf-8" if old is None else old.encoding,
        errors="backslashreplace",
        line_buffering=unbuffered or (old is not None and old.line_buffering),
    )
