"""Decodes a folder's PNG files on all cores, no more: python -m benchmarks.latency.decode_only."""

import argparse
import multiprocessing
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from runtime.cli.exit_status import exit_status
from runtime.errors import EdgeError
from runtime.system import interrupt

# Files a task: handing one out costs as much as decoding some.
_CHUNK = 64


def decode(path: str) -> int:
    """Read a file with Pillow into an array, as any program must before it can classify.

    Raises:
        EdgeError: it cannot be read.
    """
    import numpy as np
    from PIL import Image

    try:
        with Image.open(path) as image:
            return int(np.asarray(image).size)
    except OSError as error:
        raise EdgeError(f"cannot decode {path} ({error}): leave it out") from error


def _ignore_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; prints how many files it decoded."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.latency.decode_only", description=__doc__
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (%(default)s)")
    arguments = parser.parse_args(argv)
    if arguments.jobs < 1:
        raise EdgeError(f"--jobs takes 1 or more, not {arguments.jobs}")
    paths = sorted(map(str, arguments.folder.glob("*.png")))
    if not paths:
        raise EdgeError(f"no PNG files in {arguments.folder}: name a folder that has some")
    # Before the processes are forked, so that they need not.
    import numpy  # noqa: F401
    import PIL.PngImagePlugin  # noqa: F401

    if arguments.jobs == 1:
        sizes = list(map(decode, paths))
    else:
        # Ctrl-C reaches every process of a terminal; this one ends the others.
        with interrupt.deferred(), multiprocessing.Pool(arguments.jobs, _ignore_ctrl_c) as pool:
            with interrupt.immediate():
                sizes = pool.map(decode, paths, _CHUNK)
    print(f"{len(sizes)} files")
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
