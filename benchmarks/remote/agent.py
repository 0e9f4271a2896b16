"""What runs on a device: unpacks an archive from standard input, times and asks its artifacts.

Sent as text to the device's own Python; standard library only, and nothing of it stays behind.
"""

# Older Pythons too shall get as far as saying that they are too old.
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

# Stands before the results: what a shell's profile prints comes earlier.
MARKER = b"\n-- results of the device --\n"
OLDEST = (3, 10)


def main(arguments: list[str]) -> int:
    """Run `python -m benchmarks.latency` with `arguments`, and `benchmarks.remote.predict` if
    the archive brings images; what they write goes to standard output as one zip archive.
    """
    if sys.version_info < OLDEST:
        version = ".".join(map(str, sys.version_info[:3]))
        return _refuse(f"its Python is {version}, and 3.10 or newer is needed")
    try:
        import numpy  # noqa: F401
        import PIL  # noqa: F401
    except ImportError as error:
        return _refuse(f"its Python has no {error.name}: pip install numpy pillow there")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    with tempfile.TemporaryDirectory(prefix="digit-edge-") as folder:
        archive = os.path.join(folder, "archive.zip")
        with open(archive, "wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(folder)
        os.mkdir(os.path.join(folder, "results"))
        timed = os.path.join("results", "latency.json")
        status = _run(
            folder, "latency", "--no-keras", "--models", "models", "--json", timed, *arguments
        )
        if not os.path.exists(os.path.join(folder, timed)):
            return status or 1
        if os.path.exists(os.path.join(folder, "pixels.npy")):
            chosen = [a for a in arguments if a.startswith(("--backend=", "--device="))]
            status = _run(
                folder, "remote.predict", "--models", "models", "--pixels", "pixels.npy",
                "--out", "results", *chosen,
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
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments],
        cwd=folder,
        # Engines too leave files where temporary ones go.
        env={**os.environ, "TMPDIR": folder},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=False,
    ).returncode


def _refuse(why: str) -> int:
    print(f"error: {why}", file=sys.stderr)
    return 2


def _end(number: int, frame: FrameType | None) -> None:
    """Leave through the `with`, which removes the folder."""
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
