"""The drawing page, in a real browser (Chromium)."""

import dataclasses
import io
import itertools

import numpy as np
import pytest
from PIL import Image

from runtime.model import artifact
from runtime.model.default_model import PRETRAINED

# Strokes of points (x, y), as shares of the pad's height.
SEVEN = [[(0.25, 0.22), (0.75, 0.2), (0.62, 0.45), (0.48, 0.82)], [(0.38, 0.52), (0.68, 0.5)]]
FOUR = [[(0.62, 0.2), (0.3, 0.55), (0.72, 0.55)], [(0.62, 0.2), (0.62, 0.82)]]
STAR = [[(0.2, 0.2), (0.8, 0.8)], [(0.8, 0.2), (0.2, 0.8)], [(0.5, 0.1), (0.5, 0.9)]]
TOKEN = "correct-horse-battery-staple"


def test_digit_is_classified_while_it_is_drawn(server, opened, draw, shows):
    with opened(server.url) as page:
        draw(page, SEVEN, lift=False)
        shows(page, "7")


def test_answer_is_announced_only_after_the_stroke(server, opened, draw, shows):
    with opened(server.url) as page:
        draw(page, SEVEN, lift=False)
        shows(page, "7")
        assert page.text_content("#spoken") == ""
        page.mouse.up()
        page.wait_for_function(
            "() => document.querySelector('#spoken').textContent.startsWith('7, 9')"
        )


def test_scores_pixels_and_facts_of_a_drawing_are_shown(server, opened, draw, shows):
    with opened(server.url) as page:
        draw(page, SEVEN)
        shows(page, "7")
        assert page.locator("#scores li").count() == 10
        best = page.locator("#scores li.best")
        assert best.count() == 1
        assert best.inner_text().startswith("7")
        pixels = """() => [...document.querySelector("#pixels").getContext("2d")
          .getImageData(0, 0, 28, 28).data]"""
        assert sum(value > 200 for value in page.evaluate(pixels)[::4]) > 20
        facts = page.inner_text("#facts")
        assert "litert" in facts
        assert "int8" in facts
        assert "Round trip" in facts


def test_undo_removes_the_strokes(server, opened, draw, shows):
    with opened(server.url) as page:
        draw(page, SEVEN)
        shows(page, "7")
        page.click("#undo")
        page.click("#undo")
        shows(page, "–")


def test_star_is_rejected_until_it_is_cleared(server, opened, draw, shows):
    with opened(server.url) as page:
        draw(page, STAR)
        shows(page, "?")
        assert "Not a digit I know" in page.inner_text("#sure")
        page.click("#clear")
        shows(page, "–")


def test_digit_is_drawn_with_the_keyboard(server, opened, shows):
    with opened(server.url) as page:
        pad = page.get_by_role("application", name="Drawing pad")
        pad.focus()
        for _ in range(6):
            page.keyboard.press("ArrowUp")
        shows(page, "–")
        page.keyboard.press("Space")
        for _ in range(12):
            page.keyboard.press("ArrowDown")
        page.keyboard.press("Shift+ArrowRight")
        shows(page, "1")
        page.keyboard.press("Space")
        page.wait_for_function(
            "() => document.querySelector('#spoken').textContent.startsWith('1, ')"
        )
        page.keyboard.press("z")
        shows(page, "–")
        page.keyboard.press("Space")
        page.keyboard.press("End")
        page.keyboard.press("Escape")
        shows(page, "–")


def test_tab_reaches_every_control_after_the_pad(server, opened):
    with opened(server.url) as page:
        page.get_by_role("application", name="Drawing pad").focus()
        reached = []
        for _ in range(4):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.id"))
        assert [name for name in reached if name != "undo"][:3] == ["clear", "choose", "camera"]


def test_every_control_has_an_accessible_name(server, opened):
    with opened(server.url) as page:
        for role, name in (
            ("button", "Clear"),
            ("button", "Undo"),
            ("button", "Picture…"),
            ("button", "Camera"),
            ("radio", "One digit"),
            ("radio", "A number"),
            ("img", "The network's input: 28 by 28 pixels"),
            ("application", "Drawing pad"),
            ("heading", "digit-edge"),
        ):
            assert page.get_by_role(role, name=name).count() == 1, name
        assert page.get_attribute("html", "lang") == "en"
        assert page.locator("#spoken").get_attribute("aria-live") == "polite"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_contrast_meets_wcag_in_both_color_schemes(server, scheme, opened):
    """WCAG 2.2, criterion 1.4.3, requires a contrast of 4.5 to 1."""

    def luminance(color):
        value = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in value]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    with opened(server.url, color_scheme=scheme) as page:
        style = "name => getComputedStyle(document.body).getPropertyValue(name)"
        for foreground, background in (
            ("--text", "--ground"),
            ("--text", "--card"),
            ("--soft", "--ground"),
            ("--soft", "--card"),
            ("--soft", "--track"),
            ("--accent", "--card"),
            ("--on-accent", "--accent"),
            ("--ink", "--paper"),
        ):
            darker, lighter = sorted(
                luminance(page.evaluate(style, name)) for name in (foreground, background)
            )
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (foreground, background)
        dark = luminance(page.evaluate(style, "--ground")) < 0.1
        assert dark is (scheme == "dark")


PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}


def test_page_fits_on_a_phone(server, opened):
    with opened(server.url, **PHONE) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        for element in ("#answer", "#pad", "#clear"):
            box = page.locator(element).bounding_box()
            assert box["y"] >= 0, element
            assert box["y"] + box["height"] <= 740, element
        assert page.locator("#clear").bounding_box()["height"] >= 44  # CSS pixels, for a finger


def test_drawing_with_a_finger_moves_neither_page_nor_pad(server, opened, draw, shows):
    with opened(server.url, **PHONE) as page:
        before = page.locator("#pad").bounding_box()
        touch = page.context.new_cdp_session(page)

        def send(kind, points):
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        for stroke in SEVEN:
            points = [
                {"x": before["x"] + x * before["width"], "y": before["y"] + y * before["height"]}
                for x, y in stroke
            ]
            send("touchStart", points[:1])
            for start, end in itertools.pairwise(points):
                for part in range(1, 6):
                    send(
                        "touchMove", [{k: start[k] + (end[k] - start[k]) * part / 5 for k in "xy"}]
                    )
            send("touchEnd", [])
        shows(page, "7")
        assert page.evaluate("scrollY") == 0
        # The size of the answer must not move the pad.
        assert page.locator("#pad").bounding_box() == before
        page.click("#clear")
        draw(page, STAR)
        shows(page, "?")
        assert page.locator("#pad").bounding_box() == before


def test_drawn_number_is_read(server, opened, draw, shows):
    with opened(server.url) as page:
        page.get_by_role("radio", name="A number").check(force=True)
        draw(page, FOUR, right=0.1)
        draw(page, SEVEN, right=1.0)
        shows(page, "47")
        assert "each of 2 digits" in page.inner_text("#sure")
        page.get_by_role("radio", name="One digit").check(force=True)
        page.wait_for_function("() => document.querySelector('#answer').textContent !== '47'")


def picture_file(content):
    return {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": content}


def test_chosen_picture_is_classified(server, photo, page, opened, shows):
    with opened(server.url) as tab:
        tab.set_input_files("#file", picture_file(photo))
        shows(tab, page[1])
        assert tab.evaluate("document.querySelector('#hint').hidden")
        tab.click("#clear")
        shows(tab, "–")


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_dropped_or_pasted_picture_is_classified(
    server, photo, page, opened, shows, hand_over, kind
):
    with opened(server.url) as tab:
        hand_over(tab, kind, photo)
        shows(tab, page[1])


def test_file_that_is_not_a_picture_shows_a_message(server, opened):
    with opened(server.url) as tab:
        tab.set_input_files("#file", picture_file(b"not a picture"))
        tab.wait_for_function(
            "() => document.querySelector('#problem').textContent.includes('cannot open')"
        )


def test_camera_picture_is_classified(server, opened):
    with opened(server.url, permissions=["camera"]) as page:
        page.click("#camera")
        page.wait_for_function("() => document.querySelector('#live').videoWidth > 0")
        page.get_by_role("button", name="Take").click()
        # Chromium's fake camera shows a colored clock; any answer will do.
        page.wait_for_function("() => document.querySelector('#answer').textContent !== '–'")
        assert page.locator("#live").is_hidden()
        assert page.evaluate("document.querySelector('#live').srcObject") is None


def test_token_dialog_appears_until_the_token_is_right(serve, opened, draw, shows):
    server = serve(DIGIT_EDGE_TOKEN=TOKEN)
    with opened(server.url, ready=False, allowed=["401"]) as page:
        page.locator("#token").fill("a-token-that-is-wrong")
        page.get_by_role("button", name="Continue").click()
        page.wait_for_function(
            "() => document.querySelector('#token-text').textContent.includes('not')"
        )
        page.locator("#token").fill(TOKEN)
        page.keyboard.press("Enter")
        page.wait_for_selector("body[data-ready]")
        draw(page, SEVEN)
        shows(page, "7")


def test_token_in_the_address_is_stored_and_removed_from_it(serve, opened):
    server = serve(DIGIT_EDGE_TOKEN=TOKEN)
    with opened(f"{server.url}#token={TOKEN}") as page:
        assert "token" not in page.url
        page.reload()
        page.wait_for_selector("body[data-ready]")


@pytest.mark.parametrize("given", ["%C3%A9%0D%0AX", "two%20words", "%E2%82%AC"])
def test_token_with_invalid_characters_opens_the_dialog_again(serve, opened, given):
    server = serve(DIGIT_EDGE_TOKEN=TOKEN)
    with opened(f"{server.url}#token={given}", ready=False, allowed=["401"]) as page:
        page.locator("#token").fill("pâté-de-foie-and-spaces")
        assert "not" in page.inner_text("#token-text")
        page.get_by_role("button", name="Continue").click()
        page.wait_for_function("() => document.querySelector('#token').value === ''")
        page.locator("#token").fill(TOKEN)
        page.keyboard.press("Enter")
        page.wait_for_selector("body[data-ready]")
        assert page.inner_text("#problem") == ""
        page.reload()
        page.wait_for_selector("body[data-ready]")


def test_malformed_token_is_ignored_by_a_server_without_token(server, opened):
    with opened(f"{server.url}#token=%C3%A9%0D%0AX", ready=False) as page:
        page.wait_for_selector("body[data-ready]")


def test_stopped_server_shows_a_message(serve, opened, draw):
    server = serve()
    with opened(server.url, allowed=["ERR_CONNECTION_REFUSED"]) as page:
        server.process.terminate()
        server.process.wait(30)
        draw(page, SEVEN)
        page.wait_for_function(
            "() => document.querySelector('#problem').textContent.includes('running')"
        )


def test_problem_of_the_server_is_shown(serve, opened):
    server = serve("--max-body", "1")
    noise = np.random.default_rng(0).integers(0, 255, (1500, 1500), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    with opened(server.url, allowed=["413"]) as page:
        picture = {"name": "noise.png", "mimeType": "image/png", "buffer": file.getvalue()}
        page.set_input_files("#file", picture)
        page.wait_for_function(
            "() => document.querySelector('#problem').textContent.includes('1,048,576 bytes')"
        )


def test_feature_maps_follow_the_drawing_on_request(server, opened, draw, shows, classifier):
    with opened(server.url) as page:
        draw(page, SEVEN)
        shows(page, "7")
        assert page.locator("#blocks figure").count() == 0
        page.click("#maps summary")
        page.wait_for_selector("#blocks figure")
        page.evaluate("scrollTo(0, 0)")
        captions = page.locator("#blocks figcaption").all_inner_texts()
        assert [text.splitlines()[0] for text in captions] == [
            "Block 1: 32 filters, 20 × 20",
            "Block 2: 64 filters, 8 × 8",
            "Block 3: 64 filters, 2 × 2",
        ]
        assert all("filters find something. Most active: filter" in text for text in captions)
        name = page.get_by_role("img", name="Block 1: 32 filters")
        assert name.evaluate(
            "c => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size > 50"
        )
        # Drawing on changes the maps while the stroke is drawn.
        before = page.inner_text("#blocks")
        draw(page, [[(0.1, 0.9), (0.9, 0.9)]], lift=False)
        page.wait_for_function(
            "before => document.querySelector('#blocks').innerText !== before", arg=before
        )
        page.mouse.up()
        page.click("#clear")
        assert page.locator("#blocks figure").count() == 0
        assert "Draw something" in page.inner_text("#maps-note")


def test_page_says_why_there_are_no_feature_maps(serve, tmp_path, opened, draw, shows):
    onnx = pytest.importorskip("onnx")
    source = artifact.read(PRETRAINED / "digits.onnx")
    model = onnx.load_from_string(source.data)
    del model.metadata_props[:]
    for node in model.graph.node:
        if node.op_type == "MaxPool":
            node.op_type = "AveragePool"
    spec = dataclasses.replace(source.spec, golden=None)
    artifact.write(tmp_path / "mean.onnx", model.SerializeToString(), spec)
    server = serve("--model", tmp_path / "mean.onnx")
    with opened(server.url, allowed=["501"]) as page:
        draw(page, SEVEN)
        page.click("#maps summary")
        page.wait_for_function(
            "() => document.querySelector('#maps-note').textContent.includes('no feature maps')"
        )
        assert page.inner_text("#answer") != "–"
        assert page.inner_text("#problem") == ""
