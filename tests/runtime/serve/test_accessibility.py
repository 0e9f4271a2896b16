"""axe finds no faults of accessibility in any state of the page: light, dark, on a phone."""

import pytest

SEVEN = [[(0.25, 0.22), (0.75, 0.2), (0.62, 0.45), (0.48, 0.82)], [(0.38, 0.52), (0.68, 0.5)]]
FOUR = [[(0.3, 0.35), (0.13, 0.52), (0.35, 0.52)], [(0.3, 0.35), (0.3, 0.66)]]
ONE_MORE = [[(0.7, 0.35), (0.7, 0.66)]]
STAR = [[(0.2, 0.2), (0.8, 0.8)], [(0.8, 0.2), (0.2, 0.8)], [(0.5, 0.1), (0.5, 0.9)]]
DESKTOP = {"width": 1200, "height": 900}
PHONE = {"width": 360, "height": 740}


def nothing(page, draw):
    pass


def feature_maps(page, draw):
    draw(page, SEVEN)
    page.click("#maps summary")
    page.wait_for_selector("#blocks figure")


def rejected(page, draw):
    draw(page, STAR)
    page.wait_for_selector("#answer.rejected")


def suggestion(page, draw):
    draw(page, FOUR + ONE_MORE)
    page.wait_for_selector("#suggestion:not([hidden])")


def number(page, draw):
    page.get_by_role("radio").nth(1).check(force=True)
    draw(page, SEVEN)
    page.wait_for_function("() => document.querySelector('#answer').textContent === '7'")


def camera(page, draw):
    page.click("#camera")
    page.wait_for_selector("#take:not([hidden])")


def problem(page, draw):
    broken = {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": b"not a picture"}
    page.set_input_files("#file", broken)
    page.wait_for_selector("#problem:not(:empty)")


def token(page, draw):
    page.evaluate("document.querySelector('#ask-token').showModal()")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_no_faults(server, opened, draw, faults, scheme, size):
    options = {"color_scheme": scheme, "viewport": size, "permissions": ["camera"]}
    with opened(server.url, bypass_csp=True, **options) as page:
        for state in (nothing, rejected, suggestion, feature_maps, camera, problem, number, token):
            page.click("#clear")
            state(page, draw)
            assert faults(page) == [], state.__name__
            if state is camera:
                page.click("#camera")
