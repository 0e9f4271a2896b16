"""What is remembered of the images that have arrived."""

import random
import subprocess
import sys
import time

from runtime.watch.seen_files import _SLACK_ENTRIES, FileFingerprint, SeenFiles


def test_what_is_remembered_survives_torn_lines_and_does_not_grow_for_ever(tmp_path, monkeypatch):
    file = tmp_path / "memory.jsonl"
    seen_files = SeenFiles(file)
    assert seen_files.is_new
    for number in range(20):
        seen_files.add(f"{number}.png", FileFingerprint(10, number, number + 1))
    seen_files.save()
    with file.open("ab") as torn:
        torn.write(b'\n["20.png", 1')
    seen_files = SeenFiles(file)
    assert not seen_files.is_new
    seen_files.add("21.png", FileFingerprint(10, 21, 22))
    seen_files.save()
    seen_files = SeenFiles(file)
    assert seen_files.knows("21.png", FileFingerprint(10, 21, 22))
    assert seen_files.knows("0.png", FileFingerprint(10, 0, 99))
    assert not seen_files.knows("20.png", FileFingerprint(1, 0, 0))
    # The oldest of those gone are forgotten, what is there never.
    monkeypatch.setattr("runtime.watch.seen_files.MAX_GONE_IMAGES", 5)
    seen_files.forget_gone()
    assert seen_files.knows("0.png", FileFingerprint(10, 0, 1))
    assert seen_files.knows("19.png", FileFingerprint(10, 19, 20))
    assert not seen_files.knows("1.png", FileFingerprint(10, 1, 2))


def test_the_file_does_not_grow_while_it_runs(tmp_path):
    """As where one image is overwritten again and again."""
    file = tmp_path / "memory.jsonl"
    seen_files = SeenFiles(file)
    most = 0
    for number in range(3 * _SLACK_ENTRIES):
        seen_files.add(f"{number % 3}.png", FileFingerprint(10, number, number + 1))
        seen_files.save()
        seen_files.forget_gone()
        most = max(most, file.read_bytes().count(b"\n"))
    assert _SLACK_ENTRIES < most <= _SLACK_ENTRIES + 6
    assert len(seen_files._fingerprints) <= _SLACK_ENTRIES + 6
    seen_files = SeenFiles(file)
    assert [
        seen_files.knows(f"{n}.png", FileFingerprint(10, number - 2 + n, 0)) for n in range(3)
    ] == [True] * 3


def test_killed_at_any_moment_it_has_what_was_saved(tmp_path):
    """Also while it writes its file anew, which is most of the time here."""
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from runtime.watch import seen_files\n"
        "seen_files._SLACK_ENTRIES = 0\n"
        "files = seen_files.SeenFiles(Path(sys.argv[1]))\n"
        "for number in range(10**9):\n"
        "    files.add(f'{number % 3}.png', seen_files.FileFingerprint(10, number, number + 1))\n"
        "    files.save()\n"
        "    print(number, flush=True)\n"
    )
    for turn in range(5):
        file = tmp_path / f"{turn}.jsonl"
        command = [sys.executable, "-c", program, file]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            first = process.stdout.readline()
            time.sleep(random.random() * 0.2)
            process.kill()
            last = int([first, *process.stdout.read().splitlines()][-1])
        seen_files = SeenFiles(file)
        saved = max(fingerprint.mtime_ns for fingerprint in seen_files._by_path.values())
        assert last <= saved <= last + 1
