"""Hot reload: `ReloadingClassifier` opens a replaced model file while it is in use."""

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
    """A model file, which is checked at every use of the classifier."""
    monkeypatch.setattr(reload, "INTERVAL_S", 0.0)
    shutil.copy(SMALL.path, tmp_path / "model.tflite")
    return tmp_path / "model.tflite"


def replace_file(place: Path, source: Path) -> None:
    """Replace the model file with one rename."""
    shutil.copy(source, place.with_name("new"))
    os.replace(place.with_name("new"), place)


def digest(model: ReloadingClassifier) -> str:
    return model.classifier.spec.digest


def test_replaced_file_is_reloaded(place, capfd):
    model = ReloadingClassifier(place)
    assert digest(model) == SMALL.spec.digest
    assert model.classifier is model.classifier
    replace_file(place, LARGE.path)
    assert digest(model) == LARGE.spec.digest
    replace_file(place, SMALL.path)
    assert digest(model) == SMALL.spec.digest
    assert capfd.readouterr() == ("", "")


def test_replaced_symbolic_link_is_reloaded(place):
    link = place.with_name("current.tflite")
    link.symlink_to(SMALL.path)
    model = ReloadingClassifier(link)
    link.with_name("new").symlink_to(LARGE.path)
    os.replace(link.with_name("new"), link)
    assert digest(model) == LARGE.spec.digest


@pytest.mark.parametrize("when", [0, 10**9, 4 * 10**9], ids=["1970", "2001", "2096"])
def test_replaced_file_is_reloaded_whatever_its_mtime(place, when):
    """A device without a clock battery starts in the past; a new file may have an older mtime."""
    model = ReloadingClassifier(place)
    shutil.copy(LARGE.path, place.with_name("new"))
    os.utime(place.with_name("new"), (when, when))
    os.replace(place.with_name("new"), place)
    assert digest(model) == LARGE.spec.digest
    shutil.copyfile(SMALL.path, place)  # overwritten in place, with the same mtime
    os.utime(place, (when, when))
    assert digest(model) == SMALL.spec.digest


@pytest.fixture
def rejects(place, capfd):
    """Check that the new file is reported once while the model in use stays: `rejects(reason)`."""
    model = ReloadingClassifier(place)

    def check(reason: str) -> None:
        assert [digest(model) for _ in range(3)] == [SMALL.spec.digest] * 3
        lines = capfd.readouterr().err.splitlines()
        assert len(lines) == 1
        assert lines[0].startswith(f"error: {reason}")
        assert str(place) in lines[0]
        assert lines[0].endswith("; the current model stays in use")

    yield check
    replace_file(place, LARGE.path)
    assert digest(model) == LARGE.spec.digest
    assert capfd.readouterr().err == ""


def test_truncated_new_file_is_reported_once_and_not_used(place, rejects):
    shutil.copy(LARGE.path, place.with_name("half"))
    os.truncate(place.with_name("half"), 1000)
    os.replace(place.with_name("half"), place)
    rejects(f"{place} has no model spec")


def test_deleted_file_is_reported_once_and_the_model_stays(place, rejects):
    place.unlink()
    rejects("cannot read the model")


def test_new_file_with_wrong_golden_outputs_is_reported_once_and_not_used(place, plant, rejects):
    faulty = plant(place.with_name("x.tflite"), scores=lambda scores: scores[:, ::-1].copy())
    replace_file(place, faulty)
    rejects(f"{place}: its scores differ by")


def test_second_unusable_file_is_reported_again(place, rejects):
    replace_file(place, Path(__file__))
    rejects(f"{place} is not a .tflite model")
    place.unlink()
    rejects("cannot read the model")


def test_damaged_model_at_the_start_is_replaced_by_the_previous_one(place, capfd):
    shutil.copy(LARGE.path, previous(place))
    place.write_text("damaged")
    model = ReloadingClassifier(place)
    assert digest(model) == LARGE.spec.digest
    assert f"using the previous model {previous(place)}" in capfd.readouterr().err
    replace_file(place, SMALL.path)
    assert digest(model) == SMALL.spec.digest


def test_damaged_model_at_the_start_without_previous_one_is_an_error(place):
    place.write_text("damaged")
    with pytest.raises(ArtifactError, match=r"is not a \.tflite model"):
        ReloadingClassifier(place)


def test_engine_of_another_format_at_the_start_is_an_error():
    with pytest.raises(BackendUnavailable):
        ReloadingClassifier(SMALL.path, backend="onnxruntime")


def test_default_is_the_published_model():
    assert ReloadingClassifier().classifier.spec.name == "digits"


def test_threads_get_scores_of_the_old_or_the_new_model_during_a_reload(place):
    model = ReloadingClassifier(place)
    pixels = SMALL.spec.golden.pixels[0]
    expected = {tuple(a.spec.golden.scores[0].round(3)) for a in (SMALL, LARGE)}
    stop, unexpected = threading.Event(), []

    def classify_until_stopped() -> None:
        while not stop.is_set():
            scores = model.classifier.classify(pixels).scores
            if tuple(scores.round(3)) not in expected:
                unexpected.append(scores)

    threads = [threading.Thread(target=classify_until_stopped) for _ in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(10):
        replace_file(place, (LARGE, SMALL)[turn % 2].path)
        time.sleep(0.02)
    stop.set()
    for thread in threads:
        thread.join()
    assert not unexpected
    assert digest(model) == SMALL.spec.digest


def test_new_model_too_large_for_memory_is_reported_and_not_used(place):
    """The memory limit leaves 16 MiB, and the new file has 40 MiB."""
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
