"""digit-edge watch, run like a service."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime.model.default_model import find_model


def test_image_is_classified_once_however_it_arrives(watch, tmp_path, pictures):
    """Written at once, written slowly, renamed into place, or in a subfolder."""
    folder = tmp_path / "in"
    watcher = watch()
    data, label = pictures[3]
    (folder / "whole.bmp").write_bytes(data)
    (folder / "renamed.bmp.part").write_bytes(data)
    with (folder / "slow.bmp").open("wb", buffering=0) as file:
        for start in range(0, len(data), len(data) // 20):
            file.write(data[start : start + len(data) // 20])
            time.sleep(0.05)
    os.rename(folder / "renamed.bmp.part", folder / "renamed.bmp")
    (folder / "below").mkdir()
    (folder / "below" / "deep.bmp").write_bytes(data)
    records = [watcher.next() for _ in range(4)]
    assert {Path(r["image"]).name for r in records} == {
        *("whole.bmp", "slow.bmp", "renamed.bmp", "deep.bmp")
    }
    assert all(
        (r["label"], r["accepted"], r["backend"]) == (label, True, "litert") for r in records
    )
    assert watcher.names(0) == []
    assert watcher.end() == 0
    assert watcher.errors.empty()


def test_existing_hidden_and_other_files_are_ignored(watch, tmp_path, pictures):
    folder = tmp_path / "in"
    folder.mkdir()
    data = pictures[3][0]
    (folder / "before.bmp").write_bytes(data)
    (folder / "loop.bmp").symlink_to("loop.bmp")
    watcher = watch()
    (folder / ".hidden.bmp").write_bytes(data)
    (folder / "notes.txt").write_bytes(data)
    (folder / "unfinished.bmp.part").write_bytes(data)
    (folder / "last.bmp").write_bytes(data)
    assert watcher.names(1) == ["last.bmp"]
    assert watcher.end() == 0
    assert watcher.errors.empty()


def test_moved_image_is_known_and_overwritten_image_is_new(watch, tmp_path, pictures):
    folder = tmp_path / "in"
    watcher = watch()
    data = pictures[3][0]
    (folder / "below").mkdir()
    for name in ("moved.bmp", "overwritten.bmp"):
        (folder / name).write_bytes(data)
    assert watcher.names(2) == ["moved.bmp", "overwritten.bmp"]
    os.rename(folder / "moved.bmp", folder / "below" / "moved.bmp")
    (folder / "overwritten.bmp").write_bytes(pictures[5][0])
    record = watcher.next()
    assert (Path(record["image"]).name, record["label"]) == ("overwritten.bmp", pictures[5][1])
    (folder / "last.bmp").write_bytes(data)
    assert watcher.names(1) == ["last.bmp"]
    assert watcher.end() == 0
    assert watcher.errors.empty()


def test_incomplete_image_is_classified_after_it_was_completed(watch, tmp_path, pictures):
    watcher = watch()
    data, label = pictures[3]
    image = tmp_path / "in" / "image.bmp"
    image.write_bytes(data[: len(data) // 2])
    time.sleep(0.8)  # several settling times
    assert watcher.records.empty()
    with image.open("ab") as file:
        file.write(data[len(data) // 2 :])
    record = watcher.next()
    assert (record["image"], record["label"]) == (str(image), label)


def test_image_that_stays_incomplete_is_reported_until_it_is_rewritten(watch, tmp_path, pictures):
    watcher = watch()
    data, label = pictures[3]
    image = tmp_path / "in" / "image.bmp"
    image.write_bytes(data[: len(data) // 2])
    record = watcher.next()
    assert record["image"] == str(image)
    assert "damaged" in record["error"]
    image.write_bytes(data)
    assert watcher.next()["label"] == label
    assert watcher.names(0) == []


def test_watching_continues_after_the_folder_was_moved_away_and_back(watch, tmp_path, pictures):
    folder, away = tmp_path / "in", tmp_path / "away"
    watcher = watch()
    (folder / "1.bmp").write_bytes(pictures[0][0])
    assert watcher.names(1) == ["1.bmp"]
    folder.rename(away)
    assert "waiting until it is back" in watcher.complaint()
    (away / "2.bmp").write_bytes(pictures[1][0])
    away.rename(folder)
    assert watcher.complaint() == f"{folder} is back\n"
    assert watcher.names(1) == ["2.bmp"]
    assert watcher.end() == 0


def test_images_that_come_back_with_another_inode_are_known(watch, tmp_path, pictures):
    """As on a removable disk: its mount point is empty without it, and inodes may change."""
    folder, away = tmp_path / "in", tmp_path / "away"
    watcher = watch()
    for number, name in enumerate(("1.bmp", "2.bmp")):
        (folder / name).write_bytes(pictures[number][0])
    assert watcher.names(2) == ["1.bmp", "2.bmp"]
    for name in ("1.bmp", "2.bmp"):
        shutil.copy2(folder / name, away.with_name(name))
        (folder / name).unlink()
    time.sleep(0.5)
    for name in ("1.bmp", "2.bmp"):
        shutil.copy2(away.with_name(name), folder / name)
    assert watcher.names(0) == []
    assert watcher.end() == 0


def test_watching_continues_in_a_folder_that_was_deleted_and_created_again(
    watch, tmp_path, pictures
):
    folder = tmp_path / "in"
    watcher = watch()
    shutil.rmtree(folder)
    assert watcher.complaint().startswith(f"error: {folder} cannot be read")
    folder.mkdir()
    (folder / "3.bmp").write_bytes(pictures[2][0])
    assert watcher.names(1) == ["3.bmp"]
    assert watcher.end() == 0


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGKILL])
def test_restart_continues_with_images_that_arrived_meanwhile(
    watch, tmp_path, pictures, signal_number
):
    folder = tmp_path / "in"
    watcher = watch()
    for name in ("1.bmp", "2.bmp"):
        (folder / name).write_bytes(pictures[0][0])
    assert watcher.names(2) == ["1.bmp", "2.bmp"]
    status = watcher.end(signal_number)
    assert status == (0 if signal_number == signal.SIGTERM else -signal.SIGKILL)
    (folder / "3.bmp").write_bytes(pictures[0][0])
    # The folder may be spelled differently.
    watcher = watch(folder=tmp_path / "in" / ".." / "in")
    assert watcher.names(1) == ["3.bmp"]


def test_existing_images_are_classified_only_with_the_option(watch, tmp_path, pictures):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("1.bmp", "2.bmp", "3.bmp"):
        (folder / name).write_bytes(pictures[0][0])
    watcher = watch("--state", tmp_path / "first", "--existing")
    assert watcher.names(3) == ["1.bmp", "2.bmp", "3.bmp"]
    watcher.end()
    assert watch("--state", tmp_path / "second").names(0) == []


def test_images_with_old_or_future_mtime_are_classified(watch, tmp_path, pictures):
    folder = tmp_path / "in"
    watcher = watch()
    for name, seconds in (("old.bmp", 10**9), ("later.bmp", 4 * 10**9)):
        (folder / name).write_bytes(pictures[0][0])
        os.utime(folder / name, (seconds, seconds))
    assert watcher.names(2) == ["later.bmp", "old.bmp"]


def test_service_manager_is_notified_of_heartbeats(watch):
    watcher = watch(environment={"WATCHDOG_USEC": "400000"})
    assert [watcher.manager.recv(1000) for _ in range(3)] == [b"WATCHDOG=1"] * 3


def test_repeated_sigterm_is_a_clean_stop(watch):
    """The service manager is notified of the stop; further signals do not change the status."""
    watcher = watch(environment={"WATCHDOG_USEC": "400000"})
    time.sleep(0.3)  # until it waits between two scans
    watcher.process.send_signal(signal.SIGTERM)
    while watcher.manager.recv(1000) != b"STOPPING=1":
        pass
    while watcher.process.poll() is None:
        watcher.process.send_signal(signal.SIGTERM)
        time.sleep(0.001)
    assert watcher.end(None) == 0


def test_ctrl_c_exits_with_status_130(watch):
    watcher = watch(preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    assert watcher.end(signal.SIGINT) == 130
    assert watcher.errors.get() == "interrupted\n"


def test_replaced_model_is_reloaded(watch, tmp_path, pictures):
    """The int8 and the float model return different confidences for the same image."""
    model = tmp_path / "model.tflite"
    published = find_model("litert").parent
    shutil.copy(published / "digits-int8.tflite", model)
    watcher = watch("--model", model)
    (tmp_path / "in" / "1.bmp").write_bytes(pictures[2][0])
    first = watcher.next()["confidence"]
    shutil.copy(published / "digits.tflite", tmp_path / "new.tflite")
    os.replace(tmp_path / "new.tflite", model)
    time.sleep(1.2)  # more than the interval at which the model file is checked
    (tmp_path / "in" / "2.bmp").write_bytes(pictures[2][0])
    assert watcher.next()["confidence"] != first


def test_results_are_also_written_to_a_file(watch, tmp_path, pictures):
    out = tmp_path / "results.jsonl"
    watcher = watch("--out", out)
    (tmp_path / "in" / "1.bmp").write_bytes(pictures[0][0])
    record = watcher.next()
    assert watcher.end() == 0
    assert [json.loads(line) for line in out.read_text().splitlines()] == [record]


def test_state_file_on_a_full_disk_is_reported_and_watching_continues(watch, tmp_path, pictures):
    """A limit on the file size simulates a full disk."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    watcher = watch(preexec_fn=limit)
    for number in range(4):
        (tmp_path / "in" / f"{number}.bmp").write_bytes(pictures[0][0])
    assert watcher.names(4) == [f"{number}.bmp" for number in range(4)]
    message = watcher.complaint()
    assert message.startswith("error: cannot write ")
    assert "a restart may classify" in message
    assert watcher.end() == 0
    assert watcher.errors.empty()


def test_missing_state_folder_is_reported_and_watching_continues(watch, tmp_path, pictures):
    (tmp_path / "file").write_text("")
    watcher = watch(environment={"STATE_DIRECTORY": str(tmp_path / "file")})
    message = watcher.complaint()
    assert message.startswith("error: ")
    assert "images that arrive between two runs" in message
    (tmp_path / "in" / "1.bmp").write_bytes(pictures[0][0])
    assert watcher.names(1) == ["1.bmp"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent"], "error: cannot watch absent: there is no such folder"),
        (["file"], "error: cannot watch file: it is not a folder"),
        ([".", "--state", "file/state"], "error: cannot use file/state to remember images"),
        ([".", "--state", "/dev/null"], "error: cannot use /dev/null to remember images"),
        ([".", "--model", "absent.tflite"], "error: cannot read the model absent.tflite"),
        ([".", "--on-digit", "absent"], "error: --on-digit: command 'absent' not found"),
        ([".", "--interval", "0"], "--interval more than 0"),
        ([".", "--interval", "nan"], "--interval more than 0"),
        ([".", "--interval", "inf"], "--interval more than 0"),
        ([".", "--settle", "nan"], "--settle must be 0 or more"),
        ([".", "--settle", "inf"], "--settle must be 0 or more"),
        ([".", "--settle", "-1"], "--settle must be 0 or more"),
        ([".", "--mqtt", "mqtt://a..b/t"], "error: --mqtt: invalid URL; write mqtt[s]://"),
    ],
)
def test_invalid_usage_is_one_message_and_exit_status_2(tmp_path, arguments, message):
    (tmp_path / "file").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "runtime.watch", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")},
        timeout=60,
    )
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_image_that_killed_the_program_twice_is_skipped_and_reported(watch, tmp_path, pictures):
    folder = tmp_path / "in"
    # Simulates a decoder that runs out of memory.
    program = (
        "import os, signal, sys\n"
        "from runtime.watch.__main__ import main\n"
        "from runtime.classifier import Classifier\n"
        "from runtime.cli.exit_status import exit_status\n"
        "classify = Classifier.classify\n"
        "def deadly(self, image):\n"
        "    if image.endswith('deadly.bmp'):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return classify(self, image)\n"
        "Classifier.classify = deadly\n"
        "sys.exit(exit_status(main))\n"
    )
    watcher = watch(program=("-c", program))
    for name, seconds in (("first.bmp", 1), ("deadly.bmp", 2), ("last.bmp", 3)):
        (folder / name).write_bytes(pictures[0][0])
        os.utime(folder / name, (seconds, seconds))
    assert watcher.end(None) == -signal.SIGKILL
    assert watch(program=("-c", program)).end(None) == -signal.SIGKILL
    watcher = watch(program=("-c", program))
    records = [watcher.next() for _ in range(2)]
    assert [Path(record["image"]).name for record in records] == ["deadly.bmp", "last.bmp"]
    assert "ended 2 times while it read this image" in records[0]["error"]
    assert records[1]["label"] == pictures[0][1]
    assert watcher.end() == 0
    assert watch(program=("-c", program)).names(0) == []
