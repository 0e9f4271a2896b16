"""Puts a folder in place whole or not at all."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.errors import EdgeError


@contextmanager
def replacing(out: Path, ours: Callable[[set[str]], bool]) -> Iterator[Path]:
    """Yield a new folder beside `out`; put it in the place of `out` when the block ends well.

    When the block fails, `out` is as it was and the new folder is gone.

    Args:
        out: an older one there is replaced.
        ours: of the names in a folder that is there, whether they are what this command wrote.

    Raises:
        EdgeError: something else is there, or it cannot be written.
    """
    try:
        if out.is_symlink() or (out.exists() and not out.is_dir()):
            raise EdgeError(f"{out} is no folder: choose another with --out")
        there = {path.name for path in out.iterdir()} if out.exists() else set()
        if there and not ours(there):
            raise EdgeError(f"{out} holds other files: choose an empty or a new folder with --out")
        target = out.absolute()
        mark = os.urandom(4).hex()
        fresh, old = (target.with_name(f".{target.name}-{part}-{mark}") for part in ("new", "old"))
        try:
            fresh.mkdir(parents=True)
            yield fresh
            if target.exists():
                target.rename(old)
            fresh.rename(target)
        finally:
            if old.exists() and not target.exists():
                old.rename(target)
            for leftover in (fresh, old):
                shutil.rmtree(leftover, ignore_errors=True)
    except OSError as error:
        raise EdgeError(
            f"cannot write {out}: {error.strerror or error}; check the folder and the space left"
        ) from error
