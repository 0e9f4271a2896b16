"""The wheels that a Raspberry Pi needs, fetched on another machine: the locked versions."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from deploy.systems import System
from runtime.errors import EdgeError

CHECKOUT = Path(__file__).parents[1]
ENGINES = {"litert": "ai-edge-litert", "onnx": "onnxruntime", "tflite": "tflite-runtime"}
# What the extras mqtt and serve of install-pi.sh are, with what they stand on; all pure Python.
EXTRAS = ("paho-mqtt", "starlette", "anyio", "idna", "uvicorn", "click", "h11")
EXTRAS += ("python-multipart", "typing-extensions")
# The oldest date that a zip file can hold: the same sources give the same wheel.
_EPOCH = "315532800"


def pins(system: System) -> list[str]:
    """`package==version` of every wheel that a system takes; 32-bit ones take the rest from apt."""
    found = [
        pinned(engine, ENGINES[engine], system.python) for engine in system.engines if system.wheels
    ]
    if system.bits == 64:
        found += [pinned("litert", name, system.python) for name in ("numpy", "pillow")]
    return found + [pinned("dev", name, system.python) for name in EXTRAS]


def download(system: System, folder: Path) -> None:
    """Fetch a system's wheels into a folder.

    Raises:
        EdgeError: pip cannot.
    """
    platforms = [word for name in system.wheels for word in ("--platform", name)]
    options = ["--no-deps", "--only-binary=:all:", "--python-version", system.python]
    pip("download", [*options, *platforms, "--dest", str(folder), *pins(system)])


def project(folder: Path) -> Path:
    """Build the project's wheel from the checkout into `folder`, in the place of an older one.

    Raises:
        EdgeError: it cannot be built.
    """
    # From a copy: setuptools would leave folders of its own in the tree.
    with tempfile.TemporaryDirectory() as copy:
        for name in ("runtime", "train", "export", "benchmarks", "deploy/wheel"):
            left_out = shutil.ignore_patterns("__pycache__", "results")
            shutil.copytree(CHECKOUT / name, Path(copy) / name, ignore=left_out)
        for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
            shutil.copy2(CHECKOUT / name, copy)
        for old in folder.glob("digit_edge-*.whl"):
            old.unlink()
        pip("wheel", ["--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), copy])
    (wheel,) = folder.glob("digit_edge-*.whl")
    return wheel


def pinned(lock: str, package: str, python: str) -> str:
    """`package==version` as requirements/LOCK.lock has it for a version of Python.

    Raises:
        EdgeError: it has none, or more than one.
    """
    found = []
    for line in (CHECKOUT / f"requirements/{lock}.lock").read_text().splitlines():
        match = re.match(rf"({re.escape(package)}==[^ ]+)(?: ; (.*?))? \\$", line)
        if match and _holds(match[2] or "", python):
            found.append(match[1])
    if len(found) != 1:
        raise EdgeError(f"requirements/{lock}.lock has not one {package} for Python {python}")
    return found[0]


def _holds(marker: str, python: str) -> bool:
    # As uv writes them: python_full_version < '3.11', >= '3.11', == '3.11.*'
    match = re.fullmatch(r"python_full_version (<|>=|==) '3\.(\d+)(?:\.\*)?'", marker)
    if not match:
        return not marker
    ours, theirs = int(python.split(".")[1]), int(match[2])
    return {"<": ours < theirs, ">=": ours >= theirs, "==": ours == theirs}[match[1]]


def pip(verb: str, options: Sequence[str]) -> None:
    """Run pip quietly.

    Raises:
        EdgeError: it failed; the message ends with its own.
    """
    command = [sys.executable, "-m", "pip", verb, "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*command, *options],
        capture_output=True,
        text=True,
        env=os.environ | {"SOURCE_DATE_EPOCH": _EPOCH},
    )
    if done.returncode:
        raise EdgeError(f"pip {verb}: {' '.join(done.stderr.split())[-1000:]}; check the network")
