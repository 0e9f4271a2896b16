"""Without --model, commands say that they use the published model if `models/` has another one."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import runtime
from runtime.model.default_model import find_unused_own_model

PRETRAINED = Path(runtime.__file__).parent / "pretrained"
OWN = os.path.join("models", "digits-int8.tflite")
NOTE = f"using the published model; {OWN} exists: pass --model {OWN} to use it\n"
WAIT_S = 60


@pytest.fixture
def own(tmp_path, plant, monkeypatch) -> Path:
    """A model in `models/` of the working directory that differs from the published one."""
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)
    return plant(tmp_path / OWN, confidence_threshold=0.9)


@pytest.fixture
def images(tmp_path, pages, digits) -> Path:
    """A folder with one image of a digit."""
    folder = tmp_path / "in"
    folder.mkdir()
    pages[digits[0]].save(folder / "digit.png")
    return folder


def run(module, *arguments):
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("module", ["runtime", "runtime.read"])
def test_image_commands_name_the_unused_model_once(module, images):
    for number in range(40):
        shutil.copy(images / "digit.png", images / f"{number}.png")
    done = run(module, images, "--jobs", 2)
    assert (done.returncode, done.stderr) == (0, NOTE)


@pytest.mark.usefixtures("own")
def test_selftest_names_the_unused_model():
    done = run("runtime.selftest")
    assert (done.returncode, done.stderr) == (0, NOTE)


@pytest.mark.usefixtures("own")
def test_camera_names_the_unused_model(images):
    done = run("runtime.camera", "--source", images)
    assert done.returncode == 0
    assert done.stderr.splitlines(keepends=True)[0] == NOTE


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("command", ["watch in", "serve --port 0"])
def test_services_name_the_unused_model_once(command, images):
    module, *arguments = command.split()
    if module == "serve":
        pytest.importorskip("starlette", reason='needs pip install "digit-edge[serve]"')
    options = ["--existing", "--state", "state"] if module == "watch" else []
    with subprocess.Popen(
        [sys.executable, "-m", f"runtime.{module}", *arguments, *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as service:  # fmt: skip
        assert service.stdout.readline()  # a record, or the address
        service.send_signal(signal.SIGTERM)
        errors = service.stderr.read()
    assert errors.count("published model;") == 1
    assert errors.startswith(NOTE)


def test_given_model_is_not_commented(own, images):
    done = run("runtime", images, "--model", own)
    assert (done.returncode, done.stderr) == (0, "")


def test_copy_of_the_published_model_is_not_commented(images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    shutil.copy(PRETRAINED / "digits-int8.tflite", tmp_path / OWN)
    done = run("runtime", images, "--backend", "litert")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.usefixtures("own")
def test_model_that_the_engine_cannot_open_is_not_commented():
    assert find_unused_own_model("litert") == Path(OWN)
    assert find_unused_own_model("onnxruntime") is None


def test_watch_says_what_it_watches_and_which_images_it_skips(images, tmp_path):
    """The second start continues with the state of the first one."""
    texts = []
    for options in ([], ["--model", str(PRETRAINED / "digits.tflite")]):
        with subprocess.Popen(
            [sys.executable, "-m", "runtime.watch", images, "--state", tmp_path / "s", *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as service:  # fmt: skip
            texts.append(service.stderr.readline())
            service.send_signal(signal.SIGTERM)
            assert service.stderr.read() == ""
        assert service.returncode == 0
    first, second = texts
    assert re.fullmatch(
        rf"watching {images} with the published model digits-int8.tflite on \S+; "
        r"skipping 1 image already in it \(--existing classifies them\)\n",
        first,
    )
    assert second.endswith("; images that arrived since the last run are classified too\n")


def test_watch_says_that_it_classifies_existing_images(images, tmp_path):
    with subprocess.Popen(
        [sys.executable, "-m", "runtime.watch", images, "--state", tmp_path / "s", "--existing"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as service:  # fmt: skip
        line = service.stderr.readline()
        record = json.loads(service.stdout.readline())
        service.send_signal(signal.SIGTERM)
    assert line.startswith(f"watching {images} with ")
    assert line.endswith("; the images already in it are classified too\n")
    assert record["image"] == str(images / "digit.png")


def test_watch_with_a_wrong_option_does_not_say_that_it_watches(images, tmp_path):
    done = run("runtime.watch", images, "--state", tmp_path / "s", "--mqtt", "nowhere")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --mqtt: invalid URL")


def test_file_that_is_not_a_state_file_is_kept(images, tmp_path):
    notes = tmp_path / "notes.txt"
    notes.write_text("milk\n")
    done = run("runtime.watch", images, "--state", notes)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {notes} is not a state file of digit-edge watch: pass another file with --state\n"
    )
    assert notes.read_text() == "milk\n"
