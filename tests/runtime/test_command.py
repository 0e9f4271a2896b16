"""digit-edge classify on single images: labels, JSON, errors, Ctrl-C and closed pipes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime import Classifier


def run(*arguments, cwd=None, **options):
    command = [sys.executable, "-m", "runtime", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, **options)


@pytest.fixture
def digit(tmp_path):
    """The PNG file of a golden digit, and its label."""
    classifier = Classifier.load()
    golden = classifier.spec.golden
    path = tmp_path / "digit.png"
    Image.fromarray(golden.pixels[3, :, :, 0]).save(path)
    return path, classifier.spec.labels[golden.scores[3].argmax()]


def test_label_of_an_image_is_printed(digit):
    path, label = digit
    done = run(path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{path}: {label} ")


def test_json_prints_one_object_per_image(digit):
    path, label = digit
    done = run(path, path, "--json", "--top", 3)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(records) == 2
    assert records[0] == records[1]
    record = records[0]
    assert (record["image"], record["label"], record["accepted"]) == (str(path), label, True)
    assert len(record["top"]) == 3
    assert record["top"][0] == {"label": label, "confidence": record["confidence"]}
    assert record["backend"] == "litert"


@pytest.fixture
def text_file(tmp_path):
    """A file that is not an image."""
    path = tmp_path / "text.png"
    path.write_text("this is not an image")
    return path


def test_unreadable_images_are_named_on_stderr_and_the_rest_is_read(digit, text_file, tmp_path):
    path, _ = digit
    absent = tmp_path / "absent.png"
    done = run(path, text_file, absent, path)
    assert done.returncode == 2
    assert [line.split(": ")[0] for line in done.stdout.splitlines()] == [str(path)] * 2
    first, second = done.stderr.splitlines()
    assert first.startswith("error: ")
    assert str(text_file) in first
    assert second.startswith("error: ")
    assert str(absent) in second


def test_unreadable_image_has_a_line_in_json(digit, text_file):
    path, label = digit
    done = run(text_file, path, "--json")
    assert done.returncode == 2
    failed, read = map(json.loads, done.stdout.splitlines())
    assert failed["image"] == str(text_file)
    assert failed["error"]
    assert read["label"] == label


def test_blank_page_is_rejected(tmp_path):
    Image.new("L", (200, 100), 250).save(tmp_path / "blank.png")
    done = run(tmp_path / "blank.png")
    assert done.returncode == 0
    assert ": ? (" in done.stdout
    record = json.loads(run(tmp_path / "blank.png", "--json").stdout)
    assert record["accepted"] is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "absent.tflite"], "error: cannot read the model absent.tflite"),
        (["--model", "digit.png"], "error: digit.png is not a model file"),
        (["--threads", "0"], "error: 0 threads"),
        (["--threads", "many"], "usage"),
        (["--top", "0"], "usage"),
        (["--backend", "abacus"], "usage"),
        (["--null"], "error: --null applies to paths on standard input: pass - as a PATH too"),
        (["--backend", "onnxruntime", "--model", "m.tflite"], "error: onnxruntime does not open"),
        (["--device", "gpu"], "error: LiteRT's GPU accelerator finds no GPU"),
    ],
)
def test_bad_usage_is_one_message_and_exit_2(digit, tmp_path, arguments, message):
    from runtime.model.default_model import find_model

    (tmp_path / "m.tflite").write_bytes(find_model("litert").read_bytes())
    done = run(digit[0], *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(message)
    assert "Traceback" not in done.stderr
    if message != "usage":
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["onnxruntime", "onnx"])
def test_backend_option_selects_the_engine(digit, name):
    record = json.loads(run(digit[0], "--json", "--backend", name).stdout)
    assert (record["backend"], record["label"]) == ("onnxruntime", digit[1])


def test_closed_pipe_is_not_an_error(digit):
    command = f"{sys.executable} -m runtime {' '.join([digit[0].name] * 3000)} | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        capture_output=True,
        text=True,
        cwd=digit[0].parent,
    )
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1


def test_ctrl_c_leaves_complete_lines(popen, digit):
    command = [sys.executable, "-m", "runtime", "--json", *[digit[0].name] * 50_000]
    process = popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=digit[0].parent,
        # A shell ignores SIGINT in background jobs, and child processes inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    # Not communicate(): it would skip the bytes that readline() has buffered.
    rest = process.stdout.read()
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == "interrupted\n"
    assert process.wait(30) == 130
    for line in [first, *rest.splitlines()]:
        json.loads(line)


def test_file_name_that_is_not_utf8_is_read(digit, tmp_path):
    path = os.path.join(os.fsencode(tmp_path), b"\xff\xfe.png")
    with open(path, "wb") as file:
        file.write(digit[0].read_bytes())
    done = subprocess.run([sys.executable, "-m", "runtime", path], capture_output=True)
    assert done.returncode == 0
    assert done.stderr == b""


def test_classifier_takes_paths_bytes_files_images_and_arrays(digit):
    path, label = digit
    classifier = Classifier.load(threads=2)
    image = Image.open(path)
    with open(path, "rb") as file:
        predictions = [
            classifier.classify(source)
            for source in (path, str(path), path.read_bytes(), file, image)
        ]
    pixels = np.asarray(image)
    predictions += [classifier.classify(array) for array in (pixels, pixels[:, :, None])]
    predictions += classifier.classify_batch([path, pixels])
    assert {prediction.label for prediction in predictions} == {label}
    assert all(p.confidence == p.scores.max() and p.accepted for p in predictions)


def test_empty_batch_has_no_predictions():
    assert Classifier.load().classify_batch([]) == []


@pytest.fixture
def number(tmp_path):
    """A picture of the digits 4 and 7, or their like, on paper."""
    golden = Classifier.load().spec.golden
    paper = np.full((200, 420), 235, np.uint8)
    for left, pixels in zip((30, 220), golden.pixels[[3, 5]], strict=True):
        digit = Image.fromarray(pixels[:, :, 0]).resize((160, 160), Image.Resampling.BICUBIC)
        paper[20:180, left : left + 160] -= (np.asarray(digit) * 0.8).astype(np.uint8)
    path = tmp_path / "number.png"
    Image.fromarray(paper).save(path)
    labels = [Classifier.load().spec.labels[golden.scores[n].argmax()] for n in (3, 5)]
    return path, "".join(labels)


@pytest.mark.parametrize("options", [[], ["--json"], ["--csv"]])
def test_picture_of_a_number_is_pointed_to_digit_edge_read(number, options):
    path, text = number
    done = run(path, *options)
    assert done.returncode == 0
    assert done.stderr == f"{path}: this looks like a number, {text}; digit-edge read reads it\n"
    assert len(done.stdout.splitlines()) == (2 if options == ["--csv"] else 1)


def test_picture_of_one_digit_gets_no_hint(digit):
    photograph = Path(__file__).parents[2] / "examples/photo.jpg"
    for path in (digit[0], photograph):
        assert run(path).stderr == ""


def test_several_pictures_get_no_hint(number):
    """Reading each picture twice would take too long."""
    assert run(number[0], number[0]).stderr == ""
