"""Decode the PNG files of a folder.

`folder_throughput` compares it with classifying the folder: the decoding alone is the upper limit.
"""

import multiprocessing
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.errors import EdgeError
from runtime.system import interrupt

# Files per task of the process pool, because sending a task costs as much as decoding some files.
_CHUNK_FILES = 64


def decode(path: str) -> int:
    """Decode an image file with Pillow into an array; return the number of its values.

    Raises:
        EdgeError: the file cannot be decoded.
    """
    import numpy as np
    from PIL import Image

    try:
        with Image.open(path) as image:
            return int(np.asarray(image).size)
    except OSError as error:
        raise EdgeError(f"cannot decode {path} ({error}): remove it from the folder") from error


def _ignore_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, which prints the number of decoded files.

    Raises:
        EdgeError: --jobs is below 1, the folder has no PNG files, or a file cannot be decoded.
    """
    parser = CommandParser(
        "python -m benchmarks.latency.decode_only",
        "Decode the PNG files of a folder.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder of the PNG files")
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="processes (default: %(default)s)"
    )
    arguments = parser.parse_args(argv)
    if arguments.jobs < 1:
        raise EdgeError(f"--jobs takes 1 or more, not {arguments.jobs}")
    paths = sorted(map(str, arguments.folder.glob("*.png")))
    if not paths:
        raise EdgeError(f"no PNG files in {arguments.folder}: name a folder that has some")
    # Import before the fork, so that the processes of the pool share the modules.
    import numpy  # noqa: F401
    import PIL.PngImagePlugin  # noqa: F401

    if arguments.jobs == 1:
        sizes = list(map(decode, paths))
    else:
        # A terminal sends Ctrl-C to all processes. Only this one reacts, and ends the others.
        with (
            interrupt.deferred(),
            multiprocessing.Pool(arguments.jobs, _ignore_ctrl_c) as pool,
            interrupt.immediate(),
        ):
            sizes = pool.map(decode, paths, _CHUNK_FILES)
    print(f"{len(sizes)} files")
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
