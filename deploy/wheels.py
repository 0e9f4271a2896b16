"""Download the wheels of a Raspberry Pi system on another machine, and build the project's wheel.

Versions and hashes come from requirements/*.lock: pip rejects a file with another hash.
`deploy.bundle` and `deploy.emulation` use this module.
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
# Words in pip's output if it could not reach an index; its last line then only says that there is
# no such version.
_NETWORK_WORDS = ("Retrying", "Connection", "timed out", "SSLError", "ProxyError", "resolution")


def pins(system: System) -> list[str]:
    """Return `package==version` of every wheel that is downloaded for a system.

    For 32-bit systems this does not include NumPy and Pillow, which apt installs there.

    Raises:
        EdgeError: A lock file does not pin exactly one version of a package.
    """
    return [pinned(*package) for package in _packages(system)]


def _packages(system: System) -> list[tuple[str, str, str]]:
    """Return lock file, package and version of Python of every wheel of a system."""
    packages = [(name, ENGINES[name], system.python) for name in system.engines if system.wheels]
    if system.bits == 64:
        packages += [("litert", name, system.python) for name in ("numpy", "pillow")]
    return packages + [("dev", name, system.python) for name in EXTRAS]


def download(system: System, folder: Path) -> None:
    """Download a system's wheels into a folder, which is created if it is missing.

    Raises:
        EdgeError: pip cannot download a wheel, a wheel has another hash than in the lock file, or a
            lock file does not pin exactly one version.
    """
    platforms = [word for tag in system.wheels for word in ("--platform", tag)]
    options = ["--only-binary=:all:", "--python-version", system.python, *platforms]
    pip_with_hashes("download", [*options, "--dest", str(folder)], _packages(system))


def pip_with_hashes(
    verb: str, options: Sequence[str], packages: Sequence[tuple[str, str, str]]
) -> None:
    """Run `pip VERB` for packages, without their dependencies; pip checks the hashes.

    Args:
        verb: "download" or "install".
        options: further arguments of pip.
        packages: (lock file, package, version of Python) of each package, see `pinned`.

    Raises:
        EdgeError: pip failed, or a lock file does not pin exactly one version.
    """
    requirements = ["".join(_lock_entry(*package)) for package in packages]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requirements.txt"
        file.write_text("".join(f"{line}\n" for line in requirements))
        pip(verb, ["--no-deps", "--require-hashes", *options, "--requirement", str(file)])


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
        options = ["--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
        if _can_build():
            pip("wheel", [*options, copy])
        else:
            with tempfile.TemporaryDirectory() as tools:
                python = f"{sys.version_info[0]}.{sys.version_info[1]}"
                setuptools = [("dev", "setuptools", python)]
                pip_with_hashes("install", ["--target", tools], setuptools)
                pip("wheel", [*options, copy], search_path=tools)
    (wheel,) = folder.glob("digit_edge-*.whl")
    return wheel


def _can_build() -> bool:
    """Return whether this Python has the setuptools that pyproject.toml needs.

    If not, the version in the lock file is downloaded for the build.
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
    return _lock_entry(lock, package, python)[0]


def _lock_entry(lock: str, package: str, python: str) -> tuple[str, str]:
    """Return `package==version` and its options `--hash` from a lock file; see `pinned`."""
    text = (CHECKOUT / f"requirements/{lock}.lock").read_text()
    entry = rf"^({re.escape(package)}==[^ ]+)(?: ; (.*?))? \\\n((?:    --hash=.*\n)+)"
    found = [
        (match[1], "".join(f" {hash_}" for hash_ in re.findall(r"--hash=\S+", match[3])))
        for match in re.finditer(entry, text, re.MULTILINE)
        if _marker_matches(match[2] or "", python)
    ]
    if len(found) != 1:
        raise EdgeError(
            f"requirements/{lock}.lock must pin one version of {package} for Python {python}, but "
            f"pins {len(found)}: run make lock"
        )
    return found[0]


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


def pip(verb: str, options: Sequence[str], search_path: str | None = None) -> None:
    """Run `pip VERB OPTIONS…` without output.

    Args:
        verb: command of pip, such as "download".
        options: the further arguments.
        search_path: a folder from which Python imports first; None for no folder.

    Raises:
        EdgeError: pip failed; the message contains the cause from pip's output.
    """
    command = [sys.executable, "-m", "pip", verb, "--quiet", "--disable-pip-version-check"]
    environment = os.environ | {"SOURCE_DATE_EPOCH": _SOURCE_DATE_EPOCH_S}
    if search_path is not None:
        environment["PYTHONPATH"] = search_path
    done = subprocess.run([*command, *options], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise EdgeError(f"pip {verb}: {_cause(done.stderr)}")


def _cause(output: str) -> str:
    """Return the cause of a failure from pip's output, with a remedy."""
    lines = [" ".join(line.split()) for line in output.splitlines()]
    exceptions = [line for line in lines if re.match(r"[\w.]+(Error|Exception): ", line)]
    errors = [line for line in lines if line.startswith("ERROR: ")]
    message = exceptions[-1] if exceptions else " ".join(errors or lines)
    message = message[-_PIP_MESSAGE_CHARS:]
    if "No module named pip" in message:
        return f"{message}; install it: {sys.executable} -m ensurepip"
    if any(word in output for word in _NETWORK_WORDS):
        return f"{message}; check the network"
    return f"{message}; correct this and run the command again"
