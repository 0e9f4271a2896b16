"""Test the runtime from its wheel, with the locked engines, on every supported Python version."""

import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.emulation import roots
from deploy.wheels import CHECKOUT


def interpreter(minor: int) -> str | None:
    """Return the path of a Python 3.`minor` that can make virtual environments; None if missing."""
    candidates: list[str | None] = [shutil.which(f"python3.{minor}")]
    if shutil.which("uv"):
        command = ["uv", "python", "find", "--no-python-downloads", f"3.{minor}"]
        candidates.append(subprocess.run(command, capture_output=True, text=True).stdout.strip())
    candidates += map(str, Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python"))
    probe = f"import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, {minor}))"
    for python in candidates:
        if python and not subprocess.run([python, "-c", probe], capture_output=True).returncode:
            return python
    return None


@pytest.mark.parametrize("minor", [10, 11, 12, 13])
def test_conformance_suite_passes_on_this_machine(minor: int, tmp_path: Path) -> None:
    python = interpreter(minor)
    if python is None:
        pytest.skip(f"no Python 3.{minor} with venv here: uv python install 3.{minor}")
    environment = roots.CACHE / f"pythons/.venv-3.{minor}"
    environment_python = environment / "bin/python"
    if not (environment / "installed").exists():
        shutil.rmtree(environment, ignore_errors=True)
        subprocess.run([python, "-m", "venv", environment], check=True)
        locks = [
            f"--requirement={CHECKOUT}/requirements/{name}.lock" for name in ("litert", "onnx")
        ]
        pip(environment_python, "--require-hashes", *locks)
        (environment / "installed").touch()
    (wheel,) = (roots.CACHE / "project").glob("digit_edge-*.whl")
    pip(environment_python, "--no-deps", "--force-reinstall", str(wheel))
    done = subprocess.run(
        [
            environment_python,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            CHECKOUT / "tests/engines",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]


def pip(python: Path, *options: str) -> None:
    """Run pip install in an environment."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*command, "--no-compile", *options], check=True)
