"""Runs the benchmarks on a device; `client` sends it over ssh as the text of `python -c`.

Reads a zip archive with the packages, the artifacts and the images from standard input, unpacks it
in a temporary folder, and writes the results to standard output. Needs the standard library alone
and leaves no files on the device.
"""

# With it Pythons older than 3.10 can parse this file and report that they are too old.
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

# Separates the results on standard output from any output of a shell's profile before them.
MARKER = b"\n-- results of the device --\n"
MIN_PYTHON = (3, 10)  # older versions are rejected


def main(arguments: list[str]) -> int:
    """Run `benchmarks.latency` and, if the archive has images, `benchmarks.remote.predict`.

    Writes MARKER and a zip archive of their result files to standard output.

    Args:
        arguments: the options of `digit-edge benchmark-latency`.

    Returns:
        The exit status.
    """
    if sys.version_info < MIN_PYTHON:
        version = ".".join(map(str, sys.version_info[:3]))
        return _fail(f"its Python is {version}; install 3.10 or newer there")
    try:
        import numpy  # noqa: F401
        import PIL  # noqa: F401
    except ImportError as error:
        return _fail(f"its Python has no {error.name}: pip install numpy pillow there")
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
            return status or 1
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
    # Sent from an installed wheel, the packages are inside `digit_edge`.
    prefix = "digit_edge." if os.path.isdir(os.path.join(folder, "digit_edge")) else ""
    return subprocess.run(
        [sys.executable, "-m", f"{prefix}benchmarks.{module}", *arguments],
        cwd=folder,
        # Temporary files of the engines are then removed with the folder.
        env={**os.environ, "TMPDIR": folder},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=False,
    ).returncode


def _fail(message: str) -> int:
    """Print an error; return the exit status for it."""
    print(f"error: {message}", file=sys.stderr)
    return 2


def _exit_on_signal(number: int, frame: FrameType | None) -> None:
    """Raise SystemExit, so that the temporary folder is removed."""
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
