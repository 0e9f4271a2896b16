"""What tests of several packages share."""

import contextlib
import functools
import shutil
from urllib.parse import urlsplit

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def pytest_collection_modifyitems(items):
    """The notebook first: at the end one worker computed for minutes and the other waited."""
    items.sort(key=lambda item: item.path.name != "test_notebook.py")


@pytest.fixture(scope="module")
def browser():
    """A real browser without a window, driven by Playwright.

    For a module and no longer: Playwright keeps an event loop running in this thread, in which
    other tests' asyncio.run would fail.
    """
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        pytest.skip("no browser here: apt install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with playwright.sync_playwright() as driver:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        # A camera of its own, that nobody has to allow.
        options += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        opened = driver.chromium.launch(
            executable_path=path, headless=True, args=[*options, "--no-first-run"]
        )
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def opened(browser):
    """Visits a page, as a context manager; what it logs, and what it asks of others, is a failure.

    `ready`: wait until it says that it is; `allowed`: what may be logged; `options`: Playwright's,
    of a new context.
    """
    return functools.partial(_opened, browser)


@contextlib.contextmanager
def _opened(browser, url, ready=True, allowed=(), **options):
    context = browser.new_context(**options)
    page = context.new_page()
    said, asked = [], []
    page.on("console", lambda it: it.type in ("error", "warning") and said.append(it.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    if ready:
        page.wait_for_selector("body[data-ready]")
    yield page
    context.close()
    assert [text for text in said if not any(part in text for part in allowed)] == []
    own = ("", urlsplit(url).netloc)  # a data: address has none
    assert [address for address in asked if urlsplit(address).netloc not in own] == []


@pytest.fixture(scope="session")
def draw():
    """Draws strokes on the page's pad with the mouse; places are in parts of the pad's height."""
    return _draw


def _draw(page, strokes, lift=True, right=0.0):
    box = page.locator("#pad").bounding_box()
    for stroke in strokes:
        points = [
            (box["x"] + (x + right) * box["height"], box["y"] + y * box["height"])
            for x, y in stroke
        ]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=6)
        if lift or stroke is not strokes[-1]:
            page.mouse.up()


@pytest.fixture(scope="session")
def shows():
    """Waits until the page's answer is a text."""
    return _shows


def _shows(page, text):
    page.wait_for_function(
        "text => document.querySelector('#answer').textContent === text", arg=text
    )


@pytest.fixture(scope="session")
def hand_over():
    """Drops or pastes a picture, the bytes of a JPEG file, on the page."""
    return _hand_over


def _hand_over(page, kind, photo):
    page.evaluate(_HAND_OVER, [list(photo), kind])


_HAND_OVER = """([bytes, kind]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], "photo.jpg", { type: "image/jpeg" }));
  dispatchEvent(kind === "paste"
    ? new ClipboardEvent("paste", { clipboardData: data })
    : new DragEvent("drop", { dataTransfer: data, cancelable: true }));
}"""
