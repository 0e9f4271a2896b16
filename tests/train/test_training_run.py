"""Whole training runs, in processes of their own: what they leave, killed or not."""

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.errors import EdgeError
from runtime.model import artifact

pytest.importorskip("tensorflow")
pytest.importorskip("sklearn")

ROOT = Path(__file__).parents[2]
EPOCHS = 3
# An epoch of each kind: as most are, spoilt, and spoilt and calm.
OPTIONS = [
    *("--data", "embedded", "--epochs", str(EPOCHS), "--batch-size", "32", "--seed", "5"),
    *("--published", "--set", "spoilt=0.7", "--set", "calm=0.4"),
]


def _start(out: Path, *options: str, stdout=subprocess.PIPE) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "train", *OPTIONS, "--out", str(out), *options],
        cwd=ROOT, stdout=stdout, stderr=subprocess.PIPE, text=True,
        # What starts the tests in the background has SIGINT ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def _wait_for(process: subprocess.Popen, line: str) -> None:
    for read in process.stdout:
        if read.startswith(line):
            return
    raise AssertionError(f"no {line!r}: {process.stderr.read()}")


def _end(process: subprocess.Popen) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run: its model, and what it printed."""
    out = tmp_path_factory.mktemp("whole") / "digits.keras"
    status, printed, err = _end(_start(out))
    assert status == 0 and err == "", err
    return out, printed


def test_the_model_explains_itself(whole):
    keras = pytest.importorskip("keras")
    out, printed = whole
    spec = artifact.read(out).spec
    assert spec.labels == tuple("0123456789")
    assert spec.dataset.name == "embedded digits"
    assert spec.metrics.n_test == 359
    assert spec.metrics.test_accuracy > 0.95
    assert f"test accuracy {100 * spec.metrics.test_accuracy:.2f} %" in printed
    assert f"training accuracy {100 * spec.metrics.train_accuracy:.2f} %" in printed
    assert 0 < spec.confidence_threshold < 1
    assert spec.temperature > 0
    assert dict(spec.provenance)["seed"] == "5"
    assert "tensorflow" in dict(spec.provenance)
    assert '"name": "published"' in dict(spec.provenance)["recipe"]

    model = keras.models.load_model(out, compile=False)
    assert model.count_params() == 65_354
    golden = spec.golden
    assert golden.pixels.shape == (8, 28, 28, 1)
    assert golden.pixels.dtype == np.uint8
    scores = np.asarray(model(golden.pixels / np.float32(255)))
    np.testing.assert_allclose(scores, golden.scores, atol=1e-6)
    assert (golden.scores.argmax(axis=1) == np.arange(8)).sum() >= 7


@pytest.mark.parametrize("name", ["digits.h5", os.fsdecode(b"donn\xe9es.keras")])
def test_a_name_that_the_model_cannot_have_is_refused_at_once(tmp_path, name):
    from train.recipe import FAST
    from train.run import run

    with pytest.raises(EdgeError, match=r"ends in \.keras"):
        run(FAST, "nowhere", False, 0, 0.1, tmp_path / name, False)


def test_history_and_plots_stand_beside_the_model(whole):
    out, printed = whole
    with open(out.with_name("digits-history.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert printed.count("epoch ") == EPOCHS
    assert all(float(row["seconds"]) > 0 for row in rows)
    assert float(rows[-1]["val_accuracy"]) > float(rows[-1]["learning_rate"]) >= 0
    for plot in ("curves", "confusion", "mistakes", "reliability", "suspect-labels"):
        with Image.open(out.with_name(f"digits-{plot}.png")) as image:
            assert image.width > 300
            assert np.asarray(image.convert("L")).std() > 5
    assert not list(out.parent.glob(".*")), "no temporary file is left"


def test_killed_and_interrupted_it_ends_in_the_very_same_bytes(whole, tmp_path):
    out = tmp_path / "digits.keras"
    process = _start(out)
    _wait_for(process, "epoch 1/3")
    process.send_signal(signal.SIGKILL)
    assert _end(process)[0] == -signal.SIGKILL
    assert not out.exists()

    other = _start(out, "--resume", "--batch-size", "64")
    status, _, err = _end(other)
    assert status == 2 and err.startswith("error: ") and "other settings" in err, err
    assert err.count("\n") == 1

    process = _start(out, "--resume")
    _wait_for(process, "epoch 2/3")
    process.send_signal(signal.SIGINT)  # the last epoch takes longer than the signal
    status, _, err = _end(process)
    assert (status, err.count("\n")) == (130, 1), err
    assert err.startswith("interrupted; continue with: python -m train ")
    assert "--resume" in err
    assert not out.exists()

    # The end of the run on a full disk: the lines are lost, the model is saved.
    with open("/dev/full", "w") as full:
        status, _, err = _end(_start(out, "--resume", stdout=full))
    assert (status, err) == (
        2,
        "error: cannot write to standard output: No space left on device; "
        "make room and run it again\n",
    )
    assert out.read_bytes() == whole[0].read_bytes()
    with open(out.with_name("digits-history.csv"), newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]


def test_no_interrupt_of_a_training_is_lost():
    """At a dozen moments of an epoch; the training is built once, which takes most of the time."""
    code = (
        "import os, random, signal, sys, threading\n"
        "from runtime.system import interrupt\n"
        "from runtime.cli.exit_status import exit_status\n"
        "from train import run\n"
        "from train.data.load import sklearn_digits\n"
        "from train.fit import Training\n"
        "from train.recipe import FAST\n"
        "run.start_tensorflow(0)\n"
        "training = Training(FAST, sklearn_digits().train, 10, 0)\n"
        "def press(): os.kill(os.getpid(), signal.SIGINT)\n"
        "def epochs():\n"
        "    threading.Timer(2 if not statuses else random.uniform(0, 0.5), press).start()\n"
        "    with interrupt.deferred():\n"
        "        while True: training.run_epoch(0, run._watch)\n"
        "statuses = []\n"
        "for moment in range(12):\n"
        "    statuses.append(exit_status(epochs))\n"
        "print(statuses)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (f"{[130] * 12}\n", "interrupted\n" * 12)


def test_help_answers_without_tensorflow():
    code = (
        "import sys, train.__main__ as command\n"
        "try: command.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'tensorflow', 'keras', 'sklearn', 'matplotlib', 'tqdm'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(o in done.stdout for o in ("--data", "--resume", "--fast", "--as-is", "--set"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--data", "nowhere/at/all"], "nowhere/at/all does not exist"),
        (["--out", "model.h5", "--data", "embedded"], "ends in .keras"),
        (["--set", "nonsense=1"], "nonsense"),
    ],
)
def test_bad_input_is_one_line_and_status_2(options, words, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "train", *options],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
    assert not list(tmp_path.iterdir())
