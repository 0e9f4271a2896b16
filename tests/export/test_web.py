"""The page with the model in it: written, served by a plain http.server, run in a real browser."""

import base64
import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

import runtime
from export import onnxruntime_web
from runtime import Classifier, artefact
from runtime.preprocess import normalise, view
from train.data import cache_folder

PRETRAINED = Path(runtime.__file__).parent / "pretrained"
SEVEN = [[(0.25, 0.22), (0.75, 0.2), (0.62, 0.45), (0.48, 0.82)], [(0.38, 0.52), (0.68, 0.5)]]
FOUR = [[(0.62, 0.2), (0.3, 0.55), (0.72, 0.55)], [(0.62, 0.2), (0.62, 0.82)]]
SIDE = 256
# Classifies the picture disc.png and reads row.png.
CLASSIFY_AND_READ = """async () => {
  const { open } = await import("./engine.js");
  const { openPicture } = await import("./picture.js");
  const engine = await open();
  const [disc, row] = await Promise.all(["disc.png", "row.png"].map(
    async (name) => openPicture(await (await fetch(name)).blob())));
  const one = await engine.classify(disc, false);
  return [{ ...one, pixels: [] }, await engine.read(row)];
}"""
# Reads the cases, draws each on a canvas, and says what it drew and what it made of it.
CLASSIFY = """async () => {
  const { open } = await import("./engine.js");
  const { render } = await import("./pad.js");
  const engine = await open();
  const found = [];
  for (const { strokes, scale, width } of await (await fetch("cases.json")).json()) {
    const canvas = render(strokes, 256, 256, [scale, 0, 0], width);
    const answer = await engine.classify(canvas, true);
    const { data } = canvas.getContext("2d").getImageData(0, 0, 256, 256);
    const grey = Uint8Array.from({ length: 256 * 256 }, (_, i) => data[4 * i]);
    const text = Array.from(grey, (value) => String.fromCharCode(value)).join("");
    found.push({ ...answer, grey: btoa(text), pixels: [...answer.pixels] });
  }
  return found;
}"""


def run(*options, **environment):
    return subprocess.run(
        [sys.executable, "-m", "export.web", *map(str, options)],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, **environment},
    )


def cases():
    """Drawings: digits and scribbles at many places, sizes and widths of the pen."""
    noise = np.random.default_rng(7)
    made = []
    for number in range(60):
        if number % 3:
            steps = [noise.normal(0, 0.12, (noise.integers(1, 9), 2)) for _ in range(2)]
            strokes = [(0.5 + np.cumsum(step, axis=0)).round(4).tolist() for step in steps]
        else:
            shift, size = noise.uniform(-0.2, 0.2, 2), noise.uniform(0.2, 1.2)
            strokes = [
                (np.array(stroke) * size + shift).round(4).tolist()
                for stroke in (SEVEN, FOUR)[number % 2]
            ]
        made.append({"strokes": strokes, "scale": SIDE, "width": float(noise.uniform(3, 30))})
    blank = {"strokes": [], "scale": SIDE, "width": 10}
    dot = {"strokes": [[[0.5, 0.5]]], "scale": SIDE, "width": 1}
    return [*made, blank, dot]


@pytest.mark.parametrize(
    ("precision", "name"), [("int8", "digits-int8.onnx"), ("float32", "digits.onnx")]
)
def test_the_browser_answers_as_the_runtime_does(
    exported, tmp_path, precision, name, hosted, opened
):
    site = shutil.copytree(exported[precision], tmp_path / "site")
    (site / "cases.json").write_text(json.dumps(cases()))
    with hosted(site) as url, opened(url) as page:
        found = page.evaluate(CLASSIFY)
    classifier = Classifier.load(PRETRAINED / name)
    assert len(found) == len(cases())
    accepted = 0
    for answer in found:
        grey = np.frombuffer(base64.b64decode(answer["grey"]), np.uint8).reshape(SIDE, SIDE)
        pixels = normalise(255 - grey)
        expected = classifier.classify(pixels)
        np.testing.assert_array_equal(answer["pixels"], pixels.reshape(-1))
        scores = [each["score"] for each in answer["scores"]]
        np.testing.assert_allclose(scores, expected.scores, atol=1e-3)
        assert answer["label"] == expected.label
        assert answer["accepted"] == expected.accepted
        accepted += answer["accepted"]
    assert 10 < accepted < len(found) - 10  # the cases ask for both


def test_what_is_drawn_is_read_in_the_browser(exported, hosted, opened, draw, shows):
    with hosted(exported["int8"]) as url, opened(url) as page:
        draw(page, SEVEN)
        shows(page, "7")
        facts = page.inner_text("#facts")
        assert f"onnxruntime-web {onnxruntime_web.VERSION}" in facts and "int8" in facts
        page.click("#clear")
        page.get_by_role("radio", name="A number").check(force=True)
        draw(page, FOUR, right=0.1)
        draw(page, SEVEN, right=1.0)
        shows(page, "47")


def test_after_the_first_visit_no_network_is_needed(exported, hosted, opened, draw, shows):
    with contextlib.ExitStack() as stack:
        with hosted(exported["int8"]) as url:
            page = stack.enter_context(opened(url))
            page.evaluate("() => navigator.serviceWorker.ready.then(() => true)")
        # The server is gone.
        page.reload()
        page.wait_for_selector("body[data-ready]")
        draw(page, SEVEN)
        shows(page, "7")
        names = page.evaluate("() => caches.keys()")
        assert len(names) == 1 and len(names[0].rpartition(" ")[2]) == 64


def other_artefact(path, **changes):
    """The published float artefact with another spec."""
    import onnx

    source = artefact.read(PRETRAINED / "digits.onnx")
    model = onnx.load_from_string(source.data)
    del model.metadata_props[:]
    spec = dataclasses.replace(source.spec, **changes)
    artefact.write(path, model.SerializeToString(deterministic=True), spec)
    return path


def test_an_artefact_with_other_labels(exported, tmp_path, hosted, opened, draw, shows):
    labels = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    model = other_artefact(tmp_path / "words.onnx", labels=labels, name="words", acceptance=None)
    done = run("--out", tmp_path / "site", "--model", model)
    assert (done.returncode, done.stderr) == (0, "")
    with hosted(tmp_path / "site") as url, opened(url) as page:
        assert "zero, one, two" in page.inner_text("#hint")
        draw(page, SEVEN)
        shows(page, "seven")


def test_own_classes_of_filled_shapes_are_accepted(tmp_path, hosted, opened):
    """Without a rejection model the page accepts by the confidence alone, as the runtime does."""
    own = {"name": "own", "acceptance": None, "accept_confidence": 0.0}
    model = other_artefact(tmp_path / "own.onnx", **own)
    done = run("--out", tmp_path / "site", "--model", model)
    assert (done.returncode, done.stderr) == (0, "")
    disc = Image.new("L", (160, 160), 230)
    ImageDraw.Draw(disc).ellipse((60, 60, 100, 100), fill=30)
    disc.save(tmp_path / "site" / "disc.png")
    row = Image.new("L", (240, 120), 230)
    for left in (20, 90, 160):
        ImageDraw.Draw(row).rectangle((left, 30, left + 50, 90), fill=30)
    row.save(tmp_path / "site" / "row.png")
    with hosted(tmp_path / "site") as url, opened(url) as page:
        one, several = page.evaluate(CLASSIFY_AND_READ)
    classifier = Classifier.load(model)
    assert view(disc).odd and one["odd"]
    assert one["accepted"] and classifier.classify(disc).accepted
    assert several["lines"] == list(classifier.read(row).lines)
    assert len(several["digits"]) == 3 and all(each["accepted"] for each in several["digits"])


def test_a_browser_that_computes_otherwise_answers_nothing(
    exported, tmp_path, hosted, opened, draw, shows
):
    golden = artefact.read(PRETRAINED / "digits.onnx").spec.golden
    wrong = dataclasses.replace(golden, scores=np.roll(golden.scores, 1, axis=1))
    model = other_artefact(tmp_path / "wrong.onnx", golden=wrong)
    assert run("--out", tmp_path / "site", "--model", model).returncode == 0
    with hosted(tmp_path / "site") as url, opened(url, ready=False) as page:
        page.wait_for_function(
            "() => document.querySelector('#problem').textContent.includes('would be wrong')"
        )
        draw(page, SEVEN)
        shows(page, "–")


def test_the_site_is_whole_and_the_same_each_time(exported, tmp_path):
    site = exported["int8"]
    worker = (site / "sw.js").read_text()
    files = json.loads(worker.partition("FILES = ")[2].partition(";")[0])
    assert set(files) - {"."} == {p.name for p in site.iterdir()} - {"sw.js", "NOTICE.txt"}
    page = (site / "index.html").read_text()
    assert "script-src 'self' 'wasm-unsafe-eval'" in page and "{{" not in worker
    for path in site.glob("*.*"):
        if path.name not in ("ort.js", "ort.wasm", "model.onnx", "icon.svg"):
            assert "http://" not in path.read_text() and "https://" not in path.read_text()
    assert (site / "model.onnx").read_bytes() == (PRETRAINED / "digits-int8.onnx").read_bytes()
    again = tmp_path / "again"
    assert run("--out", again).returncode == 0
    assert {p.name: p.read_bytes() for p in again.iterdir()} == {
        p.name: p.read_bytes() for p in site.iterdir()
    }
    # An older site is replaced, and nothing is left beside it.
    (again / "sw.js").write_text("old")
    assert run("--out", again).returncode == 0
    assert (again / "sw.js").read_text() == worker
    assert [p.name for p in tmp_path.iterdir()] == ["again"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", PRETRAINED / "digits.tflite"], "browsers run .onnx artefacts"),
        (["--model", "absent.onnx"], "cannot read the model absent.onnx"),
        ([], "holds other files"),
    ],
)
def test_bad_input_is_one_message_and_nothing_written(exported, tmp_path, options, message):
    out = tmp_path / "out"
    if not options:
        out.mkdir()
        (out / "letter.txt").write_text("dear")
    done = run("--out", out, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ") and message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ([] if options else ["out"])
    assert options or (out / "letter.txt").read_text() == "dear"


def test_without_npm_the_way_round_is_named(tmp_path):
    done = run("--out", tmp_path / "site", "--cache", tmp_path / "cache", PATH=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("error: npm is not installed")
    assert f"{tmp_path / 'cache' / onnxruntime_web.TARBALL}" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(shutil.which("npm") is None, reason="no npm here: apt install npm")
def test_without_a_network_the_way_round_is_named(tmp_path):
    offline = {"npm_config_registry": "http://127.0.0.1:9/", "npm_config_fetch_retries": "0"}
    options = ("--out", tmp_path / "site", "--cache", tmp_path / "cache")
    done = run(*options, **offline, npm_config_cache=str(tmp_path / "npm"))
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: npm cannot fetch {onnxruntime_web.TARBALL}")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "site").exists()


def test_another_engine_than_the_pinned_one_is_refused(tmp_path):
    (tmp_path / onnxruntime_web.TARBALL).write_bytes(b"another")
    done = run("--out", tmp_path / "site", "--cache", tmp_path)
    assert done.returncode == 2
    assert f"{onnxruntime_web.TARBALL} is not onnxruntime-web" in done.stderr
    assert not (tmp_path / "site").exists()


def test_the_cache_is_enough(exported, tmp_path):
    tarball = cache_folder() / onnxruntime_web.TARBALL
    shutil.copy(tarball, tmp_path)
    done = run("--out", tmp_path / "site", "--cache", tmp_path, PATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
