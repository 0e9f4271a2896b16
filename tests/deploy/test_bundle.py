"""Test which folders `python -m deploy.bundle` replaces, and that failures change nothing."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from runtime.errors import EdgeError

ROOT = Path(__file__).parents[2]


def run(out: Path | str, cwd: Path = ROOT) -> str:
    """Run the command without a package index, so that it fails; return its one line of error."""
    done = subprocess.run(
        [sys.executable, "-m", "deploy.bundle", "--out", out],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | {"PIP_NO_INDEX": "1"},
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.fixture
def old(tmp_path):
    """A bundle written by an earlier run."""
    folder = tmp_path / "digit-edge-pi"
    for name in ("wheels/some.whl", "systemd/some.service", "install-pi.sh"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("old")
    return folder


def test_failed_bundle_keeps_the_old_one(old):
    before = sorted(old.rglob("*"))
    assert "pip download" in run(old)
    assert sorted(old.rglob("*")) == before
    assert list(old.parent.iterdir()) == [old], "temporary folders are deleted"


@pytest.mark.parametrize("other", ["other", "wheels/other.txt", "systemd/other"])
def test_folder_with_other_files_is_not_replaced(old, other):
    (old / other).touch()
    before = sorted(old.rglob("*"))
    message = run(old)
    assert "holds other files" in message
    assert f"({other})" in message
    assert sorted(old.rglob("*")) == before


@pytest.mark.parametrize("out", ["deploy", ".", "deploy/systemd"])
def test_folders_of_the_checkout_are_not_replaced(tmp_path, out):
    for name in ("deploy", "runtime", "export", "requirements"):
        shutil.copytree(ROOT / name, tmp_path / name)
    before = {path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts}
    assert "holds other files" in run(out, cwd=tmp_path)
    after = {path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts}
    assert after == before


def test_unwritable_folder_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    assert f"cannot write {tmp_path}/file/bundle" in run(tmp_path / "file/bundle")


@pytest.mark.parametrize(("version", "can_build"), [("65.5.0", False), ("77.0.1", True)])
def test_wheel_is_built_in_isolation_if_setuptools_is_too_old(monkeypatch, version, can_build):
    from deploy import wheels

    monkeypatch.setattr(wheels.importlib.metadata, "version", lambda name: version)
    assert wheels._can_build() is can_build


def test_pip_gets_the_hashes_of_the_lock_file(tmp_path, monkeypatch):
    from deploy import wheels
    from deploy.systems import SYSTEMS

    seen = []

    def pip(verb, options):
        seen.append((verb, options, Path(options[-1]).read_text()))

    monkeypatch.setattr(wheels, "pip", pip)
    for system in SYSTEMS:
        wheels.download(system, tmp_path)
        verb, options, requirements = seen.pop()
        assert verb == "download"
        assert "--require-hashes" in options
        lines = requirements.splitlines()
        assert [line.split()[0] for line in lines] == wheels.pins(system)
        assert all(" --hash=sha256:" in line for line in lines)


def test_file_with_another_hash_is_rejected(tmp_path, monkeypatch):
    """Pip finds the package in a local folder, as on a mirror that was tampered with."""
    from deploy import wheels

    name = "digit_edge_test-1.0-py3-none-any.whl"
    with zipfile.ZipFile(tmp_path / name, "w") as wheel:
        wheel.writestr(
            "digit_edge_test-1.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: digit-edge-test\nVersion: 1.0\n",
        )
        wheel.writestr("digit_edge_test-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        wheel.writestr("digit_edge_test-1.0.dist-info/RECORD", "")
    digest = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    options = ["--no-index", "--find-links", str(tmp_path), "--dest", str(tmp_path / "out")]
    for hash_, is_right in ((digest, True), ("0" * 64, False)):
        entry = ("digit-edge-test==1.0", f" --hash=sha256:{hash_}")
        monkeypatch.setattr(wheels, "_lock_entry", lambda *a, entry=entry: entry)
        if is_right:
            wheels.pip_with_hashes("download", options, [("dev", "digit-edge-test", "3.11")])
            assert (tmp_path / "out" / name).exists()
        else:
            with pytest.raises(EdgeError, match="DO NOT MATCH THE HASHES") as caught:
                wheels.pip_with_hashes("download", options, [("dev", "digit-edge-test", "3.11")])
            assert "network" not in str(caught.value)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (
            "WARNING: Retrying (Retry(total=4)) after connection broken by 'NewConnectionError'\n"
            "ERROR: No matching distribution found for numpy==2.5.5\n",
            "No matching distribution found for numpy==2.5.5; check the network",
        ),
        (
            "  error: subprocess-exited-with-error\n  Traceback (most recent call last):\n"
            "    File x\n  ValueError: invalid pyproject.toml: `project.license`\n  [end]\n",
            "ValueError: invalid pyproject.toml: `project.license`; correct this",
        ),
        ("/bin/python: No module named pip\n", "install it: "),
    ],
)
def test_failure_of_pip_is_reported_with_its_cause(output, message):
    from deploy.wheels import _cause

    assert message in _cause(output)
