"""Runs the benchmarks on a device, another machine that is reached over ssh.

`benchmarks.remote.client` sends the text of this file over ssh and runs the text with `python -c`.
The program reads a zip archive with the packages, the artifacts and the images from standard input.
It unpacks the archive in a temporary folder, runs the benchmarks, and writes the results to
standard output. The program itself uses only the standard library, and checks that NumPy and Pillow
are installed for the benchmarks. It leaves no files on the device.
"""

# Without this line, a Python older than 3.10 fails with a TypeError instead of the message below.
from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from types import FrameType

# Written before the results. The client ignores all output before the marker, for example that of a
# shell's profile.
MARKER = b"\n-- results of the device --\n"
MIN_PYTHON = (3, 10)  # with an older version, the program prints an error and ends


def main(arguments: list[str]) -> int:
    """Run `benchmarks.latency` and, if the archive has images, `benchmarks.remote.predict`.

    MARKER and a zip archive of the result files are written to standard output.

    Args:
        arguments: the options of `digit-edge benchmark-latency`.

    Returns:
        The exit status. 0 if results were written; the results also record failed cases. 2 if
        Python is too old or lacks a package. Otherwise the status of the program that failed.
        Errors are printed on standard error.
    """
    if sys.version_info < MIN_PYTHON:
        version = ".".join(map(str, sys.version_info[:3]))
        return _fail(f"Python {version} is too old: install Python 3.10 or newer on this device")
    try:
        # Both are imported only to check that they are installed.
        import numpy  # noqa: F401
        import PIL  # noqa: F401
    except ImportError as error:
        return _fail(f"{error.name} is not installed: pip install numpy pillow on this device")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _exit_on_signal)
    with tempfile.TemporaryDirectory(prefix="digit-edge-") as folder:
        archive = os.path.join(folder, "archive.zip")
        with open(archive, "wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(folder)
        os.mkdir(os.path.join(folder, "results"))
        latency_json = os.path.join("results", "latency.json")
        status = _run(
            folder, "latency", "--no-keras", "--model", "models", "--out", latency_json,
            *arguments,
        )  # fmt: skip
        if not os.path.exists(os.path.join(folder, latency_json)):
            return status or 1  # the measurement failed even if its status is 0
        if os.path.exists(os.path.join(folder, "pixels.npy")):
            case_options = [a for a in arguments if a.startswith(("--backend=", "--device="))]
            status = _run(
                folder, "remote.predict", "--model", "models", "--pixels", "pixels.npy",
                "--out", "results", *case_options,
            )  # fmt: skip
            if status:
                return status
        packed_results = io.BytesIO()
        with zipfile.ZipFile(packed_results, "w", zipfile.ZIP_DEFLATED) as packed:
            for name in sorted(os.listdir(os.path.join(folder, "results"))):
                packed.write(os.path.join(folder, "results", name), name)
        sys.stdout.buffer.write(MARKER + packed_results.getvalue())
        sys.stdout.buffer.flush()
    return 0


def _run(folder: str, module: str, *arguments: str) -> int:
    """Run a module of `benchmarks` in the unpacked folder; return its exit status."""
    # In an archive made from an installed wheel, the packages are inside `digit_edge`.
    prefix = "digit_edge." if os.path.isdir(os.path.join(folder, "digit_edge")) else ""
    return subprocess.run(
        [sys.executable, "-m", f"{prefix}benchmarks.{module}", *arguments],
        cwd=folder,
        # The engines make their temporary files in the folder. They are removed with the folder.
        env={**os.environ, "TMPDIR": folder},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=False,
    ).returncode


def _fail(message: str) -> int:
    """Print an error on standard error; return 2, the exit status for it."""
    print(f"error: {message}", file=sys.stderr)
    return 2


def _exit_on_signal(number: int, frame: FrameType | None) -> None:
    """Raise SystemExit; the `with` statement of `main` then removes the temporary folder."""
    sys.exit(128 + number)  # the exit status of a shell's command after a signal


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
