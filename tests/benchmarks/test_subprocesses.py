"""Tests that Ctrl-C ends the subprocess of a benchmark case and its children."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Runs a program that starts a child, as a benchmark command runs a case.
CODE = """
import sys
from benchmarks.harness import subprocesses
from runtime.cli.exit_status import exit_status
child = "import subprocess; subprocess.run(['sleep', '1000'])"
sys.exit(exit_status(lambda: subprocesses.run([sys.executable, "-c", child])))
"""


def running(mark: str) -> list[str]:
    """Return the command lines of the processes that have `mark` in their environment."""
    commands = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "environ").read_bytes():
                commands.append((process / "cmdline").read_text())
        except OSError:
            continue
    return [command for command in commands if command]


def test_interrupt_ends_a_case_and_its_children(popen, tmp_path):
    mark = f"MARK={tmp_path}"
    process = popen(
        [sys.executable, "-c", CODE],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "MARK": str(tmp_path)},
        # Children inherit an ignored SIGINT, which a shell sets for tests run in the background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not any(command.startswith("sleep") for command in running(mark)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == "interrupted\n"
    assert process.returncode == 130
    while running(mark):  # the kernel ends killed processes asynchronously
        assert time.monotonic() < deadline
        time.sleep(0.05)
