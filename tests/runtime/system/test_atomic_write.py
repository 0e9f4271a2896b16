"""`atomic_folder`: an output folder is replaced atomically, and foreign files are never deleted."""

import pytest

from runtime.errors import EdgeError
from runtime.system.atomic_write import atomic_folder

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
