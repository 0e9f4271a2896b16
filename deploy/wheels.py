"""Download the wheels of a Raspberry Pi system on another machine, and build the project's wheel.

Versions come from requirements/*.lock. `deploy.bundle` and `deploy.emulation` use this module.
"""

import importlib.metadata
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

CHECKOUT = Path(__file__).parents[1]  # root of the repository
# Extra of digit-edge → package of the engine. The version is pinned in requirements/EXTRA.lock.
ENGINES = {
    "litert": "ai-edge-litert",
    "onnx": "onnxruntime",
    "tflite": "tflite-runtime",
}
# Packages of the extras mqtt and serve, with their dependencies. The packages are pure Python, so
# every system can install the same wheels.
EXTRAS = (
    "paho-mqtt",
    "starlette",
    "anyio",
    "idna",
    "uvicorn",
    "click",
    "h11",
    "python-multipart",
    "typing-extensions",
)
# Timestamp of the files in a built wheel, in seconds since 1970. A constant timestamp makes equal
# sources give equal bytes. 1 January 1980 is the earliest date of the zip format (APPNOTE.TXT
# 4.4.6).
_SOURCE_DATE_EPOCH_S = "315532800"
_MIN_SETUPTOOLS = 77  # major version, as in pyproject.toml; older ones cannot read it
_PIP_MESSAGE_CHARS = 1000  # length of the end of pip's output that an error message quotes


def pins(system: System) -> list[str]:
    """Return `package==version` of every wheel that is downloaded for a system.

    For 32-bit systems this does not include NumPy and Pillow, which apt installs there.

    Raises:
        EdgeError: A lock file does not pin exactly one version of a package.
    """
    packages = [
        pinned(engine, ENGINES[engine], system.python) for engine in system.engines if system.wheels
    ]
    if system.bits == 64:
        packages += [pinned("litert", name, system.python) for name in ("numpy", "pillow")]
    return packages + [pinned("dev", name, system.python) for name in EXTRAS]


def download(system: System, folder: Path) -> None:
    """Download a system's wheels into a folder, which is created if it is missing.

    Raises:
        EdgeError: pip cannot download a wheel, or a lock file does not pin exactly one version.
    """
    platforms = [word for tag in system.wheels for word in ("--platform", tag)]
    options = ["--no-deps", "--only-binary=:all:", "--python-version", system.python]
    pip("download", [*options, *platforms, "--dest", str(folder), *pins(system)])


def project(folder: Path) -> Path:
    """Build the project's wheel from the checkout, and delete earlier wheels of the project.

    Args:
        folder: folder to write the wheel to.

    Returns:
        The path of the wheel.

    Raises:
        EdgeError: pip cannot build the wheel.
    """
    # Build from a copy, because setuptools leaves build folders in the source tree.
    with tempfile.TemporaryDirectory() as copy:
        for name in ("runtime", "train", "export", "benchmarks", "deploy/wheel"):
            ignored = shutil.ignore_patterns("__pycache__", "results")
            shutil.copytree(CHECKOUT / name, Path(copy) / name, ignore=ignored)
        for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
            shutil.copy2(CHECKOUT / name, copy)
        for old in folder.glob("digit_edge-*.whl"):
            old.unlink()
        isolation = ["--no-build-isolation"] if _can_build() else []
        pip("wheel", ["--no-deps", *isolation, "--wheel-dir", str(folder), copy])
    (wheel,) = folder.glob("digit_edge-*.whl")
    return wheel


def _can_build() -> bool:
    """Return whether this Python has the setuptools that pyproject.toml needs.

    If not, pip downloads setuptools into an environment of its own for the build.
    """
    try:
        version = importlib.metadata.version("setuptools")
    except importlib.metadata.PackageNotFoundError:
        return False
    return int(version.partition(".")[0]) >= _MIN_SETUPTOOLS


def pinned(lock: str, package: str, python: str) -> str:
    """Return `package==version` from a lock file.

    Args:
        lock: name of the lock file, without `requirements/` and `.lock`.
        package: name of the package.
        python: version of Python, such as "3.13". The lock file may pin another version of the
            package for each version of Python.

    Raises:
        EdgeError: The lock file does not pin exactly one version for this Python.
    """
    pins = []
    for line in (CHECKOUT / f"requirements/{lock}.lock").read_text().splitlines():
        match = re.match(rf"({re.escape(package)}==[^ ]+)(?: ; (.*?))? \\$", line)
        if match and _marker_matches(match[2] or "", python):
            pins.append(match[1])
    if len(pins) != 1:
        raise EdgeError(
            f"requirements/{lock}.lock must pin one version of {package} for Python {python}, but "
            f"pins {len(pins)}: run make lock"
        )
    return pins[0]


def _marker_matches(marker: str, python: str) -> bool:
    """Return whether a version of Python, such as "3.13", satisfies a marker of a lock file.

    The markers have the forms that uv writes: python_full_version < '3.11', >= '3.11', or
    == '3.11.*'. An empty marker is always satisfied; a marker of another form is never satisfied.
    """
    match = re.fullmatch(r"python_full_version (<|>=|==) '3\.(\d+)(?:\.\*)?'", marker)
    if not match:
        return not marker
    minor, bound = int(python.split(".")[1]), int(match[2])
    return {"<": minor < bound, ">=": minor >= bound, "==": minor == bound}[match[1]]


def pip(verb: str, options: Sequence[str]) -> None:
    """Run `pip VERB OPTIONS…` without output.

    Args:
        verb: command of pip, such as "download".
        options: the further arguments.

    Raises:
        EdgeError: pip failed; the message contains the end of pip's output.
    """
    command = [sys.executable, "-m", "pip", verb, "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*command, *options],
        capture_output=True,
        text=True,
        env=os.environ | {"SOURCE_DATE_EPOCH": _SOURCE_DATE_EPOCH_S},
    )
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.lstrip().startswith("ERROR: ")]
        message = " ".join(" ".join(errors or [done.stderr]).split())[-_PIP_MESSAGE_CHARS:]
        raise EdgeError(f"pip {verb}: {message}; if it cannot download, check the network")
