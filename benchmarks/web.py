"""Measures the static site in Chromium: size, first prediction, time of an image, equal scores.

`python -m benchmarks.web` measures the program of `digit-edge export-web` beside onnxruntime-web,
which ran the same network on the site before, in one run. It needs the extra `dev`, Chromium, and
npm for onnxruntime-web.
"""

import argparse
import base64
import functools
import http.server
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import machine, output_dir
from benchmarks.harness.test_set import TestSet, load_test_set
from benchmarks.report.markdown import render_lines
from runtime import Classifier
from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.errors import CHECK_FAILED, EdgeError
from runtime.model.default_model import PRETRAINED
from runtime.system import atomic_write

ONNXRUNTIME_WEB = "1.30.0"  # version of onnxruntime-web
_FILES = {  # of its package; the smallest build that runs the model
    "package/dist/ort.wasm.bundle.min.mjs": "ort.js",
    "package/dist/ort-wasm-simd-threaded.wasm": "ort.wasm",
}
_VISITS = 10  # of each page, each with an empty cache; the pages take turns
_ROUNDS = 40  # of timed images; the engines take turns
_IMAGES = 100  # images in a round, one a call
_TIMEOUT_MS = 60_000  # until a page has predicted its first image

# A page that predicts an image, and has the functions to predict others. {engine} is a module with
# a function `open`, which returns a function from pixels to scores.
_PAGE = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<script type="module">
  import {{ open }} from "./{engine}";
  const engine = await open();
  const scores = engine.scores ?? engine;
  const image = new Uint8Array(784).map((_, i) => (i % 28 === 14 && i > 140 && i < 640 ? 255 : 0));
  await scores(image);
  window.firstMs = performance.now();
  window.microseconds = async (count) => {{
    const start = performance.now();
    for (let i = 0; i < count; i++) await scores(image);
    return (1000 * (performance.now() - start)) / count;
  }};
  window.predict = async (text) => {{
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0)), found = [];
    for (let i = 0; i < bytes.length; i += 784) {{
      found.push(...await scores(bytes.subarray(i, i + 784)));
    }}
    return found;
  }};
</script>
"""
# The engine of the site before: onnxruntime-web on one thread.
_ONNXRUNTIME = """import * as ort from "./ort.js";
export async function open() {
  const load = async (name) => (await fetch(name)).arrayBuffer();
  const [wasm, model] = await Promise.all(["ort.wasm", "model.onnx"].map(load));
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.numThreads = 1;
  const options = { executionProviders: ["wasm"] };
  const session = await ort.InferenceSession.create(new Uint8Array(model), options);
  return async (pixels) => {
    const input = Float32Array.from(pixels, (value) => value / 255);
    const tensor = new ort.Tensor("float32", input, [1, 28, 28, 1]);
    const results = await session.run({ [session.inputNames[0]]: tensor });
    return results[session.outputNames[0]].data;
  };
}
"""
# Notes when the page of the site is ready: it has opened the model and checked its golden scores.
_WATCH_READY = """new MutationObserver(() => { window.firstMs ??= performance.now(); })
  .observe(document, { subtree: true, attributes: true, attributeFilter: ["data-ready"] });"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the site and print the table.

    Returns:
        The exit status: 3 if a score differs from LiteRT's.

    Raises:
        EdgeError: Chromium, Playwright or npm is missing.
    """
    arguments = parse_args(argv)
    if arguments.out is not None:
        output_dir.check_file(arguments.out)
    images = load_test_set(arguments.data)
    with tempfile.TemporaryDirectory(prefix="digit-edge-") as folder:
        _prepare(Path(folder))
        with _served(Path(folder)) as url, _chromium() as browser:
            text, equal = _measure(browser, url, Path(folder), images)
    print(text, end="")
    if arguments.out is not None:
        atomic_write.write(arguments.out, text)
    return 0 if equal else CHECK_FAILED


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command's options; None stands for the arguments of this process."""
    parser = CommandParser(
        "python -m benchmarks.web",
        "Measure the page of digit-edge export-web in Chromium: size, time to the first "
        "prediction, time of an image beside onnxruntime-web, and scores equal to LiteRT's.",
        {0: "measured", 3: "a score differs from LiteRT's"},
    )
    parser.add_argument(
        "--data",
        metavar="PATH",
        help="the data set with the test images (default: that of digit-edge train)",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table to this file")
    return parser.parse_args(argv)


def _prepare(folder: Path) -> None:
    """Write the site, a page with its engine alone, and a page with onnxruntime-web."""
    command = [sys.executable, "-m", "export.web", "--out", str(folder / "site")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise EdgeError(done.stderr.strip().removeprefix("error: "))
    shutil.copytree(folder / "site", folder / "wasm")
    (folder / "wasm/index.html").write_text(_PAGE.format(engine="engine.js"))
    former = folder / "onnxruntime-web"
    former.mkdir()
    npm = shutil.which("npm")
    if npm is None:
        raise EdgeError("npm is not installed (Debian: apt install npm)")
    command = [npm, "pack", f"onnxruntime-web@{ONNXRUNTIME_WEB}", "--ignore-scripts"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise EdgeError(f"npm cannot download onnxruntime-web: {done.stderr.strip()[:200]}")
    with tarfile.open(folder / f"onnxruntime-web-{ONNXRUNTIME_WEB}.tgz") as archive:
        for member, name in _FILES.items():
            file = archive.extractfile(member)
            assert file is not None
            (former / name).write_bytes(file.read())
    shutil.copy(PRETRAINED / "digits-int8.onnx", former / "model.onnx")
    (former / "engine.js").write_text(_ONNXRUNTIME)
    (former / "index.html").write_text(_PAGE.format(engine="engine.js"))


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """Serve a folder and yield its URL."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def _chromium() -> Iterator[Any]:
    """Start a headless Chromium: the system's, otherwise Playwright's own."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        raise EdgeError('Playwright is not installed: pip install "digit-edge[dev]"') from None
    with sync_playwright() as driver:
        try:
            browser = driver.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
        except Error as error:
            reason = str(error).partition("\n")[0]
            raise EdgeError(f"Chromium cannot start ({reason}): apt install chromium") from None
        yield browser
        browser.close()


def _measure(browser: Any, url: str, folder: Path, images: TestSet) -> tuple[str, bool]:
    """Return the page with the results, and whether all scores equal LiteRT's."""
    visits: dict[str, list[float]] = {"site": [], "wasm": [], "onnxruntime-web": []}
    for _ in range(_VISITS):
        for name, times in visits.items():
            with _page(browser, f"{url}{name}/") as page:
                times.append(page.evaluate("() => window.firstMs"))
    rounds: dict[str, list[float]] = {"wasm": [], "onnxruntime-web": []}
    with (
        _page(browser, f"{url}wasm/") as ours,
        _page(browser, f"{url}onnxruntime-web/") as former,
    ):
        for _ in range(_ROUNDS):
            for name, page in (("wasm", ours), ("onnxruntime-web", former)):
                rounds[name].append(page.evaluate("n => window.microseconds(n)", _IMAGES))
        text = base64.b64encode(images.pixels.tobytes()).decode()
        found = np.array(ours.evaluate("text => window.predict(text)", text), np.float32)
    expected = Classifier.load(PRETRAINED / "digits-int8.tflite").scores(images.pixels)
    equal = int((found.reshape(expected.shape) == expected).all(axis=1).sum())
    sizes = {
        "site": _bytes(folder / "site"),
        "wasm": _bytes(folder / "site", "digits.wasm", "model.bin"),
        "onnxruntime-web": _bytes(folder / "onnxruntime-web", "ort.js", "ort.wasm", "model.onnx"),
    }
    labels = {
        "site": "the whole site",
        "wasm": "its program and model alone",
        "onnxruntime-web": f"onnxruntime-web {ONNXRUNTIME_WEB} and the model",
    }
    lines = [
        [labels[name], f"{sizes[name] / 1000:,.0f}", *_least_and_median(visits[name]),
         *_least_and_median(rounds.get(name, []))]
        for name in visits
    ]  # fmt: skip
    header = ["page", "KB", "first, ms, least", "median", "image, µs, least", "median"]
    least = min(rounds["onnxruntime-web"]) / min(rounds["wasm"])
    median = statistics.median(rounds["onnxruntime-web"]) / statistics.median(rounds["wasm"])
    host = machine.describe()
    # On a busy machine, other processes delay a page, unless `chrt --rr 1` starts this command.
    real_time = os.sched_getscheduler(0) != os.SCHED_OTHER
    page_text = f"""# The model in a browser

`python -m benchmarks.web` writes this page: the site of `digit-edge export-web` in Chromium
{browser.version}, and onnxruntime-web, which ran the same network on the site before.

- KB: all files, not compressed
- first: from the start of the navigation, with an empty cache, to the first prediction; of the
  whole site, until it is ready for a drawing and has checked its golden images
- image: one image a call, one thread; the engines take turns

{render_lines(header, lines)}

An image takes onnxruntime-web {least:.1f} times (least) or {median:.1f} times (median) the time of
the site's program. Scores equal to LiteRT's bit by bit: {equal:,} of {len(images.labels):,} test
images of {images.name}.

{host.cpu}, {host.cores} cores, load average {host.load:.1f}{", real-time priority" * real_time}.
"""
    return page_text, equal == len(images.labels)


@contextmanager
def _page(browser: Any, url: str) -> Iterator[Any]:
    """Visit a page with an empty cache; yield it after its first prediction."""
    # A service worker would request all files a second time.
    context = browser.new_context(service_workers="block")
    page = context.new_page()
    page.add_init_script(_WATCH_READY)
    page.goto(url)
    page.wait_for_function("() => window.firstMs", timeout=_TIMEOUT_MS)
    yield page
    context.close()


def _bytes(folder: Path, *names: str) -> int:
    """Return the size of the named files of a folder, of all without names."""
    paths = [folder / name for name in names] or [*folder.iterdir()]
    return sum(path.stat().st_size for path in paths)


def _least_and_median(values: list[float]) -> list[str]:
    return [f"{min(values):.0f}", f"{statistics.median(values):.0f}"] if values else ["", ""]


if __name__ == "__main__":
    sys.exit(exit_status(main))
