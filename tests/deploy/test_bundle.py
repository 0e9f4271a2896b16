"""python -m deploy.bundle: what it replaces, and what it leaves when it fails."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(out: Path | str, cwd: Path = ROOT) -> str:
    """Bundle without a network, which fails; the one line of the error."""
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
    """What an earlier run left."""
    folder = tmp_path / "digit-edge-pi"
    for name in ("wheels/some.whl", "systemd/some.service", "install-pi.sh"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("old")
    return folder


def test_a_bundle_that_fails_leaves_the_old_one(old):
    before = sorted(old.rglob("*"))
    assert "pip download" in run(old)
    assert sorted(old.rglob("*")) == before
    assert list(old.parent.iterdir()) == [old], "and nothing beside it"


@pytest.mark.parametrize("mine", ["mine", "wheels/mine.txt", "systemd/mine"])
def test_a_folder_with_other_files_is_left_alone(old, mine):
    (old / mine).touch()
    before = sorted(old.rglob("*"))
    message = run(old)
    assert "holds other files" in message
    assert f"({mine})" in message
    assert sorted(old.rglob("*")) == before


@pytest.mark.parametrize("out", ["deploy", ".", "deploy/systemd"])
def test_the_checkout_s_own_folders_are_left_alone(tmp_path, out):
    for name in ("deploy", "runtime", "export", "requirements"):
        shutil.copytree(ROOT / name, tmp_path / name)
    before = {path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts}
    assert "holds other files" in run(out, cwd=tmp_path)
    after = {path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts}
    assert after == before


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    assert f"cannot write {tmp_path}/file/bundle" in run(tmp_path / "file/bundle")
