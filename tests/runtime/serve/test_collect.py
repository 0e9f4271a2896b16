"""`serve --collect` keeps a picture with its true label, and only if a user asks for it."""

import errno
import io
import os

import numpy as np
import pytest
from PIL import Image

from runtime.errors import EdgeError
from runtime.serve.collection import Collection
from runtime.serve.problem_details import HttpProblem
from train.data.load import load

from .conftest import encoded

MIB = 1 << 20
SEVEN = [[(0.25, 0.22), (0.75, 0.2), (0.62, 0.45), (0.48, 0.82)], [(0.38, 0.52), (0.68, 0.5)]]


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def keep(server, image, label):
    return server.client.post("/v1/labels", params={"label": label}, content=image)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "labeled"


@pytest.fixture
def collecting(serve, folder):
    return serve("--collect", folder, "--max-collected", 1)


def test_nothing_is_kept_without_the_option(server, photo):
    response = keep(server, photo, "3")
    assert response.status_code == 404
    assert "--collect" in response.json()["detail"]
    assert server.client.get("/v1/model").json()["collects_in"] is None


def test_api_keeps_a_picture_once_with_its_last_label_and_without_metadata(
    collecting, folder, photo
):
    exif = Image.Exif()
    exif[0x010F] = "the camera"
    exif[0x0112] = 6  # turned
    file = io.BytesIO()
    Image.open(io.BytesIO(photo)).save(file, "JPEG", exif=exif)
    assert keep(collecting, file.getvalue(), "3").json() == {"label": "3", "images": 1}
    (kept,) = files(folder)
    with Image.open(folder / kept) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "L", (400, 520))
        assert not image.info
        assert not image.getexif()
    assert keep(collecting, file.getvalue(), "5").json() == {"label": "5", "images": 1}
    assert keep(collecting, file.getvalue(), "5").json() == {"label": "5", "images": 1}
    assert files(folder) == [kept.replace("3/", "5/")]
    color = encoded(np.full((2000, 500, 3), (200, 30, 30), np.uint8))
    assert keep(collecting, color, "5").json() == {"label": "5", "images": 2}
    sizes = []
    for name in files(folder):
        with Image.open(folder / name) as image:
            sizes.append(image.size)
    assert (250, 1000) in sizes
    assert collecting.client.get("/v1/model").json()["collects_in"] == "labeled"
    for label in ("12", "", "../x", "five"):
        assert keep(collecting, photo, label).status_code == 400
    assert keep(collecting, b"junk", "5").status_code == 422
    assert len(files(folder)) == 2


def test_full_folder_is_an_error_and_keeps_what_it_has(collecting, folder):
    noise = np.random.default_rng(0).integers(0, 256, (800, 800), np.uint8)
    assert keep(collecting, encoded(noise), "1").json()["images"] == 1
    response = keep(collecting, encoded(noise[::-1]), "2")
    assert response.status_code == 507
    assert "--max-collected" in response.json()["detail"]
    assert len(files(folder)) == 1
    assert keep(collecting, encoded(noise), "2").status_code == 200  # moved, not added


def test_pages_of_other_sites_keep_nothing(collecting, folder, photo):
    response = collecting.client.post(
        "/v1/labels", params={"label": "3"}, content=photo, headers={"Origin": "http://evil.test"}
    )
    assert response.status_code == 403
    assert files(folder) == []


@pytest.mark.parametrize("label", ["", ".", "..", ".a", "a/b", "a\\b", "\n", "__x", "ü" * 200])
def test_label_that_cannot_be_a_folder_is_refused(folder, label):
    with pytest.raises(HttpProblem) as refused:
        Collection(folder, MIB).add(label, b"")
    assert refused.value.status == 422


def test_folder_that_cannot_be_written_is_an_error_at_the_start(tmp_path, serve):
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    with pytest.raises(EdgeError, match=r"notes\.txt"):
        Collection(file, MIB)
    with pytest.raises(AssertionError, match=r"error: cannot create .*notes\.txt"):
        serve("--collect", file)
    assert file.read_text() == "mine"


def test_full_disk_is_an_error_without_a_part_of_a_file(folder, monkeypatch, capsys):
    collection = Collection(folder, MIB)
    collection.add("1", b"first")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(HttpProblem) as refused:
            collection.add("1", b"second")
    assert refused.value.status == 507
    assert "No space left" in capsys.readouterr().err
    assert len(files(folder)) == 1


def test_page_keeps_a_drawing_with_the_corrected_label(
    collecting, folder, opened, draw, shows, faults
):
    with opened(collecting.url) as page:
        assert "“labeled”" in page.locator("#kept").inner_text()
        assert page.locator("#keep-button").is_disabled()
        draw(page, SEVEN)
        shows(page, "7")
        page.locator("#keep-button:enabled").wait_for()  # when the drawing is finished
        assert page.locator("#true-label").input_value() == "7"
        assert files(folder) == []
        page.select_option("#true-label", "1")
        page.click("#keep-button")
        page.get_by_text("Kept as 1. The folder “labeled” has 1 picture.").wait_for()
        assert page.locator("#keep-button").is_disabled()
        page.select_option("#true-label", "7")
        page.click("#keep-button")
        page.get_by_text("Kept as 7. The folder “labeled” has 1 picture.").wait_for()
        page.click("#clear")
        assert page.locator("#keep-button").is_disabled()
        assert not faults(page)
    assert [name.split("/")[0] for name in files(folder)] == ["7"]


def test_page_offers_to_keep_a_drawing_only_when_it_is_finished(collecting, opened, draw, shows):
    """The answer to the finished drawing would replace a label that was chosen before it."""
    with opened(collecting.url) as page:
        draw(page, SEVEN, lift=False)
        shows(page, "7")
        assert page.locator("#keep-button").is_disabled()
        page.mouse.up()
        page.locator("#keep-button:enabled").wait_for()


def test_page_offers_nothing_to_keep_without_the_option(server, opened, draw, shows):
    with opened(server.url) as page:
        draw(page, SEVEN)
        shows(page, "7")
        assert page.locator("#keep").is_hidden()


def test_kept_pictures_are_data_for_a_training(folder):
    collection = Collection(folder, MIB)
    for number in range(20):
        for label, side in (("2", 20), ("7", 50)):
            gray = np.full((100, 100), 240, np.uint8)
            gray[20:80, 20:30] = 20
            gray[20 : 30 + number, 20 : 20 + side] = 20
            collection.add(label, encoded(gray))
    data = load(folder)
    assert data.labels == ("2", "7")
    assert len(data.train.labels) + len(data.test.labels) == 40
