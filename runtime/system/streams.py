"""Standard output and standard error that survive a full disk, a closed pipe or a lost terminal.

`runtime.cli.exit_status` runs every command inside `guarded`. A lost line does not stop a command:
a training whose log is on a full disk still saves its model. At the end, `exit_status` reports the
loss once and returns the exit status 2. The lines of `digit-edge classify` are its only result, so
it calls `lost_output` to stop early.
"""

import errno
import io
import os
import select
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Error numbers for a full disk, a file size limit and a disk quota. The error message then advises
# to make room. Windows has no EDQUOT.
NO_ROOM = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}

# Bytes that a writable pipe accepts without blocking; longer output is written in several parts.
# Windows does not define this number, so nothing is split on Windows.
_PIPE_BUF_BYTES = getattr(select, "PIPE_BUF", sys.maxsize)


class Output(io.FileIO):
    """A raw stream that discards everything after the first failed write.

    The interpreter flushes the streams at exit, and this flush must not fail a second time.

    Args:
        descriptor: file descriptor to write to: 1 (stdout) or 2 (stderr). `close` leaves it open.
        is_needed: whether `write` raises BrokenPipeError, once, if the reader of the pipe exits.
        was_closed: whether the descriptor was closed when the command started; each write then
            fails.

    Attributes:
        was_closed: the argument of this name.
        failure: the error of the first failed write; None if no write has failed.
    """

    def __init__(self, descriptor: int, is_needed: bool, was_closed: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._is_needed = is_needed
        self.was_closed = was_closed
        may_block = not stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._max_bytes = _PIPE_BUF_BYTES if may_block else sys.maxsize
        self.failure: OSError | None = None

    def write(self, data: bytes | bytearray | memoryview, /) -> int:  # type: ignore[override]  # callers pass these types only
        """Write some or all of the bytes, or discard all of them after a failure.

        Returns:
            The number of written or discarded bytes.

        Raises:
            BrokenPipeError: the reader of the pipe has exited, and `is_needed` is True; raised
                once.
        """
        if self.failure is None:
            try:
                if self.was_closed:
                    raise OSError(errno.EBADF, "it is closed")
                self._wait()
                return super().write(memoryview(data)[: self._max_bytes])
            except BrokenPipeError as error:
                self.failure = error
                if self._is_needed:
                    raise
            except OSError as error:
                self.failure = error
        return memoryview(data).nbytes

    def _wait(self) -> None:
        """Wait until a write does not block: Ctrl-C ends this wait, but not a blocked write."""
        if self._max_bytes < sys.maxsize:
            select.select((), (self.fileno(),), ())


_stdout: Output | None = None  # the stream that replaces sys.stdout; None outside `guarded`


@contextmanager
def guarded(needs_stdout: bool) -> Iterator[None]:
    """Replace `sys.stdout` and `sys.stderr` within the block by streams on an `Output`.

    Streams that were replaced before, for example by pytest, are kept.

    Args:
        needs_stdout: whether a write to standard output raises BrokenPipeError, once, if the reader
            exits.
    """
    global _stdout
    open_closed_descriptors()
    previous, previous_stdout = (sys.stdout, sys.stderr), _stdout
    for stream in previous:
        # Escape characters that the terminal's encoding lacks, instead of raising an error.
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
        sys.stdout, sys.stderr = previous
        _stdout = previous_stdout


def lost_output() -> str | None:
    """Return an error message if a line on standard output was lost, otherwise None.

    A reader that has exited (`… | head`) does not count as a loss.
    """
    failure = None if _stdout is None else _stdout.failure
    if failure is None or isinstance(failure, BrokenPipeError):
        return None
    remedy = "make room" if failure.errno in NO_ROOM else "redirect the output"
    return (
        f"cannot write to standard output: {failure.strerror}; {remedy} and run the command again"
    )


def is_closed() -> bool:
    """Return whether the command was started with standard output closed (`>&-`)."""
    return _stdout is not None and _stdout.was_closed


def open_closed_descriptors() -> None:
    """Open the null device for each of the descriptors 0, 1 and 2 that is closed (`>&-`).

    Otherwise the next opened file would get the number of the closed descriptor, and native
    libraries would print into this file.
    """
    if None in (sys.__stdin__, sys.__stdout__, sys.__stderr__):
        for descriptor in (0, 1, 2):
            try:
                os.fstat(descriptor)
            except OSError:
                os.open(os.devnull, os.O_RDWR)


def _is_plain(stream: object, original: object) -> bool:
    """Return whether `stream` is Python's own: not replaced, or None for a closed descriptor."""
    if stream is None or stream is not original:
        return stream is original
    buffer = getattr(stream, "buffer", None)
    return isinstance(getattr(buffer, "raw", buffer), io.FileIO)


def _text(raw: Output, like: object) -> io.TextIOWrapper:
    """Return a text stream that writes to `raw`.

    Args:
        raw: the raw stream.
        like: the stream to replace. Encoding and buffering are the same; UTF-8 and buffered if it
            is not a text stream.
    """
    old = like if isinstance(like, io.TextIOWrapper) else None
    # `python -u` has no buffer, so the rest of a partial write would be lost without an error. A
    # buffer that is flushed after each line looks the same to a reader.
    unbuffered = old is not None and isinstance(old.buffer, io.RawIOBase)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),  # type: ignore[type-var]  # `Output.write` takes fewer types
        encoding="utf-8" if old is None else old.encoding,
        errors="backslashreplace",
        line_buffering=unbuffered or (old is not None and old.line_buffering),
    )
