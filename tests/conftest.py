"""Fixtures shared by all tests: a headless browser, and helpers for the page to draw on.

If the environment variable DIGIT_EDGE_REQUIRE_ALL is 1, a skipped test fails. `.ci/run` sets it.
"""

import base64
import contextlib
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest

AXE_VERSION = "4.14.1"  # of axe-core
# SHA-512 of its tarball in base64, as in the npm registry.
AXE_SHA512 = (
    "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
)
TESTS = Path(__file__).parent
# Files that take half a minute or more, the longest first.
LONGEST = (
    "test_docs.py",
    "test_notebook.py",
    "train/test_training_run.py",
    "train/lines/test_fit.py",
)
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")

# NumPy's and SciPy's BLAS. Its threads wait for work in busy loops: in the small matrices of the
# tests, 40 % of the processor time of a training. Child processes inherit the setting.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def pytest_collection_modifyitems(items):
    """Run the longest files first, so that no worker waits for one at the end of a parallel run."""
    rank = {TESTS / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


def pytest_ignore_collect(collection_path, config):
    """With -m portable, import no other file: its imports may need Linux or more packages."""
    if config.option.markexpr != "portable":
        return None
    files = [collection_path]
    if collection_path.is_dir():
        files = list(collection_path.rglob("test_*.py"))
    return None if any("mark.portable" in file.read_text("utf-8") for file in files) else True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """Report a skipped test as failed if every test must run."""
    return _required((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    """Report a skipped file as failed if every test must run."""
    return _required((yield))


def _required(report):
    expected_to_fail = hasattr(report, "wasxfail")
    if report.skipped and not expected_to_fail and os.environ.get("DIGIT_EDGE_REQUIRE_ALL") == "1":
        report.outcome = "failed"
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
        report.longrepr = f"{reason}\nDIGIT_EDGE_REQUIRE_ALL is 1: no test may be skipped"
    return report


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """Make a folder for all workers of a parallel run: `once(name, make)` returns its path.

    The first worker calls `make` with the new folder; the others wait. All must only read it.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # of the workers' folders

    def folder(name, make):
        import fcntl  # not on Windows, where no test uses this fixture

        path = base / name
        with open(base / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                new = Path(tempfile.mkdtemp(dir=base))
                make(new)
                new.rename(path)
        return path

    return folder


@pytest.fixture
def popen():
    """subprocess.Popen, whose processes are killed at the end of a test that leaves them."""
    with contextlib.ExitStack() as stack:

        def start(*arguments, **options):
            process = stack.enter_context(subprocess.Popen(*arguments, **options))
            stack.callback(process.kill)
            return process

        yield start


@pytest.fixture(scope="session")
def program():
    """Return the path of a program of this environment or of the machine; skip without it."""
    folders = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))

    def find(name, install):
        path = shutil.which(name, path=folders)
        if path is None:
            pytest.skip(f"{name} is missing: {install}")
        return path

    return find


@pytest.fixture(scope="module")
def browser():
    """A headless browser, controlled by Playwright.

    It lives for one module only: Playwright keeps an event loop running in this thread, so
    asyncio.run in other tests would fail.
    """
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        pytest.skip("no browser here: apt install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with playwright.sync_playwright() as driver:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        # A simulated camera, used without a permission dialog.
        options += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        opened = driver.chromium.launch(
            executable_path=path, headless=True, args=[*options, "--no-first-run"]
        )
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def opened(browser):
    """Visit a page, as a context manager; fail if it logs problems or requests other hosts.

    `ready`: wait until the page is ready; `allowed`: parts of messages that may be logged;
    `options`: of Playwright's new context.
    """
    return functools.partial(_opened, browser)


@contextlib.contextmanager
def _opened(browser, url, ready=True, allowed=(), **options):
    context = browser.new_context(**options)
    page = context.new_page()
    messages, requests = [], []
    page.on("console", lambda m: m.type in ("error", "warning") and messages.append(m.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(url)
    if ready:
        page.wait_for_selector("body[data-ready]")
    yield page
    context.close()
    assert [text for text in messages if not any(part in text for part in allowed)] == []
    own_hosts = ("", urlsplit(url).netloc)  # a data: URL has no host
    assert [request for request in requests if urlsplit(request).netloc not in own_hosts] == []


@pytest.fixture(scope="session")
def draw():
    """Draw strokes on the page's pad with the mouse; points are in units of the pad's height."""
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
    """Wait until the page shows a text as its answer."""
    return _shows


def _shows(page, text):
    page.wait_for_function(
        "text => document.querySelector('#answer').textContent === text", arg=text
    )


@pytest.fixture(scope="session")
def hand_over():
    """Drop or paste an image, the bytes of a JPEG file, on the page."""
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


@pytest.fixture(scope="session")
def axe():
    """The source of axe-core, which finds faults of accessibility; npm fetches it once."""
    from train.data.load import cache_folder

    tarball = cache_folder() / f"axe-core-{AXE_VERSION}.tgz"
    if not tarball.is_file():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("no npm here: apt install npm")
        tarball.parent.mkdir(parents=True, exist_ok=True)
        command = [npm, "pack", f"axe-core@{AXE_VERSION}", "--ignore-scripts"]
        done = subprocess.run(
            [*command, "--pack-destination", tarball.parent], capture_output=True, text=True
        )
        if done.returncode != 0:
            pytest.skip(f"npm cannot fetch axe-core: {done.stderr.strip()}")
    data = tarball.read_bytes()
    digest = base64.b64encode(hashlib.sha512(data).digest()).decode()
    assert digest == AXE_SHA512, f"{tarball} is damaged: delete it"
    with tarfile.open(tarball) as archive:
        return archive.extractfile("package/axe.min.js").read().decode()


@pytest.fixture(scope="session")
def faults(axe):
    """List the faults of accessibility that axe finds on a page, opened with bypass_csp."""

    def find(page):
        page.evaluate(axe)
        found = page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
        return [
            f"{each['id']}: {[node['target'] for node in each['nodes']]}"
            for each in found["violations"]
        ]

    return find
