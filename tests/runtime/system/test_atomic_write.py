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


def ours(names):
    return "ours" in names


def test_an_older_one_is_replaced_and_nothing_left_beside_it(out):
    with atomic_folder(out, ours) as fresh:
        (fresh / "new").write_text("new")
        assert (out / "ours").read_text() == "old", "until the new one is whole"
    assert [p.name for p in out.iterdir()] == ["new"]
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_fails_leaves_the_older_one(out, error):
    with (
        pytest.raises((EdgeError, KeyboardInterrupt)),
        atomic_folder(out, ours) as fresh,
    ):
        (fresh / "new").write_text("new")
        raise error
    assert (out / "ours").read_text() == "old"
    assert list(out.parent.iterdir()) == [out]


def test_what_is_not_ours_is_refused_before_the_block(out):
    link, file = out.with_name("link"), out / "ours"
    link.symlink_to(out)
    for place, message in ((link, "is no folder"), (file, "is no folder"), (out, "other files")):
        with (
            pytest.raises(EdgeError, match=message),
            atomic_folder(place, lambda _: False),
        ):
            raise AssertionError
    with (
        pytest.raises(EdgeError, match="cannot write"),
        atomic_folder(file / "x", ours),
    ):
        raise AssertionError
