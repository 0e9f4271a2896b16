"""The robustness benchmark: its corruptions, its figures and its command."""

import contextlib
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.harness.cases import FAILED
from benchmarks.harness.test_set import TestSet
from benchmarks.robustness import corruptions
from benchmarks.robustness import report as robustness_report
from benchmarks.robustness import run as robustness
from benchmarks.robustness.__main__ import main as robustness_main
from benchmarks.robustness.corruptions import CORRUPTIONS, BenchmarkCorruption
from benchmarks.schema.robustness import MIDDLE, UNKNOWN, UNUSED, USED, RobustnessReport
from runtime.backends import open_backend
from runtime.errors import CHECK_FAILED
from runtime.model import artifact

# The strengths that the published figures refer to, by corruption. A new corruption may be missing.
MIDDLE_STRENGTHS = {
    "shift": "3 px", "rotation": "20°", "smaller": "× 0.75", "larger": "× 1.25", "shear": "0.3",
    "blur": "σ 1.2 px", "noise": "σ 0.2", "contrast": "× 0.3", "brightness": "+ 0.3",
    "thick strokes": "+ 1 px", "thin strokes": "− 1 px", "occlusion": "8 px",
}  # fmt: skip


@pytest.fixture(scope="module")
def few() -> TestSet:
    """Return 40 test images of the embedded digits."""
    from train.data.load import sklearn_digits

    data = sklearn_digits()
    whole = TestSet(data.name, data.sha256, data.labels, data.test.pixels, data.test.labels)
    return robustness.quick_subset(whole, 40)


@pytest.fixture
def published(tmp_path):
    """Return a folder with copies of the published artifacts."""
    folder = tmp_path / "models"
    folder.mkdir()
    for path in robustness.PUBLISHED.glob("digits*.*"):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture
def random():
    return np.random.default_rng(7)


def square(low: int = 10, high: int = 18) -> np.ndarray:
    """Return one image (1, 28, 28, 1) with a square of full ink from `low` to `high`."""
    pixels = np.zeros((1, 28, 28, 1), np.uint8)
    pixels[:, low:high, low:high] = 255
    return pixels


def test_targets_refer_to_the_middle_strengths() -> None:
    strengths = {c.name: c.unit.format(c.strengths[MIDDLE]) for c in CORRUPTIONS}
    assert {name: strengths[name] for name in MIDDLE_STRENGTHS} == MIDDLE_STRENGTHS


def test_every_corruption_has_five_strengths() -> None:
    assert all(len(c.strengths) == 5 for c in CORRUPTIONS)


@pytest.fixture(params=CORRUPTIONS, ids=lambda c: c.name)
def corruption(request) -> BenchmarkCorruption:
    return request.param


@pytest.fixture
def corrupted(corruption, few) -> list[np.ndarray]:
    """Return the images at each strength of a corruption."""
    return [corruption.corrupt(few.pixels, step, seed=1) for step in range(5)]


def test_corrupting_leaves_the_clean_images_unchanged(corruption, few) -> None:
    before = few.pixels.copy()
    for step in range(5):
        corruption.corrupt(few.pixels, step, seed=1)
    np.testing.assert_array_equal(few.pixels, before)


def test_corrupted_images_have_the_shape_and_type_of_clean_ones(corrupted, few) -> None:
    for pixels in corrupted:
        assert pixels.shape == few.pixels.shape
        assert pixels.dtype == np.uint8


def test_same_seed_gives_the_same_corruption(corruption, corrupted, few) -> None:
    np.testing.assert_array_equal(corrupted[2], corruption.corrupt(few.pixels, 2, seed=1))


def test_change_of_pixels_grows_with_the_strength(corrupted, few) -> None:
    change = [np.abs(pixels.astype(int) - few.pixels).mean() for pixels in corrupted]
    assert change[0] > 0
    assert change[0] < change[2] < change[4]


def test_each_strength_gives_other_images(corrupted) -> None:
    assert len({pixels.tobytes() for pixels in corrupted}) == 5


def test_shift_moves_by_whole_pixels_in_all_eight_directions(random) -> None:
    pixels = np.repeat(square(), 400, axis=0)
    shifted = corruptions.shift(pixels, 3, random)
    expected = {
        (x, y): np.roll(square(), (x, y), (1, 2))[0] for x in (-3, 0, 3) for y in (-3, 0, 3)
    }
    del expected[0, 0]
    directions = [
        direction
        for image in shifted
        for direction, moved in expected.items()
        if (moved == image).all()
    ]
    assert len(directions) == 400
    assert set(directions) == set(expected)


def test_shift_does_not_wrap_around(random) -> None:
    assert corruptions.shift(square(0, 28), 3, random).sum() < square(0, 28).sum()


def test_rotation_is_about_the_center_in_both_directions(few, random) -> None:
    rotated = corruptions.rotate(few.pixels, 90, random)
    expected = [np.rot90(few.pixels, turns, axes=(1, 2)) for turns in (1, -1)]
    close = [np.abs(rotated.astype(int) - each).max(axis=(1, 2, 3)) <= 1 for each in expected]
    assert (close[0] | close[1]).all()
    assert close[0].any()
    assert close[1].any()


def test_scaling_by_one_changes_nothing(random) -> None:
    np.testing.assert_array_equal(corruptions.scale(square(), 1.0, random), square())


def test_scaling_is_about_the_center(random) -> None:
    half = corruptions.scale(square(6, 22), 0.5, random)[0, :, :, 0]
    assert (half[10:18, 10:18] == 255).all()
    assert half.sum() == 64 * 255


def test_shear_moves_rows_in_proportion_to_their_distance_from_the_center(random) -> None:
    sheared = corruptions.shear(square(6, 22), 0.5, random)[0, :, :, 0].astype(float)
    centers = sheared[6:22] @ np.arange(28) / sheared[6:22].sum(axis=1)
    np.testing.assert_allclose(np.abs(np.diff(centers)), 0.5, atol=0.03)
    assert abs(centers.mean() - 13.5) < 0.1


def test_blur_equals_scipys_gaussian_filter(few, random) -> None:
    from scipy.ndimage import gaussian_filter

    planes = few.pixels[..., 0].astype(float)
    expected = gaussian_filter(planes, (0, 1.2, 1.2), mode="constant", truncate=5)
    np.testing.assert_allclose(corruptions.blur(few.pixels, 1.2, random)[..., 0], expected, atol=1)


def test_noise_has_the_stated_standard_deviation(random) -> None:
    gray = np.full((20, 28, 28, 1), 128, np.uint8)
    assert abs(corruptions.add_noise(gray, 0.1, random).std() - 0.1 * 255) < 0.5


def test_contrast_scales_the_differences_from_the_mean(random) -> None:
    lowered = corruptions.lower_contrast(square(0, 14), 0.3, random)
    mean = 255 / 4
    assert set(np.unique(lowered)) == {round(0.7 * mean), round(0.7 * mean + 0.3 * 255)}


def test_brightness_adds_a_constant_and_saturates(random) -> None:
    raised = corruptions.raise_brightness(square(), 0.3, random)
    assert set(np.unique(raised)) == {round(0.3 * 255), 255}


@pytest.mark.parametrize(("name", "sign"), [("thick strokes", 1), ("thin strokes", -1)])
@pytest.mark.parametrize("step", range(5))
def test_stroke_width_changes_by_the_strength_in_pixels(name, sign, step) -> None:
    (corruption,) = (c for c in CORRUPTIONS if c.name == name)
    stroke = np.zeros((1, 28, 28, 1), np.uint8)
    stroke[:, :, 12:16] = 255
    changed = corruption.corrupt(stroke, step, seed=1)[0, 10, :, 0] / 255
    assert changed.sum() == pytest.approx(4 + sign * corruption.strengths[step], abs=0.01)
    np.testing.assert_array_equal(changed, changed[::-1])


def test_occlusion_erases_one_square_over_the_ink(few, random) -> None:
    occluded = corruptions.occlude(few.pixels, 8, random)
    for before, after in zip(few.pixels[..., 0], occluded[..., 0], strict=True):
        rows, columns = np.nonzero(before != after)
        assert len(rows)
        assert not after[rows, columns].any()
        assert np.ptp(rows) < 8
        assert np.ptp(columns) < 8


def test_occlusion_leaves_blank_images_unchanged(random) -> None:
    blank = np.zeros((2, 28, 28, 1), np.uint8)
    np.testing.assert_array_equal(corruptions.occlude(blank, 8, random), blank)


MEASURED_CORRUPTIONS = CORRUPTIONS[:2]


@pytest.fixture(scope="module")
def measured(few) -> RobustnessReport:
    """Return the results of the published artifacts in LiteRT with two corruptions."""
    report = robustness.measure(
        robustness.PUBLISHED,
        few,
        corruptions=MEASURED_CORRUPTIONS,
        backends=("litert",),
        keras=False,
    )
    assert report, report.failures
    assert len(report.results) == 2
    return report


def test_accuracy_is_that_of_the_engine(measured, few) -> None:
    for result in measured.results:
        backend = open_backend(artifact.read(robustness.PUBLISHED / result.case.artifact))

        def right(pixels, backend=backend) -> int:
            return int((backend.scores(pixels).argmax(axis=1) == few.labels).sum())

        assert result.clean.correct == right(few.pixels)
        for corruption, curve in zip(MEASURED_CORRUPTIONS, result.curves, strict=True):
            expected = [right(corruption.corrupt(few.pixels, s, robustness.SEED)) for s in range(5)]
            assert [reading.correct for reading in curve.readings] == expected


def test_result_names_the_digest_of_its_artifact(measured) -> None:
    for result in measured.results:
        spec = artifact.read(robustness.PUBLISHED / result.case.artifact).spec
        assert result.digest == spec.digest


def test_each_artifact_is_measured_on_all_digits_of_other_writers(measured) -> None:
    assert len(measured.cross_dataset) == 2
    assert len({other.reading.n for other in measured.cross_dataset}) == 1
    assert measured.cross_dataset[0].reading.n > 1_700


def test_targets_are_reported_for_corruptions_and_other_writers(measured) -> None:
    lines = robustness_report.targets(measured)
    assert len(lines) == 4
    assert all("target" in line for line in lines)


def test_damaged_artifact_fails_the_run_and_the_others_are_measured(published, few) -> None:
    data = (published / "digits.onnx").read_bytes()
    (published / "digits.onnx").write_bytes(data[:-700])
    report = robustness.measure(
        published,
        few,
        published,
        corruptions=CORRUPTIONS[:1],
        backends=("onnxruntime",),
        keras=False,
    )
    assert not report
    assert len(report.results) == 1
    assert "digits.onnx" in report.failures[0]


def test_images_of_other_classes_fail_every_case(published, few) -> None:
    letters = dataclasses.replace(few, class_names=tuple("abcdefghij"))
    report = robustness.measure(
        published, letters, published, corruptions=(), backends=("onnxruntime",), keras=False
    )
    assert not report.results
    assert all("the images have the classes a, b" in failure for failure in report.failures)


@pytest.fixture(scope="module")
def incomplete_run(tmp_path_factory) -> tuple[int, str, Path]:
    """Run the command without digits.onnx; return exit status, output and report folder."""
    models = tmp_path_factory.mktemp("models")
    for path in robustness.PUBLISHED.glob("digits*.*"):
        (models / path.name).write_bytes(path.read_bytes())
    (models / "digits.onnx").unlink()
    out = tmp_path_factory.mktemp("report")
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        status = robustness_main(
            ["--model", str(models), "--data", "embedded", "--quick", "--no-keras",
             "--backend", "onnxruntime", "--out", str(out)]
        )  # fmt: skip
    return status, output.getvalue(), out


def test_command_with_a_missing_artifact_fails_and_names_it(incomplete_run) -> None:
    status, output, _ = incomplete_run
    assert status == CHECK_FAILED
    assert "Robustness: FAILED" in output
    assert "digits.onnx" in output


def test_markdown_has_a_line_per_corruption(incomplete_run) -> None:
    _, _, out = incomplete_run
    text = (out / robustness_report.MARKDOWN_NAME).read_text("utf-8")
    assert all(f"| {name}" in text for name in (c.name for c in CORRUPTIONS))


def test_plot_is_svg(incomplete_run) -> None:
    _, _, out = incomplete_run
    assert "<svg" in (out / robustness_report.PLOT_NAME).read_text("utf-8")


def test_json_has_a_curve_per_corruption_and_the_failed_case(incomplete_run) -> None:
    _, _, out = incomplete_run
    record = json.loads((out / robustness_report.JSON_NAME).read_text("utf-8"))
    assert len(record["results"]) == 1
    assert len(record["results"][0]["curves"]) == len(CORRUPTIONS)
    assert {case["status"] for case in record["unmeasured"]} == {FAILED}


# A recipe with distortions, late corruptions (strokes) and early corruptions (blur), half each.
RECIPE: dict[str, Any] = {
    "distortion": {"rotation_degrees": 12.0, "scale": 0.1},
    "corruption": {"share": 0.3, "noise": 0.0, "stroke_px": 1.4},
    "corrupted_fraction": 0.5,
    "early_corruption": {"share": 0.2, "noise": 0.0, "blur_px": 1.0, "stroke_px": 0.0},
}
# The names of these settings in recipes of earlier versions.
EARLIER_NAMES = {"corrupted_fraction": "spoilt", "early_corruption": "corruption_before"}


def training_by_name(recipe: str) -> dict[str, str]:
    """Return USED, UNUSED or UNKNOWN by corruption, for an artifact with this recipe."""
    spec = artifact.read(robustness.PUBLISHED / "digits.tflite").spec
    spec = dataclasses.replace(spec, provenance=(("recipe", recipe),))
    return {c.name: robustness.training_of(c, spec) for c in CORRUPTIONS}


@pytest.fixture(params=[True, False], ids=["earlier names", "present names"])
def training(request):
    """Return a function that changes settings of RECIPE and returns `training_by_name`."""

    def changed(**settings: object) -> dict[str, str]:
        recipe = RECIPE | settings
        if request.param:
            recipe = {EARLIER_NAMES.get(name, name): value for name, value in recipe.items()}
        return training_by_name(json.dumps(recipe))

    return changed


def test_distortions_of_the_recipe_were_used(training) -> None:
    used = training()
    assert used["rotation"] == used["smaller"] == used["larger"] == USED


def test_late_and_early_corruptions_of_the_recipe_were_used(training) -> None:
    used = training()
    assert used["thick strokes"] == used["blur"] == USED


def test_corruptions_with_amount_zero_or_missing_were_not_used(training) -> None:
    used = training()
    assert used["noise"] == used["occlusion"] == UNUSED


def test_late_corruptions_without_epochs_were_not_used(training) -> None:
    used = training(corrupted_fraction=0)
    assert used["thick strokes"] == UNUSED
    assert used["blur"] == USED


def test_early_corruptions_without_epochs_were_not_used(training) -> None:
    used = training(corrupted_fraction=1)
    assert used["blur"] == UNUSED
    assert used["thick strokes"] == USED


def test_corruptions_without_a_share_of_the_images_were_not_used(training) -> None:
    used = training(corruption=RECIPE["corruption"] | {"share": 0})
    assert used["thick strokes"] == UNUSED


def test_training_is_unknown_without_a_readable_recipe() -> None:
    assert set(training_by_name("by hand").values()) == {UNKNOWN}


def test_quick_subset_is_stratified(few) -> None:
    assert len(few.labels) == 40
    assert set(np.bincount(few.labels)) <= {3, 4, 5}


def test_quick_subset_of_a_small_test_set_is_the_whole_test_set(few) -> None:
    assert robustness.quick_subset(few, 40) is few
