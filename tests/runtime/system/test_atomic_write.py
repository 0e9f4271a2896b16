"""Files and folders are replaced atomically, also by a killed process; foreign files are kept."""

import os
import shutil
import subprocess
import sys

import pytest

from runtime.errors import EdgeError
from runtime.system import atomic_write
from runtime.system.atomic_write import atomic_file, atomic_folder
from tests.kill import kill_at_each_step

pytestmark = pytest.mark.portable


@pytest.fixture
def out(tmp_path):
    """An earlier output folder."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "ours").write_text("old")
    return out


OURS = {"ours", "folder/*.txt"}  # files that the command writes
MARKS = {"ours"}  # files that every output folder has


def test_earlier_output_is_replaced_and_no_temporary_folder_is_left(out):
    with atomic_folder(out, OURS, MARKS) as new:
        (new / "new").write_text("new")
        assert (out / "ours").read_text() == "old", "the old folder stays until the block ends"
    assert [p.name for p in out.iterdir()] == ["new"]
    assert list(out.parent.iterdir()) == [out]


def test_missing_parent_folders_are_made(tmp_path):
    with atomic_folder(tmp_path / "a/b/out", OURS, MARKS) as new:
        (new / "ours").write_text("new")
    assert (tmp_path / "a/b/out/ours").read_text() == "new"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_exception_in_the_block_keeps_the_old_folder(out, error):
    def write_and_fail() -> None:
        with atomic_folder(out, OURS, MARKS) as new:
            (new / "new").write_text("new")
            raise error

    with pytest.raises((EdgeError, KeyboardInterrupt)):
        write_and_fail()
    assert (out / "ours").read_text() == "old"
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize(
    ("name", "marks", "message"),
    [
        ("link", MARKS, "is not a folder"),
        ("out/ours", MARKS, "is not a folder"),
        ("out", {*MARKS, "mark"}, "other files"),
        ("out/ours/x", MARKS, "cannot write"),
    ],
    ids=["link", "file", "missing mark", "below a file"],
)
def test_unsuitable_folder_is_rejected_before_the_block(out, name, marks, message):
    out.with_name("link").symlink_to(out)
    path = out.parent / name
    with pytest.raises(EdgeError, match=message), atomic_folder(path, OURS, marks):
        raise AssertionError("the block must not run")


@pytest.mark.parametrize(
    "foreign", ["CNAME", ".git/HEAD", "folder/a.md", "folder/folder/a.txt", "ours.txt"]
)
def test_folder_with_a_foreign_file_is_unchanged(out, foreign):
    (out / "folder").mkdir()
    (out / "folder/a.txt").touch()
    (out / foreign).parent.mkdir(exist_ok=True)
    (out / foreign).write_text("mine")
    before = sorted(out.rglob("*"))
    with pytest.raises(EdgeError, match="would be deleted"), atomic_folder(out, OURS, MARKS):
        raise AssertionError("the block must not run")
    assert sorted(out.rglob("*")) == before


def test_foreign_file_that_appears_during_the_block_is_kept(out):
    with pytest.raises(EdgeError, match=r"\(mine\)"), atomic_folder(out, OURS, MARKS):
        (out / "mine").write_text("mine")
    assert (out / "mine").read_text() == "mine"
    assert list(out.parent.iterdir()) == [out]


def test_error_names_three_foreign_files(out):
    for name in "abcde":
        (out / name).touch()
    with (
        pytest.raises(EdgeError, match=r"\(a, b, c and 2 more\): move"),
        atomic_folder(out, OURS, MARKS),
    ):
        raise AssertionError("the block must not run")


@pytest.mark.parametrize("can_exchange", [True, False])
def test_killed_at_each_step_the_old_folder_or_the_new_one_is_complete(
    out, monkeypatch, can_exchange
):
    if not can_exchange:
        monkeypatch.setattr(atomic_write, "exchange", lambda first, second: False)

    def prepare() -> None:
        for path in out.parent.iterdir():
            shutil.rmtree(path)
        out.mkdir()
        for name in ("ours", "second"):
            (out / name).write_text("old")

    def replace() -> None:
        with atomic_folder(out, {"ours", "second"}, MARKS) as new:
            for name in ("ours", "second"):
                (new / name).write_text("new")

    def check(step: int) -> None:
        if can_exchange:
            assert {p.read_text() for p in out.iterdir()} in ({"old"}, {"new"}), step
            assert len(list(out.iterdir())) == 2
        replace()
        assert [p.read_text() for p in out.iterdir()] == ["new", "new"]
        assert list(out.parent.iterdir()) == [out], f"step {step} leaves a folder behind"

    assert kill_at_each_step(prepare, replace, check) > 40


def test_folder_lost_between_two_renames_is_restored_before_an_error(out, monkeypatch):
    out.rename(out.with_name(".out-old-01234567"))
    with pytest.raises(KeyboardInterrupt), atomic_folder(out, OURS, MARKS):
        raise KeyboardInterrupt
    assert (out / "ours").read_text() == "old"
    assert list(out.parent.iterdir()) == [out]


def test_killed_at_each_step_the_old_file_or_the_new_one_is_complete(tmp_path):
    file = tmp_path / "x.npz"

    def check(step: int) -> None:
        assert file.read_bytes() in (b"old" * 9000, b"new" * 9000)
        atomic_write.write(file, b"next")
        assert list(tmp_path.iterdir()) == [file], f"step {step} leaves a file behind"

    kills = kill_at_each_step(
        lambda: file.write_bytes(b"old" * 9000),
        lambda: atomic_write.write(file, b"new" * 9000),
        check,
    )
    assert kills > 20


def test_temporary_file_of_a_running_process_is_kept(tmp_path):
    file = tmp_path / "x.txt"
    with atomic_file(file) as first:
        first.write_text("first")
        program = f"from runtime.system.atomic_write import write; write({str(file)!r}, 'second')"
        subprocess.run([sys.executable, "-c", program], check=True)
        assert file.read_text() == "second"
    assert file.read_text() == "first"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("name", [".x-0123456.txt", ".x-01234567.tx", ".xy-01234567.txt"])
def test_file_with_a_similar_name_is_kept(tmp_path, name):
    (tmp_path / name).touch()
    atomic_write.write(tmp_path / "x.txt", "content")
    assert (tmp_path / name).exists()


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o664])
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_replaced_file_keeps_its_mode_and_owner(tmp_path, mode, umask):
    file = tmp_path / "x.txt"
    file.touch()
    file.chmod(mode)
    if os.geteuid() == 0:
        os.chown(file, 12345, 23456)
    before = file.stat()
    previous = os.umask(umask)
    try:
        atomic_write.write(file, "new")
    finally:
        os.umask(previous)
    after = file.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )
