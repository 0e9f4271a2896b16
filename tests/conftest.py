"""What tests of several packages share."""

import shutil

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


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
