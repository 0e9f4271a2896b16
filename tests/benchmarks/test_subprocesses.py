"""Ctrl-C ends the process of a benchmark case, and what it started."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = """
import sys
from benchmarks.harness import subprocesses
from runtime.cli.exit_status import exit_status
child = "import subprocess; subprocess.run(['sleep', '1000'])"
sys.exit(exit_status(lambda: subprocesses.run([sys.executable, "-c", child])))
"""


def running(mark: str) -> list[str]:
    """The command lines of processes that have `mark` in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text())
        except OSError:
            continue
    return [line for line in found if line]


def test_interrupt_ends_a_case_and_its_children(tmp_path):
    mark = f"MARK={tmp_path}"
    process = subprocess.Popen(
        [sys.executable, "-c", CODE],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "MARK": str(tmp_path)},
        # What starts the tests in the background has SIGINT ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    end = time.monotonic() + 60
    while not any(line.startswith("sleep") for line in running(mark)):
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == "interrupted\n"
    assert process.returncode == 130
    while running(mark):  # the kernel takes a moment
        assert time.monotonic() < end
        time.sleep(0.05)
