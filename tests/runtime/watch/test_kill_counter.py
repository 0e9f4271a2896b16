"""The kill counter remembers across restarts which images killed the program."""

import contextlib
import os
import subprocess
import sys

from runtime.watch.kill_counter import KillCounter
from runtime.watch.seen_files import FileFingerprint

FINGERPRINT = FileFingerprint(10, 20, 30)


@contextlib.contextmanager
def counter_of(file):
    """The counter of one run of the program; at its end the file is unlocked, as after a kill."""
    with contextlib.closing(KillCounter(file)) as counter:
        yield counter


def killed_while_reading(file, path, fingerprint=FINGERPRINT):
    with counter_of(file) as counter:
        counter.begin(path, fingerprint)


def is_deadly(file, path, fingerprint=FINGERPRINT):
    with counter_of(file) as counter:
        return counter.is_deadly(path, fingerprint)


def test_image_is_deadly_after_two_kills(tmp_path):
    file = tmp_path / "state.reading"
    killed_while_reading(file, "a.png")
    assert not is_deadly(file, "a.png")
    killed_while_reading(file, "a.png")
    assert is_deadly(file, "a.png")
    assert is_deadly(file, "a.png")  # still after another start


def test_kills_are_remembered_while_other_images_are_read(tmp_path):
    file = tmp_path / "state.reading"
    killed_while_reading(file, "a.png")
    with counter_of(file) as counter:
        counter.begin("b.png", FINGERPRINT)
        counter.end("b.png", FINGERPRINT)
    killed_while_reading(file, "a.png")
    assert is_deadly(file, "a.png")


def test_changed_image_starts_at_zero_kills(tmp_path):
    file = tmp_path / "state.reading"
    killed_while_reading(file, "a.png")
    killed_while_reading(file, "a.png")
    assert not is_deadly(file, "a.png", FINGERPRINT._replace(mtime_ns=21))


def test_successful_read_resets_the_kills(tmp_path):
    file = tmp_path / "state.reading"
    killed_while_reading(file, "a.png")
    with counter_of(file) as counter:
        counter.begin("a.png", FINGERPRINT)
        counter.end("a.png", FINGERPRINT)
    killed_while_reading(file, "a.png")
    assert not is_deadly(file, "a.png")


def test_damaged_file_counts_as_empty(tmp_path):
    file = tmp_path / "state.reading"
    for content in (b"", b"\0" * 100, b'["a.png"', b"[1, 2]\n", b'[["a.png", "x"], []]\n', b"{}\n"):
        file.write_bytes(content)
        assert not is_deadly(file, "a.png")
        killed_while_reading(file, "a.png")
        killed_while_reading(file, "a.png")
        assert is_deadly(file, "a.png")


def test_kills_are_counted_for_names_that_are_not_utf8(tmp_path):
    file = tmp_path / "state.reading"
    name = os.fsdecode(b"\xff.png")
    killed_while_reading(file, name)
    killed_while_reading(file, name)
    assert is_deadly(file, name)


def test_unwritable_file_raises_no_error(tmp_path):
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from runtime.watch.kill_counter import KillCounter\n"
        "from runtime.watch.seen_files import FileFingerprint\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8, 8))\n"
        "counter = KillCounter(Path(sys.argv[1]))\n"
        "counter.begin('a.png', FileFingerprint(1, 2, 3))\n"
        "counter.end('a.png', FileFingerprint(1, 2, 3))\n"
    )
    for file in (tmp_path / "state.reading", tmp_path / "no" / "folder", tmp_path):
        subprocess.run([sys.executable, "-c", program, file], check=True, timeout=60)
        assert not is_deadly(file, "a.png", FileFingerprint(1, 2, 3))


def test_kills_are_not_counted_without_a_file():
    counter = KillCounter(None)
    counter.begin("a.png", FINGERPRINT)
    assert not counter.is_deadly("a.png", FINGERPRINT)


def test_image_being_read_by_another_process_is_not_counted(tmp_path):
    file = tmp_path / "state.reading"
    with counter_of(file) as running:
        for _ in range(3):
            running.begin("a.png", FINGERPRINT)
            assert not is_deadly(file, "a.png")
        running.end("a.png", FINGERPRINT)
    assert not is_deadly(file, "a.png")
