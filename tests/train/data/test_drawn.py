"""Drawn digits, fonts, and the pool that is mixed into the training batches."""

import hashlib
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest

from train.data import fonts
from train.data.drawn import _spline, draw_digit, draw_digits
from train.data.pool import NOT_A_CLASS, draw_pool


def test_same_seed_draws_the_same_digits_and_another_one_others() -> None:
    first, again, other = draw_digits(30, 1), draw_digits(30, 1), draw_digits(30, 2)
    assert np.array_equal(first.pixels, again.pixels)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.pixels, other.pixels)


@pytest.mark.parametrize("digit", range(10))
def test_drawn_digits_are_in_mnist_form_and_differ(digit: int) -> None:
    random = np.random.default_rng(digit)
    digits = [draw_digit(digit, random) for _ in range(40)]
    assert all(pixels.shape == (28, 28, 1) and pixels.max() == 255 for pixels in digits)
    assert len({pixels.tobytes() for pixels in digits}) == 40


def test_every_class_is_drawn_and_1_4_7_most() -> None:
    counts = np.bincount(draw_digits(600, 0).labels, minlength=10)
    assert counts.min() > 0
    assert set(np.argsort(counts)[-3:].tolist()) == {1, 4, 7}


def test_spline_passes_through_its_points_and_turns_at_a_repeated_one() -> None:
    points = np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 2.0)])
    curve = _spline(points).tolist()
    assert all(point in curve for point in points.tolist())
    assert all(y == 0 for _, y in curve[: curve.index([1.0, 0.0]) + 1])


def font_npm(folder: Path, script: str) -> Path:
    """Write an npm that runs a shell script."""
    folder.mkdir(parents=True)
    npm = folder / "npm"
    npm.write_text(f"#!/bin/sh\n{script}\n")
    npm.chmod(npm.stat().st_mode | stat.S_IXUSR)
    return npm


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'npm error network' >&2; exit 1", "npm error network"),
        ("exit 0", "another SHA-256"),
    ],
    ids=["no network", "no package"],
)
def test_fonts_that_cannot_be_fetched_are_left_out_with_a_reason(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    script: str,
    reason: str,
) -> None:
    npm = font_npm(tmp_path / "bin", script)
    monkeypatch.setenv("PATH", f"{npm.parent}:/usr/bin:/bin")
    assert fonts.load({"kalam": "0" * 64}, tmp_path / "cache") == ()
    message = capsys.readouterr().err
    assert reason in message
    assert "goes on without them" in message
    assert not (tmp_path / "cache").exists()


def test_missing_npm_leaves_fonts_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert fonts.load({"kalam": "0" * 64}, tmp_path / "cache") == ()
    assert "npm is not installed" in capsys.readouterr().err


def test_file_that_is_no_font_is_left_out_with_a_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kalam.woff").write_bytes(b"not a font")
    digest = hashlib.sha256(b"not a font").hexdigest()
    assert fonts.load({"kalam": digest}, tmp_path) == ()
    assert "goes on without them" in capsys.readouterr().err


def test_cached_font_with_the_expected_hash_is_loaded(tmp_path: Path) -> None:
    import matplotlib

    source = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    shutil.copy(source, tmp_path / "dejavu.woff")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    (font,) = fonts.load({"dejavu": digest}, tmp_path)
    assert font.getname()[0] == "DejaVu Sans"


def test_pool_without_fonts_has_digits_and_negatives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "load", lambda _: ())
    drawn = draw_pool(0, 1000)
    assert (drawn.labels >= 0).sum() == 900
    assert (drawn.labels == NOT_A_CLASS).sum() >= 150
    assert set(drawn.labels.tolist()) == {NOT_A_CLASS, *range(10)}
