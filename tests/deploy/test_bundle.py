"""Test which folders `python -m deploy.bundle` replaces, and that failures change nothing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
