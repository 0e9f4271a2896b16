"""digit-edge export-web: the static site, served by http.server and run in a real browser."""

import base64
import contextlib
import dataclasses
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import runtime
from export import onnxruntime_web
from runtime import Classifier
from runtime.model import artifact
from runtime.preprocess.mnist_format import to_mnist_format
from train.data.load import cache_folder

PRETRAINED = Path(runtime.__file__).parent / "pretrained"
SIDE_PX = 256  # side of the canvas that the pad renders for one digit
# Strokes of points (x, y), as shares of the pad's height; the pad smooths their corners.
SEVEN = [[(0.25, 0.22), (0.75, 0.2), (0.62, 0.45), (0.48, 0.82)], [(0.38, 0.52), (0.68, 0.5)]]
FOUR = [[(0.62, 0.2), (0.3, 0.55), (0.72, 0.55)], [(0.62, 0.2), (0.62, 0.82)]]
STAR = [[(0.2, 0.2), (0.8, 0.8)], [(0.8, 0.2), (0.2, 0.8)], [(0.5, 0.1), (0.5, 0.9)]]
DIGITS = {
    "0": [[(0.5, 0.1), (0.25, 0.3), (0.25, 0.7), (0.5, 0.9), (0.75, 0.7), (0.75, 0.3), (0.5, 0.1)]],
    "1": [[(0.4, 0.25), (0.55, 0.1), (0.53, 0.5), (0.5, 0.9)]],
    "2": [[(0.3, 0.25), (0.5, 0.1), (0.7, 0.28), (0.5, 0.6), (0.27, 0.88), (0.75, 0.87)]],
    "3": [[(0.3, 0.15), (0.65, 0.15), (0.7, 0.35), (0.45, 0.48), (0.72, 0.6), (0.65, 0.85),
           (0.28, 0.85)]],
    "4": FOUR,
    "5": [[(0.68, 0.12), (0.35, 0.14), (0.33, 0.45), (0.6, 0.42), (0.72, 0.65), (0.55, 0.88),
           (0.28, 0.84)]],
    "6": [[(0.62, 0.1), (0.35, 0.4), (0.3, 0.75), (0.5, 0.9), (0.7, 0.72), (0.55, 0.55),
           (0.33, 0.65)]],
    "7": SEVEN,
    "8": [[(0.68, 0.2), (0.45, 0.1), (0.32, 0.28), (0.66, 0.62), (0.6, 0.88), (0.36, 0.86),
           (0.34, 0.62), (0.66, 0.35), (0.68, 0.2)]],
    "9": [[(0.68, 0.25), (0.45, 0.12), (0.32, 0.32), (0.5, 0.48), (0.68, 0.3), (0.66, 0.6),
           (0.55, 0.9)]],
}  # fmt: skip
# Classifies each case of cases.json and returns the answers with their canvases. A case without a
# pen width is rendered by `Pad.digit`, another one at its position on the pad.
CLASSIFY_PROGRAM = """async () => {
  const { open } = await import("./engine.js");
  const { Pad, render } = await import("./pad.js");
  const engine = await open();
  const pad = new Pad(document.createElement("canvas"), () => {}, () => {});
  const answers = [];
  for (const { strokes, pen } of await (await fetch("cases.json")).json()) {
    pad.strokes = strokes;
    const canvas = pen === null ? pad.digit() : render(strokes, 256, 256, [256, 0, 0], pen);
    const answer = await engine.classify(canvas);
    const { data } = canvas.getContext("2d").getImageData(0, 0, 256, 256);
    const gray = Uint8Array.from({ length: 256 * 256 }, (_, i) => data[4 * i]);
    const text = Array.from(gray, (value) => String.fromCharCode(value)).join("");
    answers.push({ ...answer, gray: btoa(text), pixels: [...answer.pixels] });
  }
  return answers;
}"""


def run(*options, **environment):
    return subprocess.run(
        [sys.executable, "-m", "export.web", *map(str, options)],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, **environment},
    )


def random_digits(count):
    """Return cases of shifted, slanted, rotated and distorted digits, and their labels."""
    rng = np.random.default_rng(3)
    labels = [str(number % 10) for number in range(count)]
    cases = []
    for label in labels:
        rotation, slant = rng.normal(0, 0.1, 2)
        matrix = rng.uniform(0.3, 1) * np.array([[1, slant + rotation], [-rotation, 1]])
        center = rng.uniform(0.35, 0.65, 2)
        strokes = [np.array(stroke) - 0.5 for stroke in DIGITS[label]]
        strokes = [stroke + rng.normal(0, 0.015, stroke.shape) for stroke in strokes]
        transformed = [(stroke @ matrix.T + center).round(4).tolist() for stroke in strokes]
        cases.append({"strokes": transformed, "pen": None})
    return cases, labels


def random_marks():
    """Return cases of digits and scribbles with random position, size and pen; a blank; a dot."""
    noise = np.random.default_rng(7)
    cases = []
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
        cases.append({"strokes": strokes, "pen": float(noise.uniform(3, 30))})
    return [*cases, {"strokes": [], "pen": 10}, {"strokes": [[[0.5, 0.5]]], "pen": 1}]


def classify_on_site(site, cases, hosted, opened):
    """Return the canvas of each case, uint8 (256, 256), and the answer of the site."""
    (site / "cases.json").write_text(json.dumps(cases))
    with hosted(site) as url, opened(url) as page:
        answers = page.evaluate(CLASSIFY_PROGRAM)
    assert len(answers) == len(cases)
    shape = (SIDE_PX, SIDE_PX)
    return [
        (np.frombuffer(base64.b64decode(answer["gray"]), np.uint8).reshape(shape), answer)
        for answer in answers
    ]


def classify_on_server(classifier, canvas):
    """Return the pixels and the prediction of `runtime.serve` for a drawing."""
    pixels = to_mnist_format(255 - canvas)
    return pixels.reshape(-1), classifier.classify(pixels)


@pytest.mark.parametrize(
    ("precision", "name"), [("int8", "digits-int8.onnx"), ("float32", "digits.onnx")]
)
def test_site_classifies_and_rejects_drawings_as_the_server_does(
    exported, tmp_path, precision, name, hosted, opened
):
    site = shutil.copytree(exported[precision], tmp_path / "site")
    digits, labels = random_digits(300)
    classifier = Classifier.load(PRETRAINED / name)
    accepted = correct = equal = 0
    cases = [*digits, *random_marks()]
    for number, (canvas, answer) in enumerate(classify_on_site(site, cases, hosted, opened)):
        pixels, expected = classify_on_server(classifier, canvas)
        site_pixels = np.array(answer["pixels"], np.uint8)
        assert np.abs(site_pixels.astype(int) - pixels).max() <= 1, number
        equal += np.array_equal(site_pixels, pixels)
        scores = [each["score"] for each in answer["scores"]]
        server_scores = classifier.scores(site_pixels.reshape(1, 28, 28, 1))[0]
        np.testing.assert_allclose(scores, server_scores, atol=1e-3)
        assert answer["label"] == expected.label, number
        assert answer["accepted"] == expected.accepted, number
        assert (answer["method"] == "blank") == (not pixels.any())
        accepted += answer["accepted"]
        correct += number < len(labels) and answer["label"] == labels[number]
    # NumPy sums in single precision, in an order that depends on the processor: in 4 of 2,000
    # drawings one pixel differed by one level.
    assert equal >= 0.98 * len(cases)
    assert correct > 0.9 * len(labels)
    # The cases cover both acceptance and rejection.
    assert len(labels) / 2 < accepted < len(cases) - 30


def test_drawing_is_classified_in_the_browser(exported, hosted, opened, draw, shows):
    with hosted(exported["int8"]) as url, opened(url) as page:
        draw(page, SEVEN)
        shows(page, "7")
        facts = page.inner_text("#facts")
        assert f"onnxruntime-web {onnxruntime_web.VERSION}" in facts
        assert "int8" in facts


def test_undo_and_escape_clear_the_drawing(exported, hosted, opened, draw, shows):
    with hosted(exported["int8"]) as url, opened(url) as page:
        draw(page, SEVEN)
        shows(page, "7")
        page.click("#undo")
        page.click("#undo")
        shows(page, "–")
        draw(page, FOUR)
        shows(page, "4")
        page.keyboard.press("Escape")
        shows(page, "–")


def test_star_is_rejected(exported, hosted, opened, draw, shows):
    with hosted(exported["int8"]) as url, opened(url) as page:
        draw(page, STAR)
        shows(page, "?")
        assert "Not a digit I know" in page.inner_text("#sure")


def test_site_ignores_photographs_and_names_the_server_command(exported, hosted, opened, hand_over):
    with hosted(exported["int8"]) as url, opened(url) as page:
        text = " ".join(page.inner_text("main").split())
        assert "For photographs and numbers of several digits, run" in text
        assert text.count("digit-edge serve") == 1
        for control in ("input", "video", "dialog", "#choose", "#camera", "#modes"):
            assert page.locator(control).count() == 0, control
        hand_over(page, "drop", b"a picture")
        hand_over(page, "paste", b"a picture")
        assert page.inner_text("#answer") == "–"
        assert page.inner_text("#problem") == ""


def test_page_opened_as_a_file_explains_how_to_serve_it(exported, opened):
    """Browsers do not load modules from a file, and log errors about it."""
    blocked = ("CORS", "ERR_FAILED")
    url = (exported["int8"] / "index.html").as_uri()
    with opened(url, ready=False, allowed=blocked) as page:
        notice = page.locator("#from-file")
        assert notice.is_visible()
        assert page.locator("main").is_hidden()
        text = " ".join(notice.inner_text().split())
        assert "cannot run from a file" in text
        assert "neither modules nor WebAssembly" in text
        assert "python -m http.server --bind 127.0.0.1" in text
        assert notice.get_by_role("link").get_attribute("href") == "http://127.0.0.1:8000/"
        style = "() => getComputedStyle(document.body).backgroundColor"
        assert page.evaluate(style) != "rgba(0, 0, 0, 0)"  # the style sheet is loaded


def test_served_page_hides_the_notice_about_files(exported, hosted, opened):
    with hosted(exported["int8"]) as url, opened(url) as page:
        assert page.locator("#from-file").is_hidden()
        assert page.locator("main").is_visible()


def test_site_works_offline_after_the_first_visit(exported, hosted, opened, draw, shows):
    with contextlib.ExitStack() as stack:
        with hosted(exported["int8"]) as url:
            page = stack.enter_context(opened(url))
            page.evaluate("() => navigator.serviceWorker.ready.then(() => true)")
        # The server has stopped.
        page.reload()
        page.wait_for_selector("body[data-ready]")
        draw(page, SEVEN)
        shows(page, "7")
        names = page.evaluate("() => caches.keys()")
        assert len(names) == 1
        assert len(names[0].rpartition(" ")[2]) == 64


def other_artifact(path, **changes):
    """Write the published float artifact with a changed spec; return its path."""
    import onnx

    source = artifact.read(PRETRAINED / "digits.onnx")
    model = onnx.load_from_string(source.data)
    del model.metadata_props[:]
    spec = dataclasses.replace(source.spec, **changes)
    artifact.write(path, model.SerializeToString(deterministic=True), spec)
    return path


def test_site_shows_the_labels_of_the_artifact(exported, tmp_path, hosted, opened, draw, shows):
    labels = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    model = other_artifact(
        tmp_path / "words.onnx", labels=labels, name="words", rejection_model=None
    )
    done = run("--out", tmp_path / "site", "--model", model)
    assert (done.returncode, done.stderr) == (0, "")
    with hosted(tmp_path / "site") as url, opened(url) as page:
        assert "zero, one, two" in page.inner_text("#hint")
        draw(page, SEVEN)
        shows(page, "seven")


def test_model_without_rejection_model_accepts_by_confidence_like_the_server(
    tmp_path, hosted, opened
):
    model = other_artifact(tmp_path / "own.onnx", name="own", rejection_model=None)
    done = run("--out", tmp_path / "site", "--model", model)
    assert (done.returncode, done.stderr) == (0, "")
    classifier = Classifier.load(model)
    accepted = []
    for canvas, answer in classify_on_site(tmp_path / "site", random_marks(), hosted, opened):
        _, expected = classify_on_server(classifier, canvas)
        assert (answer["label"], answer["accepted"]) == (expected.label, expected.accepted)
        accepted.append(answer["accepted"])
    assert 5 < sum(accepted) < len(accepted) - 5


def few_classes(path, **changes):
    """Write the published float artifact with only its first three outputs; return its path."""
    import onnx

    model = onnx.load_from_string(artifact.read(PRETRAINED / "digits.onnx").data)
    del model.metadata_props[:]
    (output,) = model.graph.output
    last = next(node for node in model.graph.node if output.name in node.output)
    last.output[list(last.output).index(output.name)] = "all"
    bounds = {"starts": [0], "ends": [3], "axes": [1]}
    for name, value in bounds.items():
        tensor = onnx.helper.make_tensor(name, onnx.TensorProto.INT64, [1], value)
        model.graph.initializer.append(tensor)
    model.graph.node.append(onnx.helper.make_node("Slice", ["all", *bounds], [output.name]))
    output.type.tensor_type.shape.dim[1].dim_value = 3
    source = artifact.read(PRETRAINED / "digits.onnx").spec
    golden = dataclasses.replace(source.golden, scores=source.golden.scores[:, :3])
    changes = {"labels": ("ring", "bar", "hook"), "golden": golden, "name": "signs", **changes}
    spec = dataclasses.replace(source, rejection_model=None, confidence_threshold=0.5, **changes)
    artifact.write(path, model.SerializeToString(deterministic=True), spec)
    return path


@pytest.fixture
def signs(tmp_path) -> Path:
    """A site of a model with the classes ring, bar and hook."""
    model = few_classes(tmp_path / "signs.onnx")
    done = run("--out", tmp_path / "site", "--model", model)
    assert (done.returncode, done.stderr) == (0, "")
    return tmp_path / "site"


def test_own_classes_are_classified_and_rejected(signs, hosted, opened, draw, shows):
    with hosted(signs) as url, opened(url) as page:
        assert page.inner_text("#hint") == "Draw ring, bar, hook"
        draw(page, DIGITS["1"])
        shows(page, "bar")
        page.click("#clear")
        draw(page, SEVEN)
        shows(page, "?")
        assert "None of these" in page.inner_text("#sure")


def test_page_of_own_classes_does_not_mention_digits(signs, hosted, opened, draw, shows):
    with hosted(signs) as url, opened(url) as page:
        draw(page, SEVEN)
        shows(page, "?")
        shown = page.inner_text("body") + page.title()
        for selector, attribute in (("meta[name=description]", "content"), ("#pad", "aria-label")):
            shown += page.get_attribute(selector, attribute)
        shown += (signs / "site.webmanifest").read_text()
        assert "digit" not in shown.replace("digit-edge", "")
        assert "digit-edge serve --model signs.onnx" in page.inner_text("main")


def test_few_bars_are_aligned_and_close_together(signs, hosted, opened):
    with hosted(signs) as url, opened(url) as page:
        rows = [row.bounding_box() for row in page.locator("#scores li").all()]
        assert rows[-1]["y"] + rows[-1]["height"] - rows[0]["y"] < 150
        bars = [bar.bounding_box() for bar in page.locator("#scores i").all()]
        assert len({(bar["x"], bar["width"]) for bar in bars}) == 1


LONG = "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen" * 4


@pytest.mark.parametrize("label", ["a" * 25, "b" * 30, LONG[:200]])
def test_page_with_long_labels_fits_on_a_phone(
    exported, tmp_path, hosted, opened, draw, shows, label
):
    labels = ("ring", "bar", label)
    model = few_classes(tmp_path / "signs.onnx", labels=labels, name=f"signs-{label}")
    assert run("--out", tmp_path / "site", "--model", model).returncode == 0
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    with hosted(tmp_path / "site") as url, opened(url, **phone) as page:
        assert page.locator("#hint").bounding_box()["width"] <= 390
        for strokes in ([], DIGITS["1"], DIGITS["2"], STAR):
            page.click("#clear")
            draw(page, strokes)
            if strokes:
                page.wait_for_function(
                    "() => document.querySelector('#answer').textContent !== '–'"
                )
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            bars = [bar.bounding_box() for bar in page.locator("#scores i").all()]
            assert len({(bar["x"], bar["width"]) for bar in bars}) == 1
            assert bars[0]["width"] >= 40
            for row in page.locator("#scores li > *, #facts div, #sure, #answer, #pixels").all():
                box = row.bounding_box()
                assert box["x"] >= 0
                assert box["x"] + box["width"] <= 390


def test_of_many_long_labels_the_highest_scores_fit(tmp_path, exported, hosted, opened):
    """Of more than twelve labels, twelve are shown."""
    labels = tuple(f"{LONG[:30]}{number}" for number in range(14))
    site = shutil.copytree(exported["float32"], tmp_path / "site")
    spec = json.loads((site / "spec.json").read_text())
    spec |= {"labels": labels, "golden": None}
    (site / "spec.json").write_text(json.dumps(spec))
    for width in (390, 1200):
        size = {"viewport": {"width": width, "height": 844}}
        with hosted(site) as url, opened(url, **size) as page:
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            bars = [bar.bounding_box() for bar in page.locator("#scores i").all()]
            assert len(bars) == 12
            assert min(bar["width"] for bar in bars) >= 40


def test_model_name_like_a_placeholder_is_not_filled_in(tmp_path, hosted, opened):
    model = other_artifact(tmp_path / "{{script}} {{tagline}}.onnx")
    out = tmp_path / "it's a site"
    done = run("--out", out, "--model", model)
    assert (done.returncode, done.stderr) == (0, "")
    hint = done.stdout.splitlines()[-1].partition(": ")[2]
    assert shlex.split(hint)[-2:] == ["--directory", str(out)]
    with hosted(out) as url, opened(url) as page:
        assert "--model '{{script}} {{tagline}}.onnx'" in page.inner_text("main")


def test_model_name_that_is_not_utf8_is_rejected(tmp_path):
    model = other_artifact(tmp_path / os.fsdecode(b"x\xff.onnx"))
    done = run("--out", tmp_path / "site", "--model", model)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert "x\\udcff.onnx: the page shows the file name, but the name is not UTF-8" in done.stderr
    assert not (tmp_path / "site").exists()


def test_folder_name_that_is_not_utf8_is_accepted(exported, tmp_path):
    out = tmp_path / os.fsdecode(b"x\xff")
    done = run("--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    assert (out / "sw.js").read_bytes() == (exported["int8"] / "sw.js").read_bytes()


def test_page_does_not_answer_if_the_golden_scores_differ(
    exported, tmp_path, hosted, opened, draw, shows
):
    golden = artifact.read(PRETRAINED / "digits.onnx").spec.golden
    wrong = dataclasses.replace(golden, scores=np.roll(golden.scores, 1, axis=1))
    model = other_artifact(tmp_path / "wrong.onnx", golden=wrong)
    assert run("--out", tmp_path / "site", "--model", model).returncode == 0
    with hosted(tmp_path / "site") as url, opened(url, ready=False) as page:
        page.wait_for_function(
            "() => document.querySelector('#problem').textContent.includes('would be wrong')"
        )
        draw(page, SEVEN)
        shows(page, "–")


def test_site_caches_all_its_files_and_loads_nothing_else(exported):
    site = exported["int8"]
    worker = (site / "sw.js").read_text()
    files = json.loads(worker.partition("FILES = ")[2].partition(";")[0])
    assert set(files) - {"."} == {p.name for p in site.iterdir()} - {"sw.js", "NOTICE.txt"}
    page = (site / "index.html").read_text()
    assert "script-src 'self' 'wasm-unsafe-eval'" in page
    assert "{{" not in worker
    for path in site.glob("*.*"):
        if path.name not in ("ort.js", "ort.wasm", "model.onnx", "icon.svg"):
            text = path.read_text().replace("http://127.0.0.1:8000/", "")
            assert "http://" not in text
            assert "https://" not in text
    assert (site / "model.onnx").read_bytes() == (PRETRAINED / "digits-int8.onnx").read_bytes()


def test_export_gives_identical_bytes(exported, tmp_path):
    again = tmp_path / "again"
    assert run("--out", again).returncode == 0
    assert {p.name: p.read_bytes() for p in again.iterdir()} == {
        p.name: p.read_bytes() for p in exported["int8"].iterdir()
    }


def test_older_site_is_replaced(exported, tmp_path):
    site = shutil.copytree(exported["int8"], tmp_path / "site")
    (site / "sw.js").write_text("old")
    assert run("--out", site).returncode == 0
    assert (site / "sw.js").read_text() == (exported["int8"] / "sw.js").read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["site"]


def test_folder_with_other_files_is_not_replaced(exported, tmp_path):
    site = shutil.copytree(exported["int8"], tmp_path / "site")
    (site / ".git").mkdir()
    (site / ".git/HEAD").write_text("ref: refs/heads/gh-pages")
    (site / "CNAME").write_text("digits.example")
    (site / "thesis").mkdir()
    (site / "thesis/chapter.tex").write_text("one")
    (site / "zebra.txt").write_text("striped")
    before = {path: path.is_file() and path.read_bytes() for path in site.rglob("*")}
    done = run("--out", site)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {site} holds other files")
    assert "(.git/, CNAME, thesis/ and 1 more): move them" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert {path: path.is_file() and path.read_bytes() for path in site.rglob("*")} == before
    assert list(tmp_path.iterdir()) == [site]


def test_site_of_an_earlier_version_is_replaced(exported, tmp_path):
    """Earlier versions had more modules, for photographs."""
    site = shutil.copytree(exported["int8"], tmp_path / "site")
    for name in ("components", "cuts", "decode", "doubt", "ink", "layout", "photo", "picture"):
        (site / f"{name}.js").write_text("old")
    for name in ("pillow", "reading", "relief", "thumbnail"):
        (site / f"{name}.js").write_text("old")
    assert run("--out", site).returncode == 0
    assert {p.name for p in site.iterdir()} == {p.name for p in exported["int8"].iterdir()}


def test_other_page_with_the_same_file_names_is_not_replaced(exported, tmp_path):
    (tmp_path / "index.html").write_text("mine")
    (tmp_path / "style.css").write_text("mine")
    done = run("--out", tmp_path)
    assert done.returncode == 2
    assert "(index.html, style.css): move them" in done.stderr
    assert (tmp_path / "index.html").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", PRETRAINED / "digits.tflite"], "browsers run .onnx artifacts"),
        (["--model", "absent.onnx"], "cannot read the model absent.onnx"),
        ([], "holds other files"),
    ],
)
def test_invalid_input_gives_one_message_and_writes_nothing(exported, tmp_path, options, message):
    out = tmp_path / "out"
    if not options:
        out.mkdir()
        (out / "letter.txt").write_text("dear")
    done = run("--out", out, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ([] if options else ["out"])
    assert options or (out / "letter.txt").read_text() == "dear"


def test_missing_npm_names_the_file_to_download_by_hand(tmp_path):
    done = run("--out", tmp_path / "site", "--cache", tmp_path / "cache", PATH=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("error: npm is not installed")
    assert f"{tmp_path / 'cache' / onnxruntime_web.TARBALL}" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(shutil.which("npm") is None, reason="no npm here: apt install npm")
def test_missing_network_is_reported(tmp_path):
    offline = {"npm_config_registry": "http://127.0.0.1:9/", "npm_config_fetch_retries": "0"}
    options = ("--out", tmp_path / "site", "--cache", tmp_path / "cache")
    done = run(*options, **offline, npm_config_cache=str(tmp_path / "npm"))
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: npm cannot fetch {onnxruntime_web.TARBALL}")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "site").exists()


def test_engine_with_another_digest_is_rejected(tmp_path):
    (tmp_path / onnxruntime_web.TARBALL).write_bytes(b"another")
    done = run("--out", tmp_path / "site", "--cache", tmp_path)
    assert done.returncode == 2
    assert f"{onnxruntime_web.TARBALL} is not onnxruntime-web" in done.stderr
    assert not (tmp_path / "site").exists()


def test_cached_engine_needs_no_npm(exported, tmp_path):
    tarball = cache_folder() / onnxruntime_web.TARBALL
    shutil.copy(tarball, tmp_path)
    done = run("--out", tmp_path / "site", "--cache", tmp_path, PATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")


def test_site_speaks_the_language_of_the_browser(exported, hosted, opened, draw, shows):
    with hosted(exported["int8"]) as url, opened(url, locale="de-DE") as page:
        assert page.title() == "digit-edge: eine Ziffer zeichnen"
        assert "Für Fotos und Zahlen aus mehreren Ziffern" in page.inner_text("main")
        draw(page, STAR)
        shows(page, "?")
        assert "Keine bekannte Ziffer" in page.inner_text("#sure")


@pytest.mark.parametrize(
    ("locale", "title"),
    [("fr-FR", "Cette page ne fonctionne pas depuis un fichier"),
     ("ja-JP", "This page cannot run from a file")],
)  # fmt: skip
def test_notice_of_a_page_opened_as_a_file_is_in_the_language_of_the_browser(
    exported, opened, locale, title
):
    url = (exported["int8"] / "index.html").as_uri()
    with opened(url, ready=False, allowed=("CORS", "ERR_FAILED"), locale=locale) as page:
        assert page.locator("#from-file h2:visible").all_inner_texts() == [title]


@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_site_shows_the_feature_maps_of_the_classifier(exported, precision, hosted, opened):
    program = """async () => {
      const { open } = await import("./engine.js");
      const canvas = Object.assign(document.createElement("canvas"), { width: 256, height: 256 });
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.fillStyle = "#fff";
      context.fillRect(0, 0, 256, 256);
      context.fillStyle = "#000";
      context.fillRect(60, 50, 130, 24);
      context.fillRect(150, 50, 24, 150);
      const engine = await open();
      const { pixels } = await engine.classify(canvas);
      const blocks = await engine.featureMaps(canvas);
      return [[...pixels], blocks.map((block) => ({ ...block, maps: [...block.maps] }))];
    }"""
    name = {"int8": "digits-int8.onnx", "float32": "digits.onnx"}[precision]
    with hosted(exported[precision]) as url, opened(url) as page:
        pixels, blocks = page.evaluate(program)
    expected = Classifier.load(PRETRAINED / name).feature_maps(
        np.array(pixels, np.uint8).reshape(28, 28, 1)
    )
    for block, maps in zip(blocks, expected, strict=True):
        levels = np.array(block["maps"]).reshape(maps.shape)
        assert np.abs(levels / 255 * block["peak"] - maps).max() < 0.06


def test_site_opens_the_feature_maps_on_request(exported, hosted, opened, draw, shows):
    with hosted(exported["int8"]) as url, opened(url) as page:
        draw(page, SEVEN)
        shows(page, "7")
        page.click("#maps summary")
        page.wait_for_selector("#blocks figure")
        assert page.locator("#blocks figcaption").count() == 3
