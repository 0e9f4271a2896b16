"""A folder is put in place whole or not at all."""

import pytest

from runtime.errors import EdgeError
from runtime.system.atomic_write import atomic_folder


@pytest.fixture
def out(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "ours").write_text("old")
    return out


OURS, MARKS = {"ours", "folder/*.txt"}, {"ours"}


def test_an_older_one_is_replaced_and_nothing_left_beside_it(out):
    with atomic_folder(out, OURS, MARKS) as fresh:
        (fresh / "new").write_text("new")
        assert (out / "ours").read_text() == "old", "until the new one is whole"
    assert [p.name for p in out.iterdir()] == ["new"]
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_fails_leaves_the_older_one(out, error):
    with (
        pytest.raises((EdgeError, KeyboardInterrupt)),
        atomic_folder(out, OURS, MARKS) as fresh,
    ):
        (fresh / "new").write_text("new")
        raise error
    assert (out / "ours").read_text() == "old"
    assert list(out.parent.iterdir()) == [out]


def test_what_is_not_ours_is_refused_before_the_block(out):
    link, file = out.with_name("link"), out / "ours"
    link.symlink_to(out)
    for place, message in ((link, "is not a folder"), (file, "is not a folder"), (out, "other files")):
        with (
            pytest.raises(EdgeError, match=message),
            atomic_folder(place, OURS, {*MARKS, "mark"}),
        ):
            raise AssertionError
    with (
        pytest.raises(EdgeError, match="cannot write"),
        atomic_folder(file / "x", OURS, MARKS),
    ):
        raise AssertionError


@pytest.mark.parametrize(
    "foreign", ["CNAME", ".git/HEAD", "folder/a.md", "folder/folder/a.txt", "ours.txt"]
)
def test_an_older_one_with_a_foreign_file_is_left_alone(out, foreign):
    (out / "folder").mkdir()
    (out / "folder/a.txt").touch()
    (out / foreign).parent.mkdir(exist_ok=True)
    (out / foreign).write_text("mine")
    before = sorted(out.rglob("*"))
    with pytest.raises(EdgeError, match="would be deleted"), atomic_folder(out, OURS, MARKS):
        raise AssertionError
    assert sorted(out.rglob("*")) == before


def test_a_file_that_comes_while_the_new_one_is_written_is_kept(out):
    with pytest.raises(EdgeError, match=r"\(mine\)"), atomic_folder(out, OURS, MARKS):
        (out / "mine").write_text("mine")
    assert (out / "mine").read_text() == "mine"
    assert list(out.parent.iterdir()) == [out]


def test_the_message_names_three_foreign_files(out):
    for name in "abcde":
        (out / name).touch()
    with (
        pytest.raises(EdgeError, match=r"\(a, b, c and 2 more\): move"),
        atomic_folder(out, OURS, MARKS),
    ):
        raise AssertionError
