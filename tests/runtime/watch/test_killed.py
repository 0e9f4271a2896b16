"""A killed watcher repeats at most the result that was just delivered, and loses none."""

import collections
import json
import shutil
import subprocess
import sys
import time

import pytest

WAIT_S = 60
IMAGES = 150


@pytest.fixture
def inbox(tmp_path, golden):
    """A folder of images."""
    return fill(tmp_path / "in", golden, IMAGES)


def fill(folder, golden, count: int):
    """Write `count` images into a new folder, and return the folder."""
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:04}.png").write_bytes(golden[number % len(golden)][0])
    return folder


def lines_of(path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def kill_after_each(inbox, tmp_path, file, count: int, total: int, *options) -> int:
    """Run and kill the watcher after each `count` new lines in a file; return the kills.

    The last run ends when the file has `total` lines.
    """
    command = [sys.executable, "-m", "runtime.watch", inbox, "--existing", "--settle", "0"]
    command += ["--state", tmp_path / "state", "--out", tmp_path / "results"]
    command += options
    kills = 0
    while (before := len(lines_of(file))) < total:
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                end = time.monotonic() + WAIT_S
                while len(lines_of(file)) < min(before + count, total):
                    assert time.monotonic() < end
                    assert process.poll() is None
                    time.sleep(0.002)
            finally:
                process.kill()
        kills += 1
    return kills


def test_each_kill_repeats_at_most_one_image_and_loses_none(inbox, tmp_path):
    kills = kill_after_each(inbox, tmp_path, tmp_path / "results", 25, IMAGES)
    assert kills >= 4
    counts = collections.Counter(
        json.loads(line)["image"] for line in lines_of(tmp_path / "results")
    )
    # A kill while the last image is recorded could leave one image for another run.
    assert len(counts) >= IMAGES - 1
    assert counts.total() - len(counts) <= kills


@pytest.mark.slow
def test_a_hundred_kills_in_a_backlog_of_1500_repeat_at_most_one_image_each(tmp_path, golden):
    inbox, results = fill(tmp_path / "in", golden, 1500), tmp_path / "results"
    kills = 0
    for _ in range(100):
        kills += kill_after_each(inbox, tmp_path, results, 5, len(lines_of(results)) + 5)
    counts = collections.Counter(json.loads(line)["image"] for line in lines_of(results))
    repeated = counts.total() - len(counts)
    recorded = {json.loads(line)[0] for line in lines_of(tmp_path / "state") if line}
    lost = {str(inbox / name) for name in recorded} - set(counts)
    print(f"{kills} kills, {len(counts)} images, {repeated} repeated, {len(lost)} lost")
    assert kills == 100
    assert repeated <= kills
    assert not lost


def test_image_is_not_recorded_before_a_slow_command_has_run(inbox, tmp_path, golden):
    """The command is slower than the classifier, so that several runs are waiting at each kill."""
    log = tmp_path / "log"
    hook = f"sh -c 'sleep 0.02; echo \"$DIGIT_EDGE_IMAGE\" >> {log}'"
    kill_after_each(inbox, tmp_path, log, 20, 80, "--on-digit", hook)
    ran = set(lines_of(log))
    recorded = [json.loads(line)[0] for line in lines_of(tmp_path / "state") if line]
    assert len(recorded) > 10
    assert {str(inbox / name) for name in recorded} <= ran


def test_second_watcher_with_the_same_state_is_rejected(popen, inbox, tmp_path):
    command = [sys.executable, "-m", "runtime.watch", inbox, "--settle", "0", "--state"]
    first = popen([*command, tmp_path / "state"], stderr=subprocess.PIPE, text=True)
    assert first.stderr.readline().startswith("watching")
    (tmp_path / "link").symlink_to(tmp_path / "state")
    for name in ("state", "link"):
        second = subprocess.run([*command, tmp_path / name], capture_output=True, text=True)
        assert (second.returncode, second.stdout) == (2, "")
        assert second.stderr == (
            f"error: {tmp_path / name} is in use by process {first.pid}: stop that process, or "
            "pass another file with --state\n"
        )
    first.kill()
    first.wait()
    shutil.rmtree(inbox)
    third = subprocess.run([*command, tmp_path / "state"], capture_output=True, text=True)
    assert "no such folder" in third.stderr
