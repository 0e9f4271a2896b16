"""Lock files between processes: `locked` rejects a second process that writes the same files.

`digit-edge watch` locks its state file, and training locks its model file. `try_lock` also marks
temporary files as in use, so that `runtime.system.atomic_write` only deletes abandoned ones. The
system releases a lock when its process ends, also if the process is killed.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runtime.errors import EdgeError

try:
    import fcntl
except ModuleNotFoundError:  # on Windows, where nothing is locked
    fcntl = None  # type: ignore[assignment]  # a module on other systems

_MAX_PID_BYTES = 20  # a lock file contains the process id in decimal digits


@contextmanager
def locked(path: Path, remedy: str) -> Iterator[None]:
    """Hold the lock of a file within the block.

    The lock file `.NAME.lock` in the folder of `path` contains the process id of the holder. It is
    deleted at the end of the block, and so is its folder if it is new and empty. If the file
    system does not support locks, or the lock file cannot be created, nothing is locked.

    Args:
        path: the file that the process writes; it need not exist. A symbolic link is followed.
        remedy: what the user can do if the file is locked, for the error message.

    Raises:
        EdgeError: another process holds the lock; the message has its process id.
    """
    target = Path(os.path.realpath(path))
    file = target.with_name(f".{target.name}.lock")
    is_new_folder = not file.parent.exists()
    descriptor = _open_locked(file, path, remedy)
    try:
        yield
    finally:
        if descriptor is not None:
            with suppress(OSError):
                file.unlink()  # before the lock is released, so that nobody else has locked it
            os.close(descriptor)
        if is_new_folder:
            with suppress(OSError):
                file.parent.rmdir()  # fails unless the folder is empty


def _open_locked(file: Path, path: Path, remedy: str) -> int | None:
    """Create and lock a lock file; return its descriptor, or None if it cannot be locked.

    Raises:
        EdgeError: another process holds the lock.
    """
    while True:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
            descriptor = os.open(file, flags, 0o644)
        except OSError:
            return None  # the caller reports that it cannot write its own file
        try:
            if not try_lock(descriptor):
                holder = os.pread(descriptor, _MAX_PID_BYTES, 0).decode("ascii", "replace").strip()
                process = f"process {holder}" if holder.isdecimal() else "another process"
                raise EdgeError(f"{path} is in use by {process}: {remedy}")
            if is_at(descriptor, file):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
                return descriptor
        except OSError:
            os.close(descriptor)
            return None
        except EdgeError:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the previous holder has deleted the file in the meantime: try again


def try_lock(descriptor: int) -> bool:
    """Lock an open file or folder; return False if another process has locked it.

    Raises:
        OSError: the file system does not support locks.
    """
    if fcntl is None:
        raise OSError(errno.EOPNOTSUPP, "this system has no flock")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_at(descriptor: int, path: Path) -> bool:
    """Return whether an open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except OSError:
        return False
