"""The processed images are remembered across restarts, in a file of limited size."""

import random
import subprocess
import sys
import time

from runtime.watch.seen_files import _SLACK_ENTRIES, FileFingerprint, SeenFiles


def seen_files_of_20_images(file):
    """Save 20 images; the fingerprint of "n.png" is (10, n, n + 1)."""
    seen_files = SeenFiles(file)
    for number in range(20):
        seen_files.add(f"{number}.png", FileFingerprint(10, number, number + 1))
    seen_files.save(0)
    return seen_files


def test_images_are_remembered_after_an_incomplete_line(tmp_path):
    file = tmp_path / "memory.jsonl"
    seen_files_of_20_images(file)
    with file.open("ab") as incomplete:
        incomplete.write(b'\n["20.png", 1')
    seen_files = SeenFiles(file)
    seen_files.add("21.png", FileFingerprint(10, 21, 22))
    seen_files.save(0)
    seen_files = SeenFiles(file)
    assert seen_files.knows("21.png", FileFingerprint(10, 21, 22))
    assert seen_files.knows("0.png", FileFingerprint(10, 0, 99))
    assert not seen_files.knows("20.png", FileFingerprint(1, 0, 0))


def test_is_new_only_until_the_file_exists(tmp_path):
    file = tmp_path / "memory.jsonl"
    assert seen_files_of_20_images(file).is_new
    assert not SeenFiles(file).is_new


def test_oldest_images_that_left_the_folder_are_forgotten(tmp_path, monkeypatch):
    file = tmp_path / "memory.jsonl"
    seen_files_of_20_images(file)
    seen_files = SeenFiles(file)
    seen_files.add("21.png", FileFingerprint(10, 21, 22))
    assert seen_files.knows("21.png", FileFingerprint(10, 21, 22))
    assert seen_files.knows("0.png", FileFingerprint(10, 0, 99))
    monkeypatch.setattr("runtime.watch.seen_files.MAX_GONE_IMAGES", 5)
    seen_files.forget_gone()
    assert seen_files.knows("0.png", FileFingerprint(10, 0, 1))
    assert seen_files.knows("19.png", FileFingerprint(10, 19, 20))
    assert not seen_files.knows("1.png", FileFingerprint(10, 1, 2))


def test_file_and_memory_stay_small_while_images_are_overwritten(tmp_path):
    file = tmp_path / "memory.jsonl"
    seen_files = SeenFiles(file)
    max_lines = 0
    for number in range(3 * _SLACK_ENTRIES):
        seen_files.add(f"{number % 3}.png", FileFingerprint(10, number, number + 1))
        seen_files.save(0)
        seen_files.forget_gone()
        max_lines = max(max_lines, file.read_bytes().count(b"\n"))
    assert _SLACK_ENTRIES < max_lines <= _SLACK_ENTRIES + 6
    assert len(seen_files._fingerprints) <= _SLACK_ENTRIES + 6
    seen_files = SeenFiles(file)
    assert [
        seen_files.knows(f"{n}.png", FileFingerprint(10, number - 2 + n, 0)) for n in range(3)
    ] == [True] * 3


def test_kill_at_any_moment_loses_no_saved_image(tmp_path):
    """Also while the file is rewritten, which happens at almost every save here."""
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from runtime.watch import seen_files\n"
        "seen_files._SLACK_ENTRIES = 0\n"
        "files = seen_files.SeenFiles(Path(sys.argv[1]))\n"
        "for number in range(10**9):\n"
        "    files.add(f'{number % 3}.png', seen_files.FileFingerprint(10, number, number + 1))\n"
        "    files.save(0)\n"
        "    print(number, flush=True)\n"
    )
    for attempt in range(5):
        file = tmp_path / f"{attempt}.jsonl"
        command = [sys.executable, "-c", program, file]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            first = process.stdout.readline()
            time.sleep(random.random() * 0.2)
            process.kill()
            last = int([first, *process.stdout.read().splitlines()][-1])
        seen_files = SeenFiles(file)
        saved = max(fingerprint.mtime_ns for fingerprint in seen_files._by_path.values())
        assert last <= saved <= last + 1
