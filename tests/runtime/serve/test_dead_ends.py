"""The page leaves nobody stuck: after each fault it shows what happened and what to do."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image

SEVEN = [[(0.25, 0.22), (0.75, 0.2), (0.62, 0.45), (0.48, 0.82)], [(0.38, 0.52), (0.68, 0.5)]]
FOUR = [[(0.62, 0.2), (0.3, 0.55), (0.72, 0.55)], [(0.62, 0.2), (0.62, 0.82)]]
FIVE = [[(0.35, 0.14), (0.33, 0.45), (0.6, 0.42), (0.72, 0.65), (0.55, 0.88), (0.28, 0.84)],
        [(0.35, 0.14), (0.7, 0.12)]]  # fmt: skip
STAR = [[(0, 0), (1, 1)], [(1, 0), (0, 1)], [(0.5, 0), (0.5, 1)], [(0, 0.5), (1, 0.5)]]
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
LANGUAGES = ["en-US", "de-DE", "fr-FR", "es-ES"]
BROKEN = b"not a picture"
NO_FILE = """() => {
  const data = new DataTransfer();
  data.setData("text/uri-list", "https://example.org/seven.png");
  dispatchEvent(new DragEvent("drop", { dataTransfer: data, cancelable: true }));
}"""


def scaled(strokes, size, left, top=0.25):
    return [[(left + x * size, top + y * size) for x, y in stroke] for stroke in strokes]


def picture(strokes_of_digits, name="photo.jpg"):
    """Return digits, drawn side by side on paper, as a file for the page."""
    paper = Image.new("L", (240 * len(strokes_of_digits), 300), 235)
    canvas = np.asarray(paper).copy()
    for index, strokes in enumerate(strokes_of_digits):
        for stroke in strokes:
            for (x0, y0), (x1, y1) in itertools.pairwise(stroke):
                for t in np.linspace(0, 1, 200):
                    x = int(240 * index + 20 + 200 * (x0 + (x1 - x0) * t))
                    y = int(30 + 240 * (y0 + (y1 - y0) * t))
                    canvas[y - 8 : y + 8, x - 8 : x + 8] = 40
    file = io.BytesIO()
    Image.fromarray(canvas).save(file, "JPEG")
    return {"name": name, "mimeType": "image/jpeg", "buffer": file.getvalue()}


def has_no_answer(page):
    """Return whether nothing of an earlier answer is on the page."""
    best = page.locator("#scores li.best").count()
    pixels = page.evaluate(
        "() => document.querySelector('#pixels').getContext('2d')"
        ".getImageData(0, 0, 28, 28).data.some((v, i) => i % 4 < 3 && v > 0)"
    )
    return (page.inner_text("#answer"), best, pixels) == ("–", 0, False)


def wait_for_problem(page, part):
    page.wait_for_function(
        "part => document.querySelector('#problem').textContent.includes(part)", arg=part
    )


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_failed_picture_removes_the_old_answer(server, opened, draw, shows, hand_over, kind):
    with opened(server.url) as page:
        draw(page, SEVEN)
        shows(page, "7")
        hand_over(page, kind, BROKEN)
        wait_for_problem(page, "cannot open")
        assert has_no_answer(page)
        assert "99" not in page.inner_text("#sure")
        draw(page, FOUR)
        shows(page, "4")
        assert page.inner_text("#problem") == ""


def test_dropped_address_says_to_save_the_picture_first(server, opened, draw, shows):
    with opened(server.url) as page:
        draw(page, SEVEN)
        shows(page, "7")
        page.evaluate(NO_FILE)
        wait_for_problem(page, "Save the picture first")
        assert has_no_answer(page)


def test_failed_picture_after_a_good_one_removes_it(server, opened, shows):
    with opened(server.url) as page:
        page.set_input_files("#file", picture([SEVEN]))
        shows(page, "7")
        page.set_input_files("#file", {**picture([SEVEN]), "buffer": BROKEN})
        wait_for_problem(page, "cannot open")
        assert has_no_answer(page)
        assert page.locator("#hint").is_visible()


def test_live_camera_removes_the_old_answer_and_the_hint(server, opened, draw, shows):
    with opened(server.url, permissions=["camera"]) as page:
        draw(page, SEVEN)
        shows(page, "7")
        page.click("#camera")
        page.wait_for_selector("#take:not([hidden])")
        assert has_no_answer(page)
        assert page.inner_text("#sure") == "Take a photo of the digit"
        assert page.locator("#hint").is_hidden()
        page.click("#camera")
        assert page.inner_text("#sure") == "Nothing drawn yet"
        assert page.locator("#hint").is_visible()
        draw(page, FOUR)
        shows(page, "4")


def test_mode_can_be_switched_while_the_camera_is_live(server, opened):
    with opened(server.url, permissions=["camera"]) as page:
        page.click("#camera")
        page.wait_for_selector("#take:not([hidden])")
        page.get_by_role("radio", name="A number").check(force=True)
        page.wait_for_timeout(100)
        assert page.locator("#hint").is_hidden()
        assert "Take a photo" in page.inner_text("#sure")


def test_picture_replaces_the_live_camera(server, opened, shows):
    with opened(server.url, permissions=["camera"]) as page:
        page.click("#camera")
        page.wait_for_selector("#take:not([hidden])")
        page.set_input_files("#file", picture([SEVEN]))
        shows(page, "7")
        assert page.locator("#live").is_hidden()
        assert page.evaluate("document.querySelector('#live').srcObject") is None


def test_unplugged_camera_shows_a_message(server, opened):
    with opened(server.url, permissions=["camera"]) as page:
        page.click("#camera")
        page.wait_for_selector("#take:not([hidden])")
        page.evaluate(
            "() => document.querySelector('#live').srcObject.getTracks()[0]"
            ".dispatchEvent(new Event('ended'))"
        )
        wait_for_problem(page, "camera has stopped")
        assert page.locator("#live").is_hidden()
        assert page.get_by_role("button", name="Camera").is_enabled()


@pytest.mark.parametrize(
    ("error", "message"),
    [("NotAllowedError", "may not use the camera"), ("NotFoundError", "No camera responds")],
)
def test_camera_that_does_not_open_shows_a_message(server, opened, error, message):
    """The browser of the tests grants every permission, so the error is raised by a script."""
    with opened(server.url) as page:
        page.evaluate(
            "name => { navigator.mediaDevices.getUserMedia = "
            "() => Promise.reject(new DOMException('', name)); }",
            error,
        )
        page.click("#camera")
        wait_for_problem(page, message)
        assert page.get_by_role("button", name="Camera").is_enabled()


@pytest.mark.parametrize("locale", LANGUAGES)
def test_buttons_stay_inside_their_card_on_a_phone(server, opened, locale):
    with opened(server.url, permissions=["camera"], locale=locale, **PHONE) as page:
        for live in (False, True):
            if live:
                page.click("#camera")
                page.wait_for_selector("#take:not([hidden])")
            card = page.locator(".draw").bounding_box()
            boxes = [b.bounding_box() for b in page.locator(".tools button:visible").all()]
            assert len(boxes) == (2 if live else 4)
            for box in boxes:
                assert box["x"] >= card["x"]
                assert box["x"] + box["width"] <= card["x"] + card["width"]
            assert len({box["y"] for box in boxes}) == 1, "one row"
            assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_several_digits_get_a_hint_and_a_button_to_the_number_mode(server, opened, draw, shows):
    with opened(server.url) as page:
        draw(page, [*scaled(FOUR, 0.45, 0.02), *scaled(SEVEN, 0.45, 0.5)])
        page.wait_for_selector("#suggestion:not([hidden])")
        assert page.inner_text("#suggested").endswith("47")
        page.wait_for_function(
            "() => document.querySelector('#spoken').textContent.includes('more than one digit')"
        )
        page.get_by_role("button", name="Read it as a number").click()
        shows(page, "47")
        assert page.get_by_role("radio", name="A number").is_checked()
        assert page.locator("#suggestion").is_hidden()


def test_picture_of_several_digits_gets_the_hint_too(server, opened, shows):
    with opened(server.url) as page:
        page.set_input_files("#file", picture([FOUR, SEVEN]))
        page.get_by_role("button", name="Read it as a number").click()
        shows(page, "47")


@pytest.mark.parametrize(("label", "strokes"), [("4", FOUR), ("5", FIVE), ("7", SEVEN)])
def test_digit_of_several_strokes_gets_no_hint(server, opened, draw, shows, label, strokes):
    with opened(server.url) as page:
        with page.expect_response(lambda response: "v1/read" in response.url):
            draw(page, strokes)
            shows(page, label)
        page.wait_for_timeout(100)
        assert page.locator("#suggestion").is_hidden()


def test_marks_that_are_not_digits_are_counted(server, opened, draw):
    with opened(server.url) as page:
        page.get_by_role("radio", name="A number").check(force=True)
        draw(page, [stroke for left in (0.1, 0.6, 1.1) for stroke in scaled(STAR, 0.3, left)])
        page.wait_for_function(
            "text => document.querySelector('#sure').textContent === text",
            arg="3 marks found, but none is a digit I know",
        )
        assert page.inner_text("#answer") == "?"


def test_picture_of_marks_says_how_many_have_a_box(server, opened):
    with opened(server.url) as page:
        page.get_by_role("radio", name="A number").check(force=True)
        page.set_input_files("#file", picture([scaled(STAR, 0.7, 0.1, 0.1)] * 2))
        page.wait_for_function("() => document.querySelector('#sure').textContent.includes('mark')")
        assert "No digits found" not in page.inner_text("#sure")


def test_server_that_is_gone_leaves_no_claim_beside_the_stroke(serve, opened, draw, shows):
    server = serve()
    with opened(server.url, allowed=["ERR_CONNECTION_REFUSED"]) as page:
        server.process.terminate()
        server.process.wait(30)
        draw(page, SEVEN)
        wait_for_problem(page, "does not respond")
        assert page.inner_text("#sure") == "No answer"
        retry = page.get_by_role("button", name="Try again")
        assert retry.is_visible()
        serve("--port", server.port)
        retry.click()
        shows(page, "7")
        assert page.inner_text("#problem") == ""
        assert retry.is_hidden()


def test_too_large_picture_names_the_limits(serve, opened):
    server = serve("--max-body", "1")
    noise = np.random.default_rng(0).integers(0, 255, (1500, 1500), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    large = {"name": "noise.png", "mimeType": "image/png", "buffer": file.getvalue()}
    with opened(server.url, allowed=["413"], locale="de-DE") as page:
        page.set_input_files("#file", large)
        wait_for_problem(page, "1.048.576 Bytes")
        assert page.inner_text("#sure") == "Keine Antwort"
        assert page.locator("#retry").is_hidden()
