"""Each image of a folder, a pattern, a list or Parquet has one row."""

import os
from itertools import chain

import pyarrow
import pyarrow.parquet
import pytest

from runtime import Classifier
from runtime.bulk.sources import Shard, find
from runtime.errors import EdgeError


def paths(source, share=(1, 1), **options):
    options = {"column": None, "end": b"\n", "block_rows": 10, **options}
    return [entry.key for entry in find(str(source), Shard(*share), **options)]


def test_each_image_has_one_row_and_a_bad_file_has_an_error(bulk, rows, folder, tmp_path):
    done = bulk(folder, "--out", tmp_path / "out", "--part-rows", 128)
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        done.stdout == f"{tmp_path}/out: 302 images, {done.stdout.split()[3]} accepted, 2 errors\n"
    )
    found = rows(tmp_path / "out")
    assert [row["path"] for row in found] == sorted(
        str(path) for path in folder.rglob("*.[pj]*g") if path.name != ".hidden.png"
    )
    classifier = Classifier.load()
    for row in found[:20] + found[-2:]:
        assert row["model"] == classifier.spec.digest
        assert row["engine"] == classifier.backend.name
        assert row["row"] is None
        if row["path"].endswith(("damaged.png", "empty.jpg")):
            assert row["label"] is row["confidence"] is row["accepted"] is None
            assert row["error"].startswith(row["path"])
        else:
            prediction = classifier.classify(row["path"])
            assert (row["label"], row["accepted"]) == (prediction.label, prediction.accepted)
            assert row["confidence"] == pytest.approx(prediction.confidence, abs=1e-6)
            assert row["error"] is None


def test_numbers_are_read(bulk, rows, tmp_path):
    from PIL import Image, ImageDraw

    picture = Image.new("L", (200, 80), 255)
    for x in (30, 90, 150):
        ImageDraw.Draw(picture).line((x, 15, x, 65), fill=0, width=7)
    picture.save(tmp_path / "111.png")
    done = bulk(tmp_path / "111.png", "--out", tmp_path / "out", "--read")
    assert done.returncode == 0, done.stderr
    (row,) = rows(tmp_path / "out")
    assert row["text"] == Classifier.load().read(tmp_path / "111.png").text
    assert "label" not in row


def test_jobs_do_not_change_the_rows(bulk, rows, folder, tmp_path):
    for jobs in (1, 3):
        assert bulk(folder, "--out", tmp_path / f"{jobs}", "--jobs", jobs).returncode == 0
    assert rows(tmp_path / "1") == rows(tmp_path / "3")


def test_shards_are_disjoint_and_complete(bulk, rows, folder, huggingface, tmp_path):
    shards = 3
    parquet = huggingface()
    (tmp_path / "list").write_text("".join(f"{p}\n" for p in [*folder.rglob("*.*g"), parquet]))
    assert bulk(tmp_path / "list", "--out", tmp_path / "one").returncode == 0
    for number in range(1, shards + 1):
        share = f"{number}/{shards}"
        done = bulk(tmp_path / "list", "--out", tmp_path / "all", "--shard", share)
        assert done.returncode == 0, done.stderr
    assert rows(tmp_path / "all") == rows(tmp_path / "one")


def test_shards_share_the_rows_of_one_parquet_file(huggingface):
    path = huggingface()
    shares = [paths(path, (number, 3)) for number in (1, 2, 3)]
    assert sorted(chain(*shares)) == sorted(f"{path}#{row}" for row in range(50))
    assert all(10 <= len(share) <= 20 for share in shares)


@pytest.mark.parametrize(
    ("pattern", "count"),
    [("*/1*.png", 100), ("**/*.png", 301), ("[01]/*.png", 200), ("?/00[0-3].png", 4), ("*.jpg", 1)],
)
def test_pattern_matches_as_in_a_shell(folder, pattern, count):
    found = paths(folder / pattern)
    assert len(found) == count
    assert set(found) <= {str(path) for path in folder.glob(pattern)}


def test_relative_pattern_keeps_its_form(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert paths("*.jpg") == ["empty.jpg"]
    assert paths("./*.jpg") == ["./empty.jpg"]


def test_list_names_each_image_once(tmp_path, png, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a b.png").write_bytes(png(1))
    (tmp_path / "é.png").write_bytes(png(2))
    lines = ["a b.png", "é.png", "a b.png", "./a b.png", "", f"{tmp_path}/é.png", "gone.png"]
    (tmp_path / "list.txt").write_text("\r\n".join(lines))
    assert paths("list.txt") == ["a b.png", "é.png", "gone.png"]
    (tmp_path / "null").write_text("\0".join(lines))
    assert paths("null", end=b"\0") == ["a b.png", "é.png", "gone.png"]
    shares = [paths("list.txt", (number, 4)) for number in range(1, 5)]
    assert sorted(chain(*shares)) == ["a b.png", "gone.png", "é.png"]


def test_parquet_file_in_a_list_twice_counts_once(huggingface, tmp_path):
    path = huggingface(count=3)
    (tmp_path / "list").write_text(f"{path}\n{path}\n")
    assert paths(tmp_path / "list") == [f"{path}#{row}" for row in range(3)]


def test_missing_file_of_a_list_is_a_row_with_an_error(bulk, rows, tmp_path):
    (tmp_path / "list").write_text("gone.png\ngone.parquet\n")
    done = bulk("list", "--out", "out", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "out: 2 images, 0 accepted, 2 errors\n")
    assert ["no such file" in row["error"] for row in rows(tmp_path / "out")] == [True, True]


def test_name_that_is_not_utf8_is_a_file_url(bulk, rows, tmp_path, png):
    name = os.path.join(os.fsencode(tmp_path), b"images", b"\xff %23.png")
    os.mkdir(tmp_path / "images")
    with open(name, "wb") as file:
        file.write(png(3))
    assert bulk(tmp_path / "images", "--out", tmp_path / "out").returncode == 0
    (row,) = rows(tmp_path / "out")
    assert row["path"] == f"file://{tmp_path}/images/%FF%20%2523.png"
    assert (row["error"], row["label"]) == (None, Classifier.load().classify(png(3)).label)


def test_unreadable_folder_is_a_row_with_an_error(tmp_path, png, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "b.png").write_bytes(png(1))
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("/a"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    entries = list(find(str(tmp_path), Shard(1, 1), None, b"\n", 10))
    assert [(entry.file, entry.error is None) for entry in entries] == [
        (f"{tmp_path}/b.png", True),
        (f"{tmp_path}/a", False),
    ]


def test_output_inside_the_source_is_not_an_image(bulk, rows, tmp_path, png):
    (tmp_path / "1.png").write_bytes(png(1))
    for out in ("first", "second"):
        done = bulk(tmp_path, "--out", tmp_path / out)
        assert done.returncode == 0, done.stderr
        assert [row["path"] for row in rows(tmp_path / out)] == [f"{tmp_path}/1.png"]


@pytest.mark.parametrize("form", ["struct", "binary", "large_binary", "groups"])
def test_parquet_row_is_classified_as_its_image(bulk, rows, huggingface, tmp_path, png, form):
    path = huggingface(count=30, row_group_size=7 if form == "groups" else 100)
    if "binary" in form:
        kind = pyarrow.binary() if form == "binary" else pyarrow.large_binary()
        values = pyarrow.array([png(n) for n in range(30)], kind)
        pyarrow.parquet.write_table(pyarrow.table({"png": values}), path)
    done = bulk(path, "--out", tmp_path / "out", "--part-rows", 8)
    assert done.returncode == 0, done.stderr
    found = sorted(rows(tmp_path / "out"), key=lambda row: row["row"])
    assert [row["path"] for row in found] == [f"{path}#{n}" for n in range(30)]
    classifier = Classifier.load()
    assert [row["label"] for row in found] == [classifier.classify(png(n)).label for n in range(30)]


def test_row_without_an_image_has_an_error(bulk, rows, tmp_path, png):
    images = [{"bytes": png(1), "path": "a"}, {"bytes": None, "path": "b"}, None]
    table = pyarrow.table({"image": images})
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
    assert bulk(tmp_path / "x.parquet", "--out", tmp_path / "out").returncode == 0
    errors = [row["error"] for row in rows(tmp_path / "out")]
    assert errors[0] is None
    assert errors[1] == f"{tmp_path}/x.parquet#1: has no image"
    assert errors[2] == f"{tmp_path}/x.parquet#2: has no image"


def test_damaged_parquet_file_is_a_row_and_the_others_are_classified(
    bulk, rows, huggingface, tmp_path
):
    (tmp_path / "data").mkdir()
    huggingface("data/good.parquet", 5)
    (tmp_path / "data" / "bad.parquet").write_bytes(b"PAR1 junk PAR1")
    assert bulk(tmp_path / "data", "--out", tmp_path / "out").returncode == 0
    found = rows(tmp_path / "out")
    assert len(found) == 6
    assert "not a readable Parquet file" in found[0]["error"]


def test_column_is_chosen_or_must_be_passed(bulk, tmp_path, png):
    data = pyarrow.array([png(1)], pyarrow.binary())
    table = pyarrow.table({"front": data, "back": data, "name": ["x"]})
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
    arguments = (tmp_path / "x.parquet", "--out", tmp_path / "out")
    done = bulk(*arguments)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {tmp_path}/x.parquet: several columns could have the images: pass one of them "
        "with --column: front, back\n"
    )
    done = bulk(*arguments, "--column", "name")
    assert "--column name is not a column of images" in done.stderr
    done = bulk(*arguments, "--column", "back")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("missing", "missing: no such file or folder; check the path\n"),
        ("nothing/*.png", "nothing/*.png: has no images; supported are .png"),
        ("void", "void: has no images; supported are .png"),
    ],
)
def test_source_without_images_is_an_error(bulk, tmp_path, source, message):
    (tmp_path / "void").mkdir()
    done = bulk(source, "--out", "out", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {message}")
    (tmp_path / "right").touch()
    done = bulk("right", "--out", "out", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_empty_list_gives_an_empty_result(bulk, tmp_path):
    (tmp_path / "list").touch()
    done = bulk("list", "--out", "out", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "out: 0 images, 0 accepted, 0 errors\n")


def test_pipe_and_folder_in_a_list_are_errors_and_a_pipe_in_a_folder_is_not_an_image(
    bulk, rows, tmp_path, png
):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1.png").write_bytes(png(1))
    os.mkfifo(tmp_path / "in" / "2.png")
    assert paths(tmp_path / "in") == [f"{tmp_path}/in/1.png"]
    (tmp_path / "list").write_text("in/2.png\nin\n")
    assert bulk("list", "--out", "out", cwd=tmp_path).returncode == 0
    errors = [row["error"] for row in rows(tmp_path / "out")]
    assert errors == [
        "in: a folder, not an image; pass the images in it one by one",
        "in/2.png: not a regular file",
    ]


def test_source_that_may_not_be_read_is_an_error(tmp_path, png, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(EdgeError, match=r"cannot be read \(Permission denied\)"):
        paths(tmp_path)
