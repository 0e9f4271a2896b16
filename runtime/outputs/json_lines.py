"""Write results as JSON lines to a file (the option `--out`) or to stdout.

Lines that cannot be written, for example to a full disk, are kept and written later. Incomplete
lines are removed. `runtime.outputs.sinks.open_sinks` creates a `JsonLinesWriter` for `digit-edge
watch` and `camera`.
"""

import contextlib
import json
import os
import stat
import sys
import threading
from collections import deque
from pathlib import Path

from runtime.errors import EdgeError, printable, report

MAX_KEPT_RESULTS = 10_000  # results kept in memory, some 3 MB; beyond it, the oldest are dropped
_RETRY_S = 2.0  # delay after a failed write; then all kept lines are written again


class JsonLinesWriter:
    """Appends JSON lines to a file, or writes them to stdout; safe to share between threads.

    If a line does not fit on the disk, its written part is removed from the file, and the line is
    kept. If the file was deleted or rotated (renamed), a new file is created.

    Args:
        path: path of the file; None writes to stdout.
        sync: whether to wait until each line is on the disk (fsync).

    Raises:
        EdgeError: the file cannot be written.
    """

    def __init__(self, path: Path | None, sync: bool = False) -> None:
        self._path, self._sync = path, sync
        self._name = "standard output" if path is None else str(path)
        self._kept: deque[bytes] = deque()  # lines that are not written yet, the oldest first
        self._accepted = 0  # number of lines that were written or kept
        self._dropped = 0  # number of dropped lines
        self._failing = False  # whether the last write failed, which was reported
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
    def accepted(self) -> int:
        """Number of lines that were written or kept."""
        return self._accepted

    @property
    def waiting(self) -> int:
        """Number of lines that are not written yet."""
        return len(self._kept)

    @property
    def full(self) -> bool:
        """Whether the next line may cause the oldest one to be dropped."""
        return self.waiting >= MAX_KEPT_RESULTS

    def write(self, record: dict[str, object]) -> None:
        """Write a record, or keep the record until it can be written.

        If too many records are kept, the oldest is dropped. The first dropped record is reported on
        stderr.

        Args:
            record: values that JSON can represent.

        Raises:
            BrokenPipeError: stdout is a pipe that its reader has closed.
        """
        with self._lock:
            self._accepted += 1
            self._kept.append(json.dumps(record).encode() + b"\n")
            if len(self._kept) > MAX_KEPT_RESULTS:
                self._kept.popleft()
                self._dropped += 1
                if self._dropped == 1:
                    report(
                        EdgeError(
                            f"{self._name}: more than {MAX_KEPT_RESULTS} results are waiting; the "
                            "oldest results are dropped"
                        )
                    )
            self._deliver()

    def close(self) -> None:
        """Write the kept lines and close the file; stdout remains open.

        Raises:
            EdgeError: results were dropped or still cannot be written.
            BrokenPipeError: stdout is a pipe that its reader has closed.
        """
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
                f"{lost} result{'s' * (lost > 1)} could not be written to {self._name}"
                f"{f': {reason}' if reason else ''}; free some space and run the command again"
            )
        if failing and reason is None:
            _say(f"{self._name}: all results are written")

    def _deliver(self) -> None:
        """Write the kept lines; if that fails, report it once and start the retry timer."""
        with self._lock:
            kept = len(self._kept)
            reason = self._try()
            if reason is None:
                if self._failing:
                    _say(f"{self._name}: writable again; kept results that are written now: {kept}")
                self._failing = False
                return
            if not self._failing:
                report(EdgeError(f"cannot write to {self._name}: {reason}; results are kept and "
                                 "writing is retried"))  # fmt: skip
            self._failing = True
            if self._retry is None or not self._retry.is_alive():
                self._retry = threading.Timer(_RETRY_S, self._retry_later)
                self._retry.daemon = True
                self._retry.start()

    def _retry_later(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # the next `write` raises it again
            self._deliver()

    def _try(self) -> str | None:
        """Write the kept lines; return the reason if a line could not be written, else None."""
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
        """Open or create the file, and return its descriptor."""
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        if self._sync:
            # Sync the folder too: it contains the name of a new file.
            folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        # End an incomplete line that a power cut left; otherwise it would join the next line.
        if _is_file(descriptor):
            size = os.lseek(descriptor, 0, os.SEEK_END)
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                _append(descriptor, b"\n")
        return descriptor


def _append(descriptor: int, line: bytes) -> None:
    """Write a whole line; if that fails, remove the written part of the line from the file.

    Raises:
        OSError: the line could not be written.
    """
    written = os.write(descriptor, line)
    try:
        while written < len(line):  # on a full disk, the second write raises the error
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
