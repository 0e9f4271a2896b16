"""Whole training runs in processes of their own: their files, interrupted and resumed."""

import csv
import gzip
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.errors import EdgeError
from runtime.model import artifact
from train.__main__ import main
from train.data.load import sklearn_digits

pytest.importorskip("tensorflow")
pytest.importorskip("sklearn")

ROOT = Path(__file__).parents[2]
EPOCHS = 3
# Three epochs: with early corruption, with corruption, and with corruption and cooldown.
OPTIONS = [
    *("--data", "embedded", "--epochs", str(EPOCHS), "--batch-size", "32", "--seed", "5"),
    *("--published", "--set", "spoilt=0.7", "--set", "calm=0.4", "--set", "drawn_share=0"),
]


@pytest.fixture(scope="module")
def start():
    """Return a function that starts a training; trainings that a failed test leaves are killed."""
    started = []

    def start_training(out: Path, *options: str, stdout=subprocess.PIPE) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-m", "train", *OPTIONS, "--out", str(out), *options],
            cwd=ROOT, stdout=stdout, stderr=subprocess.PIPE, text=True,
            # Shells start background processes with SIGINT ignored, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        started.append(process)
        return process

    yield start_training
    for process in started:
        if process.returncode is None:
            process.kill()
            process.communicate()


def _wait_for(process: subprocess.Popen, start: str) -> None:
    """Wait until the process prints a line with this start."""
    for line in process.stdout:
        if line.startswith(start):
            return
    raise AssertionError(f"no {start!r}: {process.stderr.read()}")


def _end(process: subprocess.Popen) -> tuple[int, str, str]:
    """Wait for the process; return its exit status, stdout and stderr."""
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def uninterrupted(start, tmp_path_factory):
    """Return the model's path and the output of an uninterrupted run."""
    out = tmp_path_factory.mktemp("uninterrupted") / "digits.keras"
    status, printed, err = _end(start(out))
    assert status == 0, err
    classes, stored = err.splitlines()
    assert classes.startswith("1,438 training images and 359 test images of 10 classes")
    assert stored == "stored as 28x28 pixels, gray, light on dark"
    return out, printed


def test_spec_has_labels_data_thresholds_and_provenance(uninterrupted):
    spec = artifact.read(uninterrupted[0]).spec
    assert spec.labels == tuple("0123456789")
    assert spec.dataset.name == "embedded digits"
    assert 0 < spec.confidence_threshold < 1
    assert spec.temperature > 0
    assert dict(spec.provenance)["seed"] == "5"
    assert "tensorflow" in dict(spec.provenance)
    assert '"name": "published"' in dict(spec.provenance)["recipe"]


def test_spec_has_the_printed_accuracies(uninterrupted):
    out, printed = uninterrupted
    metrics = artifact.read(out).spec.metrics
    assert metrics.n_test == 359
    assert metrics.test_accuracy > 0.95
    assert f"test accuracy {100 * metrics.test_accuracy:.2f} %" in printed
    assert f"training accuracy {100 * metrics.train_accuracy:.2f} %" in printed


def test_saved_model_reproduces_its_golden_scores(uninterrupted):
    keras = pytest.importorskip("keras")
    out, _ = uninterrupted
    model = keras.models.load_model(out, compile=False)
    assert model.count_params() == 65_354
    golden = artifact.read(out).spec.golden
    assert golden.pixels.shape == (8, 28, 28, 1)
    assert golden.pixels.dtype == np.uint8
    scores = np.asarray(model(golden.pixels / np.float32(255)))
    np.testing.assert_allclose(scores, golden.scores, atol=1e-6)
    assert (golden.scores.argmax(axis=1) == np.arange(8)).sum() >= 7


def test_writers_and_drawn_digits_are_used_and_reported(tmp_path):
    """Whole writers are held back, and a missing npm leaves the fonts out with a reason."""
    data = sklearn_digits()
    for name, split in (("train", data.train), ("test", data.test)):
        rows = np.zeros((len(split), 8), ">i4")
        rows[:, 0] = split.labels
        rows[:, 1] = np.where(np.arange(len(split)) < 200, 0, 4)
        rows[:, 2] = np.arange(len(split)) // 20
        header = b"\x00\x00\x0c\x02" + struct.pack(">II", *rows.shape)
        (tmp_path / f"qmnist-{name}-labels-idx2-int.gz").write_bytes(
            gzip.compress(header + rows.tobytes())
        )
    done = subprocess.run(
        [
            sys.executable, "-m", "train", "--data", "embedded", "--published",
            *("--epochs", "1", "--batch-size", "32", "--out", str(tmp_path / "digits.keras")),
            *("--writers", str(tmp_path / "qmnist-train-labels-idx2-int.gz")),
        ],
        cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "npm is not installed" in done.stderr
    assert "validation images of other writers" in done.stdout
    assert "drawn images: 34 % of each batch" in done.stdout
    assert "hsf_4" in done.stdout
    assert "95 % interval over writers" in done.stdout
    spec = artifact.read(tmp_path / "digits.keras").spec
    assert "of whole writers" in dict(spec.provenance)["held back"]


@pytest.mark.parametrize("name", ["digits.h5", os.fsdecode(b"donn\xe9es.keras")])
def test_invalid_name_of_the_model_is_rejected_before_training(tmp_path, name):
    from train.recipe import FAST
    from train.run import run

    with pytest.raises(EdgeError, match=r"ends in \.keras"):
        run(FAST, "nowhere", False, 0, 0.1, tmp_path / name, False)


def test_history_has_a_row_per_epoch(uninterrupted):
    out, printed = uninterrupted
    with open(out.with_name("digits-history.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert printed.count("epoch ") == EPOCHS
    assert all(float(row["seconds"]) > 0 for row in rows)
    assert float(rows[-1]["val_accuracy"]) > float(rows[-1]["learning_rate"]) >= 0


def test_plots_are_written_next_to_the_model(uninterrupted):
    out, _ = uninterrupted
    for plot in (
        "contact-sheet",
        "curves",
        "confusion",
        "mistakes",
        "reliability",
        "suspect-labels",
    ):
        with Image.open(out.with_name(f"digits-{plot}.png")) as image:
            assert image.width > 300
            assert np.asarray(image.convert("L")).std() > 5


def test_run_leaves_no_temporary_files(uninterrupted):
    assert not list(uninterrupted[0].parent.glob(".*"))


def test_resume_after_kill_and_interrupt_gives_identical_bytes(uninterrupted, start, tmp_path):
    """One run is killed, resumed with other settings (rejected), interrupted, and completed.

    TensorBoard's files change nothing, and contain each epoch once.
    """
    out = tmp_path / "digits.keras"
    log = ("--log", "tensorboard")
    process = start(out, *log)
    _wait_for(process, "epoch 1/3")
    process.send_signal(signal.SIGKILL)
    assert _end(process)[0] == -signal.SIGKILL
    assert not out.exists()

    with pytest.raises(EdgeError, match="other settings"):
        main([*OPTIONS, "--out", str(out), "--resume", "--batch-size", "64", *log])

    process = start(out, "--resume", *log)
    _wait_for(process, "epoch 2/3")
    process.send_signal(signal.SIGINT)  # arrives during the last epoch
    status, _, err = _end(process)
    assert status == 130, err
    (last,) = err.splitlines()[2:]  # after the summary of the data
    assert last.startswith("interrupted; continue with: digit-edge train ")
    assert "--resume" in last
    assert not out.exists()

    # stdout is on a full disk: the command fails, but the model is saved.
    with open("/dev/full", "w") as full:
        status, _, err = _end(start(out, "--resume", *log, stdout=full))
    assert status == 2
    assert err.splitlines()[2:] == [
        "error: cannot write to standard output: No space left on device; "
        "make room and run the command again"
    ]
    assert out.read_bytes() == uninterrupted[0].read_bytes()
    with open(out.with_name("digits-history.csv"), newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(out.with_name("digits-tensorboard")))
    events.Reload()
    assert [event.step for event in events.Scalars("loss/validation")] == [1, 2, 3]


def test_ctrl_c_at_any_time_in_an_epoch_interrupts_training():
    """A dozen interrupts at random times, with one `Training`, as its graph takes long to build."""
    code = (
        "import os, random, signal, sys, threading\n"
        "from runtime.system import interrupt\n"
        "from runtime.cli.exit_status import exit_status\n"
        "from train import run\n"
        "from train.data.load import sklearn_digits\n"
        "from train.fitting.fit import Training\n"
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
        cwd=ROOT, capture_output=True, text=True, timeout=600,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (f"{[130] * 12}\n", "interrupted\n" * 12)


def test_help_does_not_import_tensorflow():
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
def test_bad_input_prints_one_line_and_exits_2(options, words, tmp_path):
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


def test_training_without_tensorflow_is_refused_before_a_download(tmp_path):
    script = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "sys.argv = ['train', '--out', 'x.keras']\n"
        "import runpy; runpy.run_module('train', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == 'error: tensorflow is not installed: pip install "digit-edge[train]"\n'
