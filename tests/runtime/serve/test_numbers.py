"""POST /v1/numbers and `digit-edge serve --read`: regions, checks, and the last values."""

import io
import json
import subprocess
import sys

import pytest

JPEG = {"Content-Type": "image/jpeg"}


@pytest.fixture(scope="module")
def jpeg(meter):
    """Return a function that draws a display as the bytes of a JPEG."""

    def encode(*texts: str) -> bytes:
        file = io.BytesIO()
        meter(*texts).save(file, "JPEG", quality=95)
        return file.getvalue()

    return encode


def numbers(server, image: bytes) -> list[dict]:
    response = server.client.post("/v1/numbers", content=image, headers=JPEG)
    assert response.status_code == 200, response.text
    return response.json()["numbers"]


def test_server_without_options_reads_the_whole_image_without_memory(server, jpeg):
    for text in ("20463", "20461"):
        (number,) = numbers(server, jpeg(text))
        assert (number["region"], number["text"], number["value"]) == ("number", text, int(text))
        assert (number["accepted"], number["reason"]) == (True, None)
        assert number["last_value"] == int(text)
    (page,) = numbers(server, jpeg("20463", "62"))
    assert (page["text"], page["value"], page["accepted"]) == ("20463\n62", None, True)
    (empty,) = numbers(server, jpeg(""))
    assert (empty["value"], empty["accepted"], empty["reason"]) == (None, False, "no digits")
    assert empty["last_value"] is None
    assert server.client.get("/v1/model").json()["reads_numbers"] is False
    assert server.client.post("/v1/numbers", content=b"no image").status_code == 422


def test_regions_are_checked_against_the_last_values(serve, jpeg, tmp_path):
    file = tmp_path / "last.json"
    server = serve(
        *("--read", "--region", "main=0%,0%,100%,50%", "--region", "flow=0,110,480,110"),
        *("--monotone", "--decimals", 1, "--last-values", file),
    )
    assert server.client.get("/v1/model").json()["reads_numbers"] is True
    main, flow = numbers(server, jpeg("20461", "62"))
    assert (main["value"], flow["value"]) == (2046.1, 6.2)
    main, flow = numbers(server, jpeg("20460", "63"))
    assert (main["value"], main["accepted"], main["last_value"]) == (None, False, 2046.1)
    assert main["reason"] == "2046.0 is less than the last value 2046.1"
    assert flow["value"] == 6.3
    assert json.loads(file.read_text()) == {"main": 2046.1, "flow": 6.3}
    outside = server.client.post("/v1/numbers", content=jpeg("20461"), headers=JPEG)
    assert outside.status_code == 422
    assert "--region flow=0,110,480,110 is not inside the image" in outside.json()["detail"]
    server.process.terminate()
    server.process.wait(30)
    again = serve("--read", "--region", "main=0,0,480,110", "--max-step", 1, "--last-values", file)
    (main,) = numbers(again, jpeg("20461"))
    assert (main["value"], main["accepted"], main["last_value"]) == (None, False, 2046.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--read", "--last-values", "damaged.json"], "is not a file of last values"),
        (["--monotone"], "--monotone is for numbers: pass --read too"),
    ],
)
def test_wrong_options_are_one_error(tmp_path, options, message):
    (tmp_path / "damaged.json").write_text("{")
    done = subprocess.run(
        [sys.executable, "-m", "runtime.serve", "--port", "0", *options],
        capture_output=True, text=True, cwd=tmp_path, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert message in done.stderr.splitlines()[-1]


def test_page_reads_numbers_at_first(serve, opened, draw, shows):
    server = serve("--read")
    with opened(server.url) as page:
        assert page.is_checked("[name=mode][value=number]")
        draw(page, [[(0.3, 0.2), (0.3, 0.8)], [(0.7, 0.2), (0.7, 0.8)]])
        shows(page, "11")
