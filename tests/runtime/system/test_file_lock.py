"""A lock rejects a second process, names the first one, and ends with it."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.errors import EdgeError
from runtime.system.file_lock import locked

HOLDER = (
    "import sys\n"
    "from pathlib import Path\n"
    "from runtime.system.file_lock import locked\n"
    "with locked(Path(sys.argv[1]), 'wait'):\n"
    "    print('locked', flush=True)\n"
    "    sys.stdin.read()\n"
)


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of `state`, and the path of `state`."""
    state = tmp_path / "state"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, state],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout.readline() == "locked\n"
        yield process, state
        process.kill()


def test_second_process_is_rejected_with_file_and_process_id(holder):
    process, state = holder
    with (
        pytest.raises(EdgeError, match=re.escape(f"{state} is in use by process {process.pid}: w")),
        locked(state, "wait"),
    ):
        raise AssertionError("the block must not run")


def test_lock_is_found_by_another_name_of_the_same_file(holder, tmp_path):
    _, state = holder
    state.touch()
    (tmp_path / "link").symlink_to(state)
    with pytest.raises(EdgeError, match="is in use"), locked(tmp_path / "link", "wait"):
        raise AssertionError("the block must not run")


def test_lock_ends_with_a_killed_process(holder):
    process, state = holder
    process.send_signal(signal.SIGKILL)
    process.wait()
    with locked(state, "wait"):
        assert (state.parent / ".state.lock").read_text() == f"{os.getpid()}\n"
    assert list(state.parent.iterdir()) == []


def test_lock_file_is_deleted_at_the_end(holder):
    process, state = holder
    process.stdin.close()
    process.wait()
    assert list(state.parent.iterdir()) == []


def test_symbolic_link_in_place_of_the_lock_file_is_not_followed(tmp_path):
    (tmp_path / "victim").write_text("content")
    (tmp_path / ".state.lock").symlink_to(tmp_path / "victim")
    with locked(tmp_path / "state", "wait"):
        pass
    assert (tmp_path / "victim").read_text() == "content"


def test_folder_that_cannot_be_written_does_not_stop_the_command():
    with locked(Path("/proc/no/state"), "wait"):
        pass


@pytest.mark.parametrize("command", ["train", "train.lines"])
def test_second_training_of_the_same_file_is_rejected(holder, command):
    process, state = holder
    done = subprocess.run(
        [sys.executable, "-m", command, "--data", "embedded", "--out", state],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: {state} is in use by process {process.pid}: wait until that training ends, or "
        "pass another file with --out\n"
    )
