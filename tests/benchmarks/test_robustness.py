"""Corruptions do what they say; published artifacts in real engines are counted rightly."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from benchmarks.harness.cases import FAILED
from benchmarks.parity.run import TestSet
from benchmarks.robustness import corruptions
from benchmarks.robustness import report as robustness_report
from benchmarks.robustness import run as robustness
from benchmarks.robustness.__main__ import main as robustness_main
from benchmarks.robustness.corruptions import CORRUPTIONS
from benchmarks.schema.robustness import MIDDLE, UNKNOWN, UNUSED, USED
from runtime.backends import open_backend
from runtime.errors import CHECK_FAILED
from runtime.model import artifact

MIDDLE_STRENGTHS = {
    "shift": "3 px", "rotation": "20°", "smaller": "× 0.75", "larger": "× 1.25", "shear": "0.3",
    "blur": "σ 1.2 px", "noise": "σ 0.2", "contrast": "× 0.3", "brightness": "+ 0.3",
    "thick strokes": "+ 1 px", "thin strokes": "− 1 px", "occlusion": "8 px",
}  # fmt: skip


@pytest.fixture(scope="module")
def few() -> TestSet:
    """A tenth of the embedded digits' test split."""
    from train.data.load import sklearn_digits

    data = sklearn_digits()
    whole = TestSet(data.name, data.sha256, data.labels, data.test.pixels, data.test.labels)
    return robustness.quick_subset(whole, 40)


@pytest.fixture
def published(tmp_path):
    """A folder with the four published artifacts."""
    folder = tmp_path / "models"
    folder.mkdir()
    for path in robustness.PUBLISHED.glob("digits*.*"):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture
def random():
    return np.random.default_rng(7)


def square(low: int = 10, high: int = 18) -> np.ndarray:
    """One image: an upright bar from `low` to `high`, full ink."""
    pixels = np.zeros((1, 28, 28, 1), np.uint8)
    pixels[:, low:high, low:high] = 255
    return pixels


def test_the_middle_strengths_are_those_that_targets_are_set_for() -> None:
    stated = {c.name: c.unit.format(c.strengths[MIDDLE]) for c in CORRUPTIONS}
    assert stated == MIDDLE_STRENGTHS
    assert all(len(c.strengths) == 5 for c in CORRUPTIONS)


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda c: c.name)
def test_a_corruption_is_repeatable_and_grows_with_its_strength(corruption, few) -> None:
    before = few.pixels.copy()
    corrupted = [corruption.corrupt(few.pixels, step, seed=1) for step in range(5)]
    np.testing.assert_array_equal(few.pixels, before)
    for pixels in corrupted:
        assert pixels.shape == before.shape
        assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(corrupted[2], corruption.corrupt(few.pixels, 2, seed=1))
    change = [np.abs(pixels.astype(int) - before).mean() for pixels in corrupted]
    assert change[0] > 0
    assert change[0] < change[2] < change[4]
    assert len({pixels.tobytes() for pixels in corrupted}) == 5


def test_shift_moves_by_whole_pixels_in_each_of_eight_ways(random) -> None:
    pixels = np.repeat(square(), 400, axis=0)
    shifted = corruptions.shift(pixels, 3, random)
    ways = {(x, y): np.roll(square(), (x, y), (1, 2))[0] for x in (-3, 0, 3) for y in (-3, 0, 3)}
    del ways[0, 0]
    found = [way for image in shifted for way, moved in ways.items() if (moved == image).all()]
    assert len(found) == 400
    assert set(found) == set(ways)
    # What leaves the image does not come back on the other side.
    assert corruptions.shift(square(0, 28), 3, random).sum() < square(0, 28).sum()


def test_rotation_turns_about_the_middle(few, random) -> None:
    turned = corruptions.rotate(few.pixels, 90, random)
    both = [np.rot90(few.pixels, way, axes=(1, 2)) for way in (1, -1)]
    close = [np.abs(turned.astype(int) - way).max(axis=(1, 2, 3)) <= 1 for way in both]
    assert (close[0] | close[1]).all()
    assert close[0].any()
    assert close[1].any()


def test_scaling_and_shearing_keep_the_middle(random) -> None:
    np.testing.assert_array_equal(corruptions.scale(square(), 1.0, random), square())
    half = corruptions.scale(square(6, 22), 0.5, random)[0, :, :, 0]
    assert (half[10:18, 10:18] == 255).all()
    assert half.sum() == 64 * 255
    slanted = corruptions.shear(square(6, 22), 0.5, random)[0, :, :, 0].astype(float)
    middles = slanted[6:22] @ np.arange(28) / slanted[6:22].sum(axis=1)
    np.testing.assert_allclose(np.abs(np.diff(middles)), 0.5, atol=0.03)
    assert abs(middles.mean() - 13.5) < 0.1


def test_blur_is_scipys_gaussian(few, random) -> None:
    from scipy.ndimage import gaussian_filter

    planes = few.pixels[..., 0].astype(float)
    expected = gaussian_filter(planes, (0, 1.2, 1.2), mode="constant", truncate=5)
    np.testing.assert_allclose(corruptions.blur(few.pixels, 1.2, random)[..., 0], expected, atol=1)


def test_noise_contrast_and_brightness_have_the_amounts_stated(random) -> None:
    gray = np.full((20, 28, 28, 1), 128, np.uint8)
    assert abs(corruptions.add_noise(gray, 0.1, random).std() - 25.5) < 0.5
    lowered = corruptions.lower_contrast(square(0, 14), 0.3, random)
    mean = 255 / 4
    assert set(np.unique(lowered)) == {round(0.7 * mean), round(0.7 * mean + 0.3 * 255)}
    raised = corruptions.raise_brightness(square(), 0.3, random)
    assert set(np.unique(raised)) == {round(0.3 * 255), 255}


@pytest.mark.parametrize(("name", "sign"), [("thick strokes", 1), ("thin strokes", -1)])
@pytest.mark.parametrize("step", range(5))
def test_strokes_change_their_width_by_what_is_said(name, sign, step) -> None:
    (corruption,) = (c for c in CORRUPTIONS if c.name == name)
    stroke = np.zeros((1, 28, 28, 1), np.uint8)
    stroke[:, :, 12:16] = 255
    changed = corruption.corrupt(stroke, step, seed=1)[0, 10, :, 0] / 255
    assert changed.sum() == pytest.approx(4 + sign * corruption.strengths[step], abs=0.01)
    np.testing.assert_array_equal(changed, changed[::-1])


def test_occlusion_blanks_one_square_over_the_ink(few, random) -> None:
    occluded = corruptions.occlude(few.pixels, 8, random)
    for before, after in zip(few.pixels[..., 0], occluded[..., 0], strict=True):
        rows, columns = np.nonzero(before != after)
        assert len(rows)
        assert not after[rows, columns].any()
        assert np.ptp(rows) < 8
        assert np.ptp(columns) < 8
    blank = np.zeros((2, 28, 28, 1), np.uint8)
    np.testing.assert_array_equal(corruptions.occlude(blank, 8, random), blank)


def test_every_reading_is_what_the_engine_answers(published, few) -> None:
    chosen = CORRUPTIONS[:2]
    report = robustness.measure(
        published, few, published, corruptions=chosen, backends=("litert",), keras=False
    )
    assert report, report.failures
    assert len(report.results) == 2
    assert len(report.cross_dataset) == 2
    for result in report.results:
        backend = open_backend(artifact.read(published / result.case.artifact))
        assert result.digest == backend.spec.digest

        def right(pixels, backend=backend) -> int:
            return int((backend.scores(pixels).argmax(axis=1) == few.labels).sum())

        assert result.clean.correct == right(few.pixels)
        for corruption, curve in zip(chosen, result.curves, strict=True):
            expected = [right(corruption.corrupt(few.pixels, s, robustness.SEED)) for s in range(5)]
            assert [reading.correct for reading in curve.readings] == expected
    assert len({other.reading.n for other in report.cross_dataset}) == 1
    assert report.cross_dataset[0].reading.n > 1_700
    lines = robustness_report.targets(report)
    assert len(lines) == 4
    assert all("target" in line for line in lines)


def test_damaged_and_foreign_artifacts_fail_the_run_and_the_others_go_on(published, few) -> None:
    data = (published / "digits.onnx").read_bytes()
    (published / "digits.onnx").write_bytes(data[:-700])
    options = {"backends": ("onnxruntime",), "keras": False}
    foreign = dataclasses.replace(few, class_names=tuple("abcdefghij"))
    report = robustness.measure(published, few, published, corruptions=CORRUPTIONS[:1], **options)
    assert not report
    assert len(report.results) == 1
    assert "digits.onnx" in report.failures[0]
    report = robustness.measure(published, foreign, published, corruptions=(), **options)
    assert not report.results
    assert "the images are a, b" in report.failures[1]


def test_the_command_writes_its_report_and_says_3_when_an_artifact_is_missing(
    published, tmp_path, capsys
) -> None:
    (published / "digits.onnx").unlink()
    arguments = ["--models", str(published), "--data", "embedded", "--quick", "--no-keras"]
    arguments += ["--backend", "onnxruntime"]
    out = tmp_path / "report"
    assert robustness_main([*arguments, "--out", str(out)]) == CHECK_FAILED
    printed = capsys.readouterr().out
    assert "Robustness: FAILED" in printed
    assert "digits.onnx" in printed
    text = (out / robustness_report.MARKDOWN_NAME).read_text("utf-8")
    assert all(f"| {name}" in text for name in MIDDLE_STRENGTHS)
    assert "<svg" in (out / robustness_report.PLOT_NAME).read_text("utf-8")
    record = json.loads((out / robustness_report.JSON_NAME).read_text("utf-8"))
    assert len(record["results"]) == 1
    assert len(record["results"][0]["curves"]) == 12
    assert {row["status"] for row in record["unmeasured"]} == {FAILED}


@pytest.mark.parametrize("earlier", [True, False], ids=["earlier names", "present names"])
def test_what_training_used_is_read_from_the_recipe(earlier: bool) -> None:
    spec = artifact.read(robustness.PUBLISHED / "digits.tflite").spec
    recipe: dict[str, Any] = {
        "distortion": {"rotation_degrees": 12.0, "scale": 0.1},
        "corruption": {"share": 0.3, "noise": 0.0, "stroke_px": 1.4},
        "spoilt": 0.5,
        "corruption_before": {"share": 0.2, "noise": 0.0, "blur_px": 1.0, "stroke_px": 0.0},
    }

    def said(**settings: object) -> dict[str, str]:
        record = recipe | settings
        if not earlier:
            record["corrupted_fraction"] = record.pop("spoilt")
            record["early_corruption"] = record.pop("corruption_before")
        text = json.dumps(record)
        own = dataclasses.replace(spec, provenance=(("recipe", text),))
        return {c.name: robustness.training_of(c, own) for c in CORRUPTIONS}

    before = said()
    assert before["rotation"] == before["smaller"] == before["larger"] == USED
    assert before["thick strokes"] == before["blur"] == USED
    assert before["noise"] == before["occlusion"] == UNUSED
    assert said(spoilt=0)["thick strokes"] == said(spoilt=1)["blur"] == UNUSED
    assert said(spoilt=0)["blur"] == said(spoilt=1)["thick strokes"] == USED
    assert said(corruption=recipe["corruption"] | {"share": 0})["thick strokes"] == UNUSED
    silent = dataclasses.replace(spec, provenance=(("recipe", "by hand"),))
    assert robustness.training_of(CORRUPTIONS[0], silent) == UNKNOWN


def test_the_quick_subset_keeps_the_shares_of_the_classes(few) -> None:
    assert len(few.labels) == 40
    assert set(np.bincount(few.labels)) <= {3, 4, 5}
    assert robustness.quick_subset(few, 40) is few
