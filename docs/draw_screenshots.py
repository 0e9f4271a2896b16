"""Take page-desktop.png and page-phone.png: the page of `digit-edge serve` with a drawn 5.

The command `python docs/draw_screenshots.py` needs Chromium and the extra `dev`. Run it after a
change of the page's look.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

FOLDER = Path(__file__).parent
# One stroke of points (x, y), as shares of the pad's height.
FIVE = [(0.72, 0.17), (0.38, 0.19), (0.33, 0.44), (0.52, 0.42), (0.74, 0.62), (0.6, 0.87),
        (0.42, 0.9), (0.25, 0.77)]  # fmt: skip
DESKTOP = {"viewport": {"width": 1280, "height": 870}, "device_scale_factor": 1.5}
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True,
         "has_touch": True}  # fmt: skip


def main() -> None:
    """Start a server, and write both files."""
    command = [sys.executable, "-m", "runtime.serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        address = server.stdout.readline().split()[-1]
        with sync_playwright() as driver:
            browser = driver.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            take(browser, address, "page-desktop.png", maps=True, **DESKTOP)
            take(browser, address, "page-phone.png", maps=False, **PHONE)
            browser.close()
        server.terminate()


def take(browser: Browser, address: str, name: str, maps: bool, **options: object) -> None:
    """Draw a 5 and write a screenshot; `maps`: with the feature maps, as high as they need."""
    page = browser.new_context(locale="en-US", color_scheme="light", **options).new_page()
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    box = page.locator("#pad").bounding_box()
    points = [(box["x"] + x * box["height"], box["y"] + y * box["height"]) for x, y in FIVE]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=2)
    page.mouse.up()
    if maps:
        page.click("#maps summary")
        page.wait_for_selector("#blocks figure")
    page.wait_for_function("() => document.querySelector('#spoken').textContent !== ''")
    page.evaluate("() => { document.activeElement.blur(); scrollTo(0, 0); }")
    page.wait_for_timeout(300)  # until the bars have their length
    page.screenshot(path=FOLDER / name, full_page=maps)


if __name__ == "__main__":
    main()
