"""Sweeps train settings × seeds; a killed training continues from its checkpoint."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("optuna", reason='needs optuna: pip install "digit-edge[sweep]"')
pytest.importorskip("tensorflow", reason='needs pip install "digit-edge[train]"')

ROOT = Path(__file__).parents[3]


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "train.sweep", "--data", "embedded", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--vary", "dropout"], "--vary dropout: pass NAME=A,B,… with one or more numbers"),
        (["--vary", "dropout=0.1,,"], "--vary dropout=0.1,,: pass NAME=A,B,…"),
        (["--vary", "dropout=2"], "--set dropout=2: pass NAME=NUMBER"),
        (["--vary", "depth=2"], "--set depth=2: there is no setting 'depth'"),
        (["--vary", "dropout=0", "--vary", "dropout=1"], "dropout is varied twice"),
    ],
)
def test_invalid_setting_is_an_error_before_any_training(tmp_path, options, message):
    with start("--out", tmp_path / "out", *options) as process:
        stdout, stderr = process.communicate(timeout=120)
    assert (process.returncode, stdout) == (2, "")
    assert message in stderr
    assert stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_failed_training_is_reported_and_the_status_is_2(tmp_path):
    with start("--out", tmp_path / "out", "--data", "missing", "--seeds", 1) as process:
        stdout, stderr = process.communicate(timeout=240)
    assert process.returncode == 2
    assert stderr.startswith("recipe seed 0 failed: error: ")
    assert "Test accuracy" not in stdout


@pytest.mark.scale
def test_killed_trainings_of_two_processes_continue_from_their_checkpoints(tmp_path):
    options = ("--fast", "--epochs", 6, "--seeds", 1, "--vary", "dropout=0.1")
    with start("--out", tmp_path / "whole", *options) as whole:
        whole.communicate(timeout=900)
    assert whole.returncode == 0
    out = tmp_path / "out"
    first, second = (start("--out", out, *options) for _ in range(2))
    while len(list(out.glob("*/digits-checkpoint.npz"))) < 2:
        assert first.poll() is None or second.poll() is None
        time.sleep(0.1)
    for process in (first, second):
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    with start("--out", out, *options) as last:
        stdout, stderr = last.communicate(timeout=900)
    assert last.returncode == 0, stderr
    assert "2 of 2 runs done" in stdout
    assert (out / "runs.csv").read_text() == (tmp_path / "whole/runs.csv").read_text()
    for path in out.glob("*/digits.keras"):
        same = tmp_path / "whole" / path.relative_to(out)
        assert path.read_bytes() == same.read_bytes()
        log = path.with_name("log.txt").read_text()
        assert log.count("training images,") == 2
        assert log.count("no checkpoint") == 1  # the first start
