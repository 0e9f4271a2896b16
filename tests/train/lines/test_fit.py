"""Training the line reader: CTC with empty lines, resuming, and the saved artifact."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from runtime.model import artifact
from runtime.model.spec import SEQUENCE
from train.data.load import sklearn_digits
from train.lines.batches import BatchSource, LineBatch, stack
from train.lines.compose import Line
from train.lines.fit import BLANK, CLASSES, LABELS, LineTraining, decode
from train.lines.recipe import LineRecipe
from train.run import start_tensorflow


@pytest.fixture(scope="module")
def training() -> LineTraining:
    start_tensorflow(0)
    return LineTraining(LineRecipe(lines=640), 0)


def batch(*texts: str) -> LineBatch:
    random = np.random.default_rng(0)
    lines = [Line(random.integers(0, 255, (32, 64), np.uint8), text, ()) for text in texts]
    return stack(lines)


def test_empty_lines_are_last_in_a_batch_of_one_width() -> None:
    lines = [
        Line(np.full((32, 20), 1, np.uint8), "", ()),
        Line(np.full((32, 50), 2, np.uint8), "12", ()),
    ]
    stacked = stack(lines)
    assert stacked.texts == ("12", "")
    assert stacked.pixels.shape == (2, 32, 64, 1)
    assert stacked.pixels[1, 0, :21, 0].tolist() == [1] * 20 + [0]


@pytest.mark.parametrize("texts", [("12", ""), ("", ""), ("7", "?1"), ("8881111118",)])
def test_loss_is_finite_with_and_without_empty_lines(
    training: LineTraining, texts: tuple[str, ...]
) -> None:
    assert np.isfinite(training.run(iter([batch(*texts)]), 0))


def test_decoding_merges_repeats_and_drops_blanks() -> None:
    columns = [BLANK, 1, 1, BLANK, 1, 10, BLANK, BLANK, 0]
    scores = np.eye(CLASSES)[columns]
    assert decode(scores) == "11?0"
    assert LABELS[BLANK] == "blank"


def test_batches_are_the_same_for_the_same_seed_from_any_step_on() -> None:
    train = sklearn_digits().train
    first = BatchSource(train, None, 4, 64, 0)
    second = BatchSource(train, None, 4, 64, 0)
    try:
        whole = list(first.batches(0, 20))
        rest = list(second.batches(11, 20))
    finally:
        first.close()
        second.close()
    assert len(whole) == 20
    for one, other in zip(whole[11:], rest, strict=True):
        assert one.texts == other.texts
        assert np.array_equal(one.pixels, other.pixels)
    # A second pass has the same lines in another order.
    assert sorted(b.texts for b in whole[:16]) != [b.texts for b in whole[:16]]


def command(out: Path, *options: str) -> list[str]:
    fixed = ["--data", "embedded", "--lines", "640", "--pool", "512"]  # 10 steps in 20 parts
    return [sys.executable, "-m", "train.lines", *fixed, "--out", str(out), *options]


def train_lines(out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(out, *options), capture_output=True, text=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the line reader of an uninterrupted run; its checkpoint is beside it."""
    out = tmp_path_factory.mktemp("lines") / "lines.keras"
    done = train_lines(out)
    assert (done.returncode, done.stderr) == (0, "")
    return out


def test_spec_says_that_the_model_reads_lines(trained: Path) -> None:
    spec = artifact.read(trained).spec
    assert (spec.kind, spec.labels, spec.input_shape) == (SEQUENCE, LABELS, (32, None, 1))
    assert spec.golden is not None
    assert spec.golden.scores.shape == (2, spec.golden.pixels.shape[2] // 4, CLASSES)


def test_spec_says_that_digits_were_held_back_if_the_writers_are_unknown(trained: Path) -> None:
    provenance = dict(artifact.read(trained).spec.provenance)
    assert provenance["held back"] == "10% of the digits, not trained on"


def test_history_has_each_part_once(trained: Path) -> None:
    rows = trained.with_name("lines-history.csv").read_text().splitlines()[1:]
    assert [int(row.split(",")[0]) for row in rows] == list(range(2, 21, 2))


def test_killed_run_is_resumed_to_the_same_bytes(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "lines.keras"
    with subprocess.Popen(command(out), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert any(line.startswith("part  6/20") for line in process.stdout)
        finally:
            process.kill()
    resumed = train_lines(out, "--resume")
    assert resumed.returncode == 0
    assert "part  6/20" in resumed.stdout or "part  8/20" in resumed.stdout
    assert out.read_bytes() == trained.read_bytes()


def test_other_settings_cannot_be_resumed(trained: Path) -> None:
    before = trained.read_bytes()
    other = train_lines(trained, "--resume", "--seed", "3")
    assert other.returncode == 2
    assert "seed was 0, is 3)" in other.stderr
    assert trained.read_bytes() == before
