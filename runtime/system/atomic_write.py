"""Puts files in place whole or not at all; a folder for temporary ones."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runtime.errors import EdgeError
from runtime.system import streams


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it over `path` when the block ends well.

    The temporary name keeps the suffix, for writers that choose a format by it. When the block
    fails, `path` is as it was and the temporary file is gone.

    Raises:
        EdgeError: the folder cannot be made or the file cannot be written.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.stem}-{os.urandom(4).hex()}{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())  # else a power cut can leave the new name on an empty file
        os.replace(temporary, target)
    except OSError as error:
        raise EdgeError(
            f"cannot write {target}: {error.strerror or error}; "
            "check the folder, its permissions and the space left"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write `content` (text as UTF-8) to `path`, replacing what was there in one step.

    Raises:
        EdgeError: as `replacing`.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a folder that is removed at the end, and let libraries put their temporary files there.

    Keras leaves its own behind if the disk is full.

    Raises:
        EdgeError: there is no room for temporary files.
    """
    import tempfile  # a process that reads an image need not load it

    try:
        with tempfile.TemporaryDirectory(prefix="digit-edge-") as name:
            before, tempfile.tempdir = tempfile.tempdir, name
            try:
                yield Path(name)
            finally:
                tempfile.tempdir = before
    except OSError as error:
        if error.errno not in streams.NO_ROOM:
            raise
        raise EdgeError(
            f"cannot write temporary files in {tempfile.gettempdir()}: {error.strerror}; "
            "make room there, or set TMPDIR to another folder, and run it again"
        ) from error
