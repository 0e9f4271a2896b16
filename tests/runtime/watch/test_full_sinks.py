"""digit-edge watch with full sinks: no image is lost."""

import json
import os
import resource
import signal
import time
from pathlib import Path

import pytest

# The command with sinks that are full after three results.
SMALL_SINKS = (
    "import sys\n"
    "from runtime.outputs import command_hook, json_lines\n"
    "command_hook.MAX_WAITING_RUNS = json_lines.MAX_KEPT_RESULTS = 3\n"
    "from runtime.cli.exit_status import exit_status\n"
    "from runtime.watch.__main__ import main\n"
    "sys.exit(exit_status(main))"
)


def remembered(state: Path) -> list[str]:
    """Return the sorted names of the images in a state file."""
    return sorted(json.loads(line)[0] for line in state.read_text().splitlines() if line)


def test_slow_command_runs_for_every_image(watch, tmp_path, pictures):
    state, ran = tmp_path / "remembered", tmp_path / "ran"
    slow = f"sh -c 'sleep 0.05; echo \"$0\" >> {ran}' {{image}}"
    watcher = watch("--state", state, "--on-digit", slow, program=("-c", SMALL_SINKS))
    names = [f"{number:02}.bmp" for number in range(20)]
    for name in names:
        (tmp_path / "in" / name).write_bytes(pictures[3][0])
    assert sorted(os.path.basename(watcher.next()["image"]) for _ in names) == names
    assert watcher.end() == 0
    assert watcher.errors.empty()
    assert sorted(os.path.basename(line) for line in ran.read_text().splitlines()) == names
    assert remembered(state) == names


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGKILL])
def test_full_disk_loses_no_image_across_a_restart(watch, tmp_path, pictures, signal_number):
    """A limit on the file size simulates a full disk."""
    state, out = tmp_path / "remembered", tmp_path / "results.jsonl"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))

    arguments = ("--state", state, "--out", out)
    watcher = watch(*arguments, program=("-c", SMALL_SINKS), preexec_fn=limit)
    names = [f"{number:02}.bmp" for number in range(20)]
    for name in names:
        (tmp_path / "in" / name).write_bytes(pictures[3][0])
    assert "results are kept" in watcher.complaint()
    time.sleep(1)  # several scans
    written = len(out.read_text().splitlines())
    assert 0 < watcher.records.qsize() == written + 3 < 20  # 3 kept by the sink
    status = watcher.end(signal_number)
    assert status == (2 if signal_number == signal.SIGTERM else -signal.SIGKILL)
    before = remembered(state)
    assert len(before) <= written
    watcher = watch(*arguments)
    assert watcher.names(20 - len(before)) == names[len(before) :]
    assert watcher.end() == 0
    lines = out.read_text().splitlines()
    assert {os.path.basename(json.loads(line)["image"]) for line in lines} == set(names)
    assert remembered(state) == names


def test_watch_continues_after_space_was_freed(watch, tmp_path, pictures):
    out = tmp_path / "results.jsonl"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))

    watcher = watch("--out", out, program=("-c", SMALL_SINKS), preexec_fn=limit)
    for number in range(20):
        (tmp_path / "in" / f"{number}.bmp").write_bytes(pictures[3][0])
    assert "results are kept" in watcher.complaint()
    time.sleep(0.5)
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(watcher.process.pid, resource.RLIMIT_FSIZE, unlimited)
    assert len(watcher.names(20)) == 20
    assert watcher.end() == 0
    assert "kept results that are written now: 3" in watcher.errors.get()
    assert watcher.errors.empty()
    assert len(out.read_text().splitlines()) == 20
