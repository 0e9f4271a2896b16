"""JSON lines in a file or on stdout, whole ones alone, also where there is no room for all."""

import contextlib
import json
import os
import stat
import sys
import threading
from collections import deque
from pathlib import Path

from runtime.errors import EdgeError, printable, report

# What is kept while it cannot be written; some 3 MB of results.
MAX_KEPT = 10_000
_RETRY_S = 2.0


class JsonLinesWriter:
    """JSON lines appended to a file, each in one write, or written to stdout.

    A line that did not fit on the disk is taken back from the file and kept. A file that was
    removed, or renamed by a rotation, is made anew.
    """

    def __init__(self, path: Path | None, sync: bool = False) -> None:
        self._path, self._sync = path, sync
        self._name = "standard output" if path is None else str(path)
        self._kept: deque[bytes] = deque()
        self._dropped = 0
        self._failing = False
        self._lock = threading.RLock()
        self._retry: threading.Timer | None = None
        try:
            if path is None:
                sys.stdout.flush()
                self._descriptor = sys.stdout.fileno()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._descriptor = self._open(path)
        except OSError as error:
            raise EdgeError(
                f"cannot write results to {self._name}: {error.strerror or error}; "
                "check the folder, its permissions and the space left"
            ) from error

    @property
    def waiting(self) -> int:
        """Lines taken and not written yet."""
        return len(self._kept)

    @property
    def full(self) -> bool:
        """Whether the oldest of those kept may be lost with the next."""
        return self.waiting >= MAX_KEPT

    def write(self, record: dict[str, object]) -> None:
        """Append a record, or keep it until there is room again."""
        with self._lock:
            self._kept.append(json.dumps(record).encode() + b"\n")
            if len(self._kept) > MAX_KEPT:
                self._kept.popleft()
                self._dropped += 1
                if self._dropped == 1:
                    report(EdgeError(f"{self._name}: more than {MAX_KEPT} results wait; the oldest "
                                     "are lost"))  # fmt: skip
            self._deliver()

    def close(self) -> None:
        """Write what is kept; EdgeError where results were lost or still cannot be written."""
        with self._lock:
            if self._retry is not None:
                self._retry.cancel()
            failing = self._failing
            reason = self._try()
            if self._path is not None:
                os.close(self._descriptor)
        lost = len(self._kept) + self._dropped
        if lost:
            raise EdgeError(
                f"{lost} results could not be written to {self._name}"
                f"{f': {reason}' if reason else ''}; make room there and run it again"
            )
        if failing and reason is None:
            _say(f"{self._name}: all results are written")

    def _deliver(self) -> None:
        """Write what is kept; say so once where that fails, and try again in a while."""
        with self._lock:
            before = len(self._kept)
            reason = self._try()
            if reason is None:
                if self._failing:
                    _say(f"{self._name}: written again, {before} kept results with it")
                self._failing = False
                return
            if not self._failing:
                report(EdgeError(f"cannot write to {self._name}: {reason}; results are kept and "
                                 "tried again"))  # fmt: skip
            self._failing = True
            if self._retry is None or not self._retry.is_alive():
                self._retry = threading.Timer(_RETRY_S, self._retry_later)
                self._retry.daemon = True
                self._retry.start()

    def _retry_later(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # the next `write` raises it to the caller
            self._deliver()

    def _try(self) -> str | None:
        """Write what is kept; None, or the reason why that stopped."""
        if not self._kept:
            return None
        try:
            if self._path is not None and not _same_file(self._path, self._descriptor):
                fresh = self._open(self._path)
                os.close(self._descriptor)
                self._descriptor = fresh
            while self._kept:
                _append(self._descriptor, self._kept[0])
                if self._sync:
                    os.fsync(self._descriptor)
                self._kept.popleft()
        except BrokenPipeError:
            raise
        except OSError as error:
            return error.strerror or str(error)
        return None

    def _open(self, path: Path) -> int:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        if self._sync:
            # The name of a new file, too.
            folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        # A line that a power cut left half written stays alone on its line.
        if _is_file(descriptor):
            size = os.lseek(descriptor, 0, os.SEEK_END)
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                _append(descriptor, b"\n")
        return descriptor


def _append(descriptor: int, line: bytes) -> None:
    """Write a line whole; where that fails, take back the part of it that a file has got."""
    written = os.write(descriptor, line)
    try:
        while written < len(line):  # a pipe, or the last blocks of a disk: the next write says
            written += os.write(descriptor, line[written:])
    except OSError:
        if _is_file(descriptor):
            os.ftruncate(descriptor, os.lseek(descriptor, 0, os.SEEK_END) - written)
        raise


def _is_file(descriptor: int) -> bool:
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


def _same_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _say(message: str) -> None:
    print(printable(message), file=sys.stderr)
