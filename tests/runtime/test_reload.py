"""A classifier that takes up another model while it is in use."""

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import runtime
from runtime import ArtifactError, BackendUnavailable, reload
from runtime.model import artifact
from runtime.reload import ReloadingClassifier, previous

PRETRAINED = Path(runtime.__file__).parent / "pretrained"
SMALL, LARGE = (
    artifact.read(PRETRAINED / name) for name in ("digits-int8.tflite", "digits.tflite")
)


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A model in use, looked at with every question."""
    monkeypatch.setattr(reload, "INTERVAL_S", 0.0)
    shutil.copy(SMALL.path, tmp_path / "model.tflite")
    return tmp_path / "model.tflite"


def switch(place: Path, source: Path) -> None:
    shutil.copy(source, place.with_name("new"))
    os.replace(place.with_name("new"), place)


def digest(model: ReloadingClassifier) -> str:
    return model.classifier.spec.digest


def test_a_switched_file_is_taken_up(place, capfd):
    model = ReloadingClassifier(place)
    assert digest(model) == SMALL.spec.digest
    assert model.classifier is model.classifier
    switch(place, LARGE.path)
    assert digest(model) == LARGE.spec.digest
    switch(place, SMALL.path)
    assert digest(model) == SMALL.spec.digest
    assert capfd.readouterr() == ("", "")


def test_a_switched_link_is_taken_up(place):
    link = place.with_name("current.tflite")
    link.symlink_to(SMALL.path)
    model = ReloadingClassifier(link)
    link.with_name("new").symlink_to(LARGE.path)
    os.replace(link.with_name("new"), link)
    assert digest(model) == LARGE.spec.digest


@pytest.mark.parametrize("when", [0, 10**9, 4 * 10**9], ids=["1970", "2001", "2096"])
def test_the_clock_does_not_matter(place, when):
    """A device without a battery starts in the past; a new file may be the older one."""
    model = ReloadingClassifier(place)
    shutil.copy(LARGE.path, place.with_name("new"))
    os.utime(place.with_name("new"), (when, when))
    os.replace(place.with_name("new"), place)
    assert digest(model) == LARGE.spec.digest
    shutil.copyfile(SMALL.path, place)  # written over in place, at the very same time
    os.utime(place, (when, when))
    assert digest(model) == SMALL.spec.digest


def test_what_cannot_be_opened_is_said_once_and_the_old_model_goes_on(place, plant, capfd):
    model = ReloadingClassifier(place)

    def refused(reason: str) -> None:
        assert [digest(model) for _ in range(3)] == [SMALL.spec.digest] * 3
        said = capfd.readouterr().err.splitlines()
        assert len(said) == 1
        assert said[0].startswith(f"error: {reason}")
        assert str(place) in said[0]
        assert said[0].endswith("; the current model stays in use")

    shutil.copy(LARGE.path, place.with_name("half"))
    os.truncate(place.with_name("half"), 1000)
    os.replace(place.with_name("half"), place)
    refused(f"{place} has no model spec")
    place.unlink()
    refused("cannot read the model")
    switch(place, plant(place.with_name("x.tflite"), scores=lambda scores: scores[:, ::-1].copy()))
    refused(f"{place}: its scores differ by")
    switch(place, LARGE.path)
    assert digest(model) == LARGE.spec.digest
    assert capfd.readouterr().err == ""


def test_at_the_start_the_model_kept_by_an_update_stands_in(place, capfd):
    shutil.copy(LARGE.path, previous(place))
    place.write_text("spoilt")
    model = ReloadingClassifier(place)
    assert digest(model) == LARGE.spec.digest
    said = capfd.readouterr().err
    assert f"using the previous model {previous(place)}" in said
    switch(place, SMALL.path)
    assert digest(model) == SMALL.spec.digest


def test_at_the_start_without_one_the_error_is_the_files_own(place):
    place.write_text("spoilt")
    with pytest.raises(ArtifactError, match=r"is not a \.tflite model"):
        ReloadingClassifier(place)
    with pytest.raises(BackendUnavailable):
        ReloadingClassifier(SMALL.path, backend="onnxruntime")


def test_without_a_path_the_published_model_answers():
    assert ReloadingClassifier().classifier.spec.name == "digits"


def test_threads_get_the_answers_of_one_model_or_the_other(place):
    model = ReloadingClassifier(place)
    pixels = SMALL.spec.golden.pixels[0]
    expected = {tuple(a.spec.golden.scores[0].round(3)) for a in (SMALL, LARGE)}
    stop, wrong = threading.Event(), []

    def ask() -> None:
        while not stop.is_set():
            scores = model.classifier.classify(pixels).scores
            if tuple(scores.round(3)) not in expected:
                wrong.append(scores)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(10):
        switch(place, (LARGE, SMALL)[turn % 2].path)
        time.sleep(0.02)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert digest(model) == SMALL.spec.digest


def test_without_memory_for_the_new_model_the_old_one_goes_on(place, tmp_path):
    """A limit that is reached is no end: a model of 40 MB does not fit, and is said."""
    large = place.with_name("large.tflite")
    large.write_bytes(LARGE.data[:1000] + bytes(40 << 20))
    program = (
        "import os, resource, sys\n"
        "from runtime import reload\n"
        "reload.INTERVAL_S = 0.0\n"
        "model = reload.ReloadingClassifier(sys.argv[1])\n"
        "pixels = model.classifier.spec.golden.pixels[0]\n"
        "before = model.classifier.classify(pixels).label\n"
        "size = int(open('/proc/self/statm').read().split()[0]) * 4096\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size + (16 << 20), -1))\n"
        "os.replace(sys.argv[2], sys.argv[1])\n"
        "for _ in range(3):\n"
        "    print(model.classifier.classify(pixels).label, before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, place, large], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert [len(set(line.split())) for line in done.stdout.splitlines()] == [1, 1, 1]
    assert done.stderr == f"error: no memory to open {place}; the current model stays in use\n"
