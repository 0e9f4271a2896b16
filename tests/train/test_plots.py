"""The figures contain the given images, captions, counts and curves."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.errors import ImageError
from train.checkpoint import Epoch

pytest.importorskip("matplotlib")

from train import plots

EXAMPLES = Path(__file__).parents[2] / "examples"
LABELS = ("0", "1", "cost in $ of a very long name")
TRUTH = np.array([0, 0, 1, 1, 2, 2])
SCORES = np.array(
    [[0.9, 0.1, 0], [0.2, 0.8, 0], [0.1, 0.9, 0], [0, 1, 0], [0.4, 0, 0.6], [0.7, 0, 0.3]]
)
PIXELS = np.arange(6 * 784, dtype=np.uint8).reshape(6, 28, 28, 1)


def _images(figure):
    """Return the axes and the values of each image in a figure."""
    return [(axes, axes.images[0].get_array()) for axes in figure.axes if axes.images]


@pytest.mark.parametrize(("pixels", "full_scale"), [(PIXELS, 255), (PIXELS / np.float32(255), 1)])
def test_samples_are_in_order_and_have_captions(pixels, full_scale):
    images = _images(plots.samples(pixels, LABELS * 2))
    assert [axes.get_title() for axes, _ in images[:2]] == ["0", "1"]
    assert len(images) == 6
    for (axes, drawn), image in zip(images, pixels, strict=True):
        np.testing.assert_array_equal(drawn, image[:, :, 0])
        assert axes.images[0].get_clim() == (0, full_scale)


def test_samples_with_a_margin_are_framed():
    images = _images(plots.samples(PIXELS, LABELS * 2, margin_px=3))
    assert len(images) == 6
    for axes, _ in images:
        (frame,) = axes.patches
        # Pixel n is drawn from n - 0.5 to n + 0.5; pixels 3 to 24 are inside.
        assert frame.get_xy() == (2.5, 2.5)
        assert frame.get_width() == frame.get_height() == 22


def test_samples_without_a_margin_have_no_frame():
    assert not any(axes.patches for axes, _ in _images(plots.samples(PIXELS, LABELS * 2)))


HISTORY = (Epoch(1, 0.5, 0.8, 0.4, 0.9, 1e-3, 2.0), Epoch(2, 0.3, 0.85, 0.2, 1.0, 0.0, 2.0))


def test_curves_show_the_loss_and_error_of_each_epoch():
    loss, error = plots.curves(HISTORY).axes
    assert [list(line.get_ydata()) for line in loss.lines] == [[0.5, 0.3], [0.4, 0.2]]
    assert [list(line.get_xdata()) for line in loss.lines] == [[1, 2]] * 2
    train, validation = error.lines
    assert list(train.get_ydata()) == pytest.approx([20, 15])
    assert list(validation.get_ydata()) == pytest.approx([10, 0])


def test_curves_are_logarithmic_unless_a_value_is_0():
    loss, error = plots.curves(HISTORY).axes
    assert loss.get_yscale() == "log"
    assert error.get_yscale() == "linear"


def test_confusion_counts_true_and_predicted_classes():
    (axes,) = plots.confusion(SCORES, TRUTH, LABELS).axes
    assert axes.get_title() == "2 mistakes in 6 images"
    # The position of a text is (column, row): (predicted, true).
    counts = {text.get_position()[::-1]: text.get_text() for text in axes.texts}
    assert counts == {(0, 0): "1", (0, 1): "1", (1, 1): "2", (2, 0): "1", (2, 2): "1"}
    assert axes.get_xlabel() == "predicted class"
    assert axes.get_ylabel() == "true class"


def test_mistakes_are_sorted_by_confidence():
    figure = plots.mistakes(PIXELS, SCORES, TRUTH, LABELS)
    first, second = _images(figure)
    assert first[0].get_title() == "0 → 1\n80 %"
    assert second[0].get_title() == "cost in \\$ o… → 0\n70 %"
    np.testing.assert_array_equal(first[1], PIXELS[1, :, :, 0])


def test_mistakes_have_a_title_with_their_number():
    figure = plots.mistakes(PIXELS, SCORES, TRUTH, LABELS)
    assert figure.get_suptitle().startswith("2 mistakes in 6 images:")
    figure = plots.mistakes(PIXELS, SCORES, TRUTH, LABELS, "suspect labels")
    assert figure.get_suptitle().startswith("2 suspect labels in 6 images:")


def test_reliability_is_accuracy_by_confidence():
    upper, lower = plots.reliability(
        np.repeat(SCORES[1:2], 10, 0), np.array([1] * 6 + [0] * 4)
    ).axes
    _, measured = upper.lines
    assert measured.get_xydata() == pytest.approx(np.array([[0.8, 0.6]]))
    assert "20.00 %" in upper.get_title()
    assert sum(bar.get_height() for bar in lower.patches) == 10


def test_views_show_photographs_upright_with_the_digit_framed(tmp_path):
    turned = tmp_path / "turned.jpg"
    with Image.open(EXAMPLES / "photo.jpg") as image:
        exif = Image.Exif()
        exif[0x0112] = 6  # orientation: rotate by 90 degrees to display
        image.rotate(90, expand=True).save(turned, exif=exif)
    figure = plots.views([EXAMPLES / "photo.jpg", turned], ["7", "7 too"])
    upper, upper_turned, lower, lower_turned = figure.axes
    assert lower.get_title() == "7"
    assert upper.get_title() == "photo.jpg: dark on light"
    assert upper.images[0].get_array().shape == upper_turned.images[0].get_array().shape
    (box,), (turned_box,) = upper.patches, upper_turned.patches
    assert box.get_bbox().bounds == pytest.approx(turned_box.get_bbox().bounds, abs=8)
    assert (
        np.abs(lower.images[0].get_array() - lower_turned.images[0].get_array().astype(int)).mean()
        < 5
    )


def test_views_reject_a_file_that_is_not_an_image():
    with pytest.raises(ImageError):
        plots.views([Path(__file__)], ["none"])


def test_figure_is_saved_as_png(tmp_path):
    plots.save(plots.samples(PIXELS, LABELS * 2), tmp_path / "new" / "samples.png")
    with Image.open(io.BytesIO((tmp_path / "new" / "samples.png").read_bytes())) as image:
        assert image.format == "PNG"
        assert image.size == (1000, 135)


def test_convolution_shows_the_step_and_the_result_so_far():
    image = np.zeros((6, 6))
    image[3:] = 1
    kernel = np.array([[-1, -1, -1], [0, 0, 0], [1, 1, 1]])
    figure = plots.convolution(image, kernel, row=1, column=2)
    (_, whole), (axes, patch), (_, result) = _images(figure)
    np.testing.assert_array_equal(whole, image)
    np.testing.assert_array_equal(patch, image[1:4, 2:5])
    assert axes.get_title() == "ink × weight, sum 3.0"
    assert result[1].tolist() == [3, 3, 3, 0]
    assert not result[2:].any()


def test_feature_maps_show_the_most_active_filters_first():
    maps = np.zeros((4, 4, 20))
    maps[1, 1, 7] = 5
    maps[2, 2, 3] = 2
    figure = plots.feature_maps(PIXELS[0], [maps])
    titles = [axes.get_title() for axes, _ in _images(figure)]
    assert titles[:3] == ["block 1", "filter 7", "filter 3"]
    assert len(titles) == 10


def test_frames_are_drawn_around_their_part_of_each_image():
    figure = plots.framed(PIXELS[:2], [(3, 4, 11, 12), (0, 0, 5, 5)], "two")
    frames = [axes.patches[0].get_bbox().bounds for axes, _ in _images(figure)]
    assert frames == [(2.5, 3.5, 8, 8), (-0.5, -0.5, 5, 5)]


def test_page_numbers_its_frames():
    figure = plots.page(EXAMPLES / "photo.jpg", [(0, 0, 9, 9), (5, 5, 9, 9)])
    assert [text.get_text().strip() for text in figure.axes[0].texts] == ["0", "1"]
    assert len(figure.axes[0].patches) == 2
