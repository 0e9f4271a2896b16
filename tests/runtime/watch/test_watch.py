"""python -m runtime.watch, run as a service runs it."""

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

from runtime.classifier import find_model


def test_each_image_that_arrives_is_classified_once(watch, tmp_path, pictures):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "before.bmp").write_bytes(pictures[0][0])
    (folder / "loop.bmp").symlink_to("loop.bmp")
    watcher = watch()
    data, label = pictures[3]
    # Put there whole, written slowly, renamed into place, in a folder of its own.
    (folder / "whole.bmp").write_bytes(data)
    (folder / "renamed.bmp.part").write_bytes(data)
    (folder / ".hidden.bmp").write_bytes(data)
    (folder / "notes.txt").write_bytes(data)
    with (folder / "slow.bmp").open("wb", buffering=0) as file:
        for at in range(0, len(data), len(data) // 20):
            file.write(data[at : at + len(data) // 20])
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
    # Moved about it is the same image; overwritten it is another.
    os.rename(folder / "whole.bmp", folder / "below" / "moved.bmp")
    (folder / "slow.bmp").write_bytes(pictures[5][0])
    record = watcher.next()
    assert (Path(record["image"]).name, record["label"]) == ("slow.bmp", pictures[5][1])
    (folder / "last.bmp").write_bytes(data)
    assert watcher.names(1) == ["last.bmp"]
    assert watcher.end() == 0
    assert watcher.errors.empty()


def test_half_an_image_is_waited_for_and_reported_in_the_end(watch, tmp_path, pictures):
    watcher = watch()
    data, label = pictures[3]
    whole, half = tmp_path / "in" / "whole.bmp", tmp_path / "in" / "half.bmp"
    whole.write_bytes(data[: len(data) // 2])
    time.sleep(0.8)  # several times as long as it takes to settle
    assert watcher.records.empty()
    with whole.open("ab") as file:
        file.write(data[len(data) // 2 :])
    record = watcher.next()
    assert (record["image"], record["label"]) == (str(whole), label)
    half.write_bytes(data[: len(data) // 2])
    record = watcher.next()
    assert record["image"] == str(half)
    assert "damaged" in record["error"]
    half.write_bytes(data)
    assert watcher.next()["label"] == label
    assert watcher.names(0) == []


def test_it_survives_the_folder_vanishing_and_coming_back(watch, tmp_path, pictures):
    folder, away = tmp_path / "in", tmp_path / "away"
    watcher = watch()
    (folder / "1.bmp").write_bytes(pictures[0][0])
    assert watcher.names(1) == ["1.bmp"]
    folder.rename(away)
    assert "waiting for it to come back" in watcher.complaint()
    (away / "2.bmp").write_bytes(pictures[1][0])
    away.rename(folder)
    assert watcher.complaint() == f"{folder} is back\n"
    assert watcher.names(1) == ["2.bmp"]
    # As when a stick is taken out: the folder it was mounted at is there, and empty; and the
    # inodes of a stick that comes back may be others.
    for name in ("1.bmp", "2.bmp"):
        shutil.copy2(folder / name, away.with_name(name))
        (folder / name).unlink()
    time.sleep(0.5)
    for name in ("1.bmp", "2.bmp"):
        shutil.copy2(away.with_name(name), folder / name)
    assert watcher.names(0) == []
    shutil.rmtree(folder)
    assert watcher.complaint().startswith(f"error: {folder} cannot be read")
    folder.mkdir()
    (folder / "3.bmp").write_bytes(pictures[2][0])
    assert watcher.names(1) == ["3.bmp"]
    assert watcher.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_goes_on_with_what_has_arrived_meanwhile(watch, tmp_path, pictures, number):
    folder = tmp_path / "in"
    watcher = watch()
    for name in ("1.bmp", "2.bmp"):
        (folder / name).write_bytes(pictures[0][0])
    assert watcher.names(2) == ["1.bmp", "2.bmp"]
    assert watcher.end(number) == (0 if number == signal.SIGTERM else -signal.SIGKILL)
    (folder / "3.bmp").write_bytes(pictures[0][0])
    # However the folder is named.
    watcher = watch(folder=tmp_path / "in" / ".." / "in")
    assert watcher.names(1) == ["3.bmp"]
    watcher.end()
    # Another memory knows nothing: what is there is passed over, or taken where that is asked.
    watcher = watch("--state", tmp_path / "another", "--existing")
    assert watcher.names(3) == ["1.bmp", "2.bmp", "3.bmp"]
    watcher.end()
    assert watch("--state", tmp_path / "third").names(0) == []


def test_the_clock_does_not_matter(watch, tmp_path, pictures):
    folder = tmp_path / "in"
    watcher = watch()
    for name, seconds in (("old.bmp", 10**9), ("later.bmp", 4 * 10**9)):
        (folder / name).write_bytes(pictures[0][0])
        os.utime(folder / name, (seconds, seconds))
    assert watcher.names(2) == ["later.bmp", "old.bmp"]


def test_a_service_manager_hears_of_it(watch):
    watcher = watch(environment={"WATCHDOG_USEC": "400000"})
    heard = [watcher.manager.recv(1000) for _ in range(3)]
    assert heard == [b"WATCHDOG=1"] * 3
    manager = watcher.manager
    watcher.process.send_signal(signal.SIGTERM)
    while heard[-1] != b"STOPPING=1":
        heard.append(manager.recv(1000))
    while watcher.process.poll() is None:  # impatience is no failure
        watcher.process.send_signal(signal.SIGTERM)
        time.sleep(0.001)
    assert watcher.end(None) == 0


def test_ctrl_c_ends_it(watch):
    watcher = watch(preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    assert watcher.end(signal.SIGINT) == 130
    assert watcher.errors.get() == "interrupted\n"


def test_a_new_model_is_taken_up_while_it_runs(watch, tmp_path, pictures):
    """The int8 and the float model give the same picture confidences that differ."""
    model = tmp_path / "model.tflite"
    published = find_model("litert").parent
    shutil.copy(published / "digits-int8.tflite", model)
    watcher = watch("--model", model)
    (tmp_path / "in" / "1.bmp").write_bytes(pictures[2][0])
    first = watcher.next()["confidence"]
    shutil.copy(published / "digits.tflite", tmp_path / "new.tflite")
    os.replace(tmp_path / "new.tflite", model)
    time.sleep(1.2)  # how often the file is looked at
    (tmp_path / "in" / "2.bmp").write_bytes(pictures[2][0])
    assert watcher.next()["confidence"] != first


def test_results_go_to_a_file_whole(watch, tmp_path, pictures):
    out = tmp_path / "results.jsonl"
    watcher = watch("--out", out)
    (tmp_path / "in" / "1.bmp").write_bytes(pictures[0][0])
    record = watcher.next()
    assert watcher.end() == 0
    assert [json.loads(line) for line in out.read_text().splitlines()] == [record]


def test_what_it_cannot_write_down_stops_nothing(watch, tmp_path, pictures):
    """As on a full disk: a file that may not grow."""

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


def test_without_a_place_to_remember_it_says_so_and_runs(watch, tmp_path, pictures):
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
        (
            [".", "--on-digit", "no-such-command"],
            "error: --on-digit: command 'no-such-command' not found",
        ),
        ([".", "--interval", "0"], "--interval more than 0"),
        ([".", "--interval", "nan"], "--interval more than 0"),
        ([".", "--interval", "inf"], "--interval more than 0"),
        ([".", "--settle", "nan"], "--settle must be 0 or more"),
        ([".", "--settle", "inf"], "--settle must be 0 or more"),
        ([".", "--settle", "-1"], "--settle must be 0 or more"),
        ([".", "--mqtt", "mqtt://a..b/t"], "error: --mqtt: invalid URL; write mqtt[s]://"),
    ],
)
def test_bad_usage_is_one_message_and_exit_2(tmp_path, arguments, message):
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


def test_image_that_kills_it_twice_is_set_aside_and_reported(watch, tmp_path, pictures):
    folder = tmp_path / "in"
    # A decoder that runs out of memory ends like this.
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
