"""How often reading an image was killed is remembered across restarts."""

import contextlib
import os
import subprocess
import sys

from runtime.watch.kill_counter import KillCounter
from runtime.watch.seen_files import FileFingerprint

STAMP = FileFingerprint(10, 20, 30)


@contextlib.contextmanager
def counter_of(file):
    """A program's counter; a killed program leaves its file too, and nobody's lock on it."""
    with contextlib.closing(KillCounter(file)) as counter:
        yield counter


def killed_while_reading(file, path, fingerprint=STAMP):
    with counter_of(file) as counter:
        counter.begin(path, fingerprint)


def is_deadly(file, path, fingerprint=STAMP):
    with counter_of(file) as counter:
        return counter.is_deadly(path, fingerprint)


def test_image_is_deadly_after_two_kills(tmp_path):
    file = tmp_path / "state.reading"
    killed_while_reading(file, "a.png")
    assert not is_deadly(file, "a.png")
    killed_while_reading(file, "a.png")
    assert is_deadly(file, "a.png")
    assert is_deadly(file, "a.png")  # not forgotten by the next start


def test_kills_are_remembered_while_other_images_are_read(tmp_path):
    file = tmp_path / "state.reading"
    killed_while_reading(file, "a.png")
    with counter_of(file) as counter:
        counter.begin("b.png", STAMP)
        counter.end("b.png", STAMP)
    killed_while_reading(file, "a.png")
    assert is_deadly(file, "a.png")


def test_image_that_was_changed_is_another_one(tmp_path):
    file = tmp_path / "state.reading"
    killed_while_reading(file, "a.png")
    killed_while_reading(file, "a.png")
    assert not is_deadly(file, "a.png", STAMP._replace(mtime_ns=21))


def test_image_that_was_read_in_the_end_is_not_deadly(tmp_path):
    file = tmp_path / "state.reading"
    killed_while_reading(file, "a.png")
    with counter_of(file) as counter:
        counter.begin("a.png", STAMP)
        counter.end("a.png", STAMP)
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


def test_names_that_are_not_utf8_are_counted(tmp_path):
    file = tmp_path / "state.reading"
    name = os.fsdecode(b"\xff.png")
    killed_while_reading(file, name)
    killed_while_reading(file, name)
    assert is_deadly(file, name)


def test_file_that_cannot_be_written_stops_nothing(tmp_path):
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


def test_without_a_file_nothing_is_counted():
    counter = KillCounter(None)
    counter.begin("a.png", STAMP)
    assert not counter.is_deadly("a.png", STAMP)


def test_image_that_another_process_reads_has_killed_nobody(tmp_path):
    file = tmp_path / "state.reading"
    with counter_of(file) as running:
        for _ in range(3):
            running.begin("a.png", STAMP)
            assert not is_deadly(file, "a.png")
        running.end("a.png", STAMP)
    assert not is_deadly(file, "a.png")
