"""Five-fold comparison of recipes by writer: the folds, the file of results, the summary."""

from pathlib import Path

import numpy as np
import pytest

from runtime.errors import DatasetError, EdgeError
from train import folds
from train.data.load import sklearn_digits
from train.data.writers import TRAIN_FILE
from train.folds import FOLDS, FoldResult, fold_of, summary
from train.recipe import FAST, changed


def test_each_writer_is_held_back_in_exactly_one_fold() -> None:
    by = np.random.default_rng(0).integers(0, 37, 1000)
    held = np.array([fold_of(by, fold) for fold in range(1, FOLDS + 1)])
    assert (held.sum(axis=0) == 1).all()
    for name in np.unique(by):
        assert held[:, by == name].any(axis=1).sum() == 1


def test_unknown_writers_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="--writers"):
        folds.run(FAST, "fast", "embedded", None, 0, tmp_path / "folds.csv")


def test_trained_folds_are_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = []

    def train(recipe: object, name: str, *rest: object) -> FoldResult:
        fold = rest[-1]
        trained.append(fold)
        return FoldResult(name, 0, int(str(fold)), 100, 1, 100, 3, 0.02)

    monkeypatch.setattr(folds, "_train", train)
    labels = sklearn_digits().train.labels
    rows = np.zeros((len(labels), 8), ">i4")
    rows[:, 0], rows[:, 2] = labels, np.arange(len(labels)) // 20
    header = np.array([0x00000C02, len(rows), 8], ">i4").tobytes()
    (tmp_path / TRAIN_FILE).write_bytes(header + rows.tobytes())
    out, path = tmp_path / "folds.csv", str(tmp_path / TRAIN_FILE)
    kept = (
        "recipe,seed,fold,hsf_0,hsf_0_errors,hsf_4,hsf_4_errors,loss\nfast,0,2,100,1,100,3,0.02\n"
    )
    out.write_text(kept)
    folds.run(FAST, "fast", "embedded", path, 0, out)
    assert trained == [1, 3, 4, 5]
    assert "fast: 5 folds, accuracy hsf_0 99.000 %, hsf_4 97.000 %, all 98.000 %" in (
        capsys.readouterr().out
    )
    folds.run(FAST, "fast", "embedded", path, 0, out)
    assert trained == [1, 3, 4, 5]
    folds.run(changed(FAST, ["dropout=0.2"]), "fast dropout=0.2", "embedded", path, 0, out)
    assert len(out.read_text().splitlines()) == 11


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "recipe,seed,fold\nfast,x,1\n"])
def test_file_of_another_command_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "folds.csv").write_text(content)
    with pytest.raises(EdgeError, match=r"folds\.csv .*--out"):
        folds._read(tmp_path / "folds.csv")


def test_summary_weights_folds_by_their_images() -> None:
    results = [
        FoldResult("a", 0, 1, 100, 0, 300, 3, 0.1),
        FoldResult("a", 0, 2, 300, 4, 100, 1, 0.3),
    ]
    (line,) = summary(results)
    assert line == (
        "a: 2 folds, accuracy hsf_0 99.000 %, hsf_4 99.000 %, all 99.000 %, loss 0.2000"
    )
