"""Draws figures with matplotlib, and saves them as PNG.

The figures are samples, a convolution and feature maps, learning curves, a confusion matrix,
misclassified images, a reliability diagram, and photographs with their preprocessed pixels.
`train.run` saves figures beside the model; the notebooks show further figures.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from runtime.preprocess.pipeline import preprocess
from runtime.system import atomic_write
from train.checkpoint import Epoch
from train.evaluation.evaluate import BINS, calibration_bins, calibration_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

# Classes of a confusion matrix. Beyond it, the matrix has no labels and no numbers, because these
# would be illegible. The figure also grows no further.
MAX_NUMBERED_CLASSES = 26
MAX_MISTAKES = 60  # misclassified images in one figure; beyond it, the least confident are left out
MAX_SHEET_CLASSES = 100  # rows of a contact sheet
_SHEET_GAP_PX = 2  # between the images of a contact sheet
_SHEET_GRAY = 96  # level of the gap, which differs from dark and from light backgrounds
_COLUMNS = 10  # images per row
_MAX_LABEL_CHARS = 12  # a longer label is cut to 11 characters and "…"
# With more classes, the column labels of a confusion matrix are vertical; the row labels stay
# horizontal.
_MAX_HORIZONTAL_LABELS = 10
_DOTS_PER_INCH = 100  # resolution of the PNG files; figures are measured in inches


def samples(
    pixels: npt.NDArray[np.number], captions: Sequence[str], margin_px: int = 0
) -> "Figure":
    """Draw images in rows of ten, each below its caption.

    Args:
        pixels: (N, 28, 28, 1), uint8 from 0 to 255 or float from 0 to 1.
        captions: one per image; images without a caption are not drawn.
        margin_px: distance of a frame from the image's edges, in pixels; 0 draws no frame.
    """
    figure, grid = _grid(len(pixels))
    for axes, image, caption in zip(grid, pixels, captions, strict=False):
        _show(axes, image, _plot_label(caption))
        if margin_px:
            side = image.shape[0] - 2 * margin_px
            corner = (margin_px - 0.5, margin_px - 0.5)
            axes.add_patch(_frame(corner, side, side))
    return figure


def convolution(
    image: npt.NDArray[np.floating], kernel: npt.NDArray[np.number], row: int, column: int
) -> "Figure":
    """Draw one step of a convolution: the image, the patch under the filter, the result.

    The patch shows in each cell "ink × weight". The result is drawn up to this step, in the order
    of reading.

    Args:
        image: ink from 0 to 1, (height, width).
        kernel: weights of a filter, (3, 3).
        row: row of the result that is being computed.
        column: column of it.
    """
    side = len(kernel)
    windows = np.lib.stride_tricks.sliding_window_view(image, kernel.shape)
    result = (windows * kernel).sum(axis=(2, 3))
    limit = np.abs(result).max()
    done = result.copy()
    done[row, column + 1 :] = 0
    done[row + 1 :] = 0
    figure = _figure(10, 3.4)
    left, middle, right = figure.subplots(1, 3)
    left.imshow(image, cmap="gray_r", vmin=0, vmax=1)
    left.add_patch(_frame((column - 0.5, row - 0.5), side, side))
    left.set_title("the image and the filter's place")
    patch = image[row : row + side, column : column + side]
    middle.imshow(patch, cmap="gray_r", vmin=0, vmax=2)
    for (y, x), weight in np.ndenumerate(kernel):
        middle.text(x, y, f"{patch[y, x]:.1f} × {weight}", ha="center", va="center", fontsize=9)
    middle.set_title(f"ink × weight, sum {result[row, column]:.1f}")
    right.imshow(done, cmap="RdBu_r", vmin=-limit, vmax=limit)
    right.add_patch(_frame((column - 0.5, row - 0.5), 1, 1))
    right.set_title("the result so far")
    for axes in (left, middle, right):
        axes.set_axis_off()
    return figure


def feature_maps(
    image: npt.NDArray[np.uint8], blocks: Sequence[npt.NDArray[np.floating]]
) -> "Figure":
    """Draw an image, and for each block of a network the feature maps of its most active filters.

    Args:
        image: uint8 (28, 28, 1).
        blocks: for each block, (height, width, channels).
    """
    figure = _figure(_COLUMNS, 1.3 * len(blocks))
    grid = figure.subplots(len(blocks), _COLUMNS, squeeze=False)
    for number, (row, maps) in enumerate(zip(grid, blocks, strict=True), 1):
        row[0].imshow(image[:, :, 0], cmap="gray_r", vmin=0, vmax=255)
        row[0].set_title(f"block {number}", fontsize=8)
        active = np.argsort(-maps.max(axis=(0, 1)), kind="stable")
        for axes, channel in zip(row[1:], active, strict=False):
            axes.imshow(maps[:, :, channel], cmap="magma", vmin=0, vmax=maps.max() or 1)
            axes.set_title(f"filter {channel}", fontsize=8)
        for axes in row:
            axes.set_axis_off()
    return figure


def framed(
    pixels: npt.NDArray[np.uint8], boxes: Sequence[tuple[int, int, int, int]], caption: str
) -> "Figure":
    """Draw images in rows of ten, each with a frame.

    Args:
        pixels: uint8 (N, 28, 28, 1).
        boxes: left, top, right, bottom of each frame, in pixels.
        caption: the title of the figure.
    """
    figure, grid = _grid(len(pixels), title_in=0.4)
    for axes, image, (left, top, right, bottom) in zip(grid, pixels, boxes, strict=False):
        _show(axes, image, "")
        axes.add_patch(_frame((left - 0.5, top - 0.5), right - left, bottom - top))
    figure.suptitle(caption)
    return figure


def curves(history: Sequence[Epoch]) -> "Figure":
    """Draw the loss and the error rate by epoch.

    Each diagram has a curve for the augmented training images and one for the validation images.
    The vertical axis is logarithmic if all values are above 0.

    Args:
        history: the results of at least one epoch.
    """
    figure = _figure(10, 4)
    loss, error = figure.subplots(1, 2)
    epochs = [e.epoch for e in history]
    for axes, title, train, val in (
        (loss, "loss [nats]", [e.train_loss for e in history], [e.val_loss for e in history]),
        (
            error,
            "errors [%]",
            [100 - 100 * e.train_accuracy for e in history],
            [100 - 100 * e.val_accuracy for e in history],
        ),
    ):
        axes.plot(epochs, train, marker=".", label="training, augmented")
        axes.plot(epochs, val, marker=".", label="validation")
        axes.set(xlabel="epoch", title=title)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if min(train + val) > 0:
            axes.set_yscale("log")
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def confusion(
    scores: npt.NDArray[np.floating],
    truth: npt.NDArray[np.int64],
    labels: tuple[str, ...],
) -> "Figure":
    """Draw the confusion matrix: true classes in rows, predicted classes in columns.

    Only mistakes are colored; correct predictions, on the diagonal, stay white.

    Args:
        scores: class probabilities of the images, (N, classes).
        truth: indices of the true classes, int64 (N,).
        labels: names of the classes.
    """
    n = len(labels)
    counts = np.zeros((n, n), int)
    np.add.at(counts, (truth, scores.argmax(axis=1)), 1)
    wrong = counts * (1 - np.eye(n, dtype=int))
    numbered = n <= MAX_NUMBERED_CLASSES
    side_in = 2 + 0.45 * min(n, MAX_NUMBERED_CLASSES)  # 2 inches for the axes' texts
    figure = _figure(side_in, side_in)
    axes = figure.subplots()
    axes.imshow(wrong, cmap="Reds")
    title = f"{wrong.sum()} mistakes in {len(truth)} images"
    axes.set(xlabel="predicted class", ylabel="true class", title=title)
    if numbered:
        names = [_plot_label(name) for name in labels]
        axes.set_xticks(range(n), names, rotation=90 if n > _MAX_HORIZONTAL_LABELS else 0)
        axes.set_yticks(range(n), names)
        half = wrong.max() / 2
        for row, column in zip(*np.nonzero(counts), strict=True):
            dark = wrong[row, column] > half
            axes.text(
                column, row, counts[row, column], ha="center", va="center",
                fontsize=8, color="white" if dark else "black",
            )  # fmt: skip
    return figure


def mistakes(
    pixels: npt.NDArray[np.uint8],
    scores: npt.NDArray[np.floating],
    truth: npt.NDArray[np.int64],
    labels: tuple[str, ...],
    title: str = "mistakes",
    is_photo: bool = False,
) -> "Figure":
    """Draw the misclassified images, the most confident first.

    The caption of an image is "true class → predicted class" and the confidence. At most
    MAX_MISTAKES (60) images are drawn; the title states the number of all mistakes.

    Args:
        pixels: uint8 (N, height, width, channels).
        scores: class probabilities of the images, (N, classes).
        truth: indices of the true classes, int64 (N,).
        labels: names of the classes.
        title: a plural noun for the misclassified images, such as "mistakes".
        is_photo: whether the images are photographs, not ink, which is drawn dark on white.
    """
    predicted = scores.argmax(axis=1)
    wrong = np.flatnonzero(predicted != truth)
    wrong = wrong[np.argsort(-scores.max(axis=1)[wrong], kind="stable")]
    shown = wrong[:MAX_MISTAKES]
    figure, grid = _grid(len(shown), title_in=0.6)
    for axes, n in zip(grid, shown, strict=False):
        names = f"{_plot_label(labels[truth[n]])} → {_plot_label(labels[predicted[n]])}"
        _show(axes, pixels[n], f"{names}\n{100 * scores[n].max():.0f} %", is_photo)
    part = f", the {len(shown)} most confident" if len(shown) < len(wrong) else ""
    figure.suptitle(f"{len(wrong)} {title} in {len(truth)} images{part}: true → predicted class")
    return figure


def contact_sheet(
    pixels: npt.NDArray[np.uint8], truth: npt.NDArray[np.int64], labels: tuple[str, ...]
) -> "Figure":
    """Draw some images of each class in a row, light and dark as the network takes them.

    At most MAX_SHEET_CLASSES (100) classes are drawn; the title states the number of all.

    Args:
        pixels: uint8 (N, height, width, channels).
        truth: indices of the classes, int64 (N,).
        labels: names of the classes.
    """
    height, width, channels = pixels.shape[1:]
    shown = labels[:MAX_SHEET_CLASSES]
    step_y, step_x = height + _SHEET_GAP_PX, width + _SHEET_GAP_PX
    sheet = np.full((len(shown) * step_y, _COLUMNS * step_x, channels), _SHEET_GRAY, np.uint8)
    for row in range(len(shown)):
        indices = np.flatnonzero(truth == row)
        chosen = indices[np.unique(np.linspace(0, len(indices) - 1, _COLUMNS).astype(int))]
        for column, image in enumerate(pixels[chosen]):
            top, left = row * step_y, column * step_x
            sheet[top : top + height, left : left + width] = image
    figure = _figure(_COLUMNS * 0.6 + 1.4, len(shown) * 0.6 * height / width + 0.5)
    axes = figure.subplots()
    axes.imshow(sheet if channels == 3 else sheet[..., 0], cmap="gray", vmin=0, vmax=255)
    axes.set_xticks([])
    axes.set_yticks(
        np.arange(len(shown)) * step_y + (height - 1) / 2, [_plot_label(label) for label in shown]
    )
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    part = f", the first {len(shown)}" if len(shown) < len(labels) else ""
    axes.set_title(f"training images of {len(labels)} classes{part}", fontsize=9)
    return figure


def reliability(scores: npt.NDArray[np.floating], truth: npt.NDArray[np.int64]) -> "Figure":
    """Draw the reliability diagram, accuracy by confidence, above a histogram of the confidence.

    Args:
        scores: class probabilities of the images, (N, classes), with N at least 1.
        truth: indices of the true classes, int64 (N,).
    """
    counts, confidences, correct = calibration_bins(scores, truth)
    filled = counts > 0
    accuracy, confidence = (sums[filled] / counts[filled] for sums in (correct, confidences))
    figure = _figure(5, 6)
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    upper.plot([0, 1], [0, 1], color="gray", linestyle=":", label="perfect calibration")
    upper.plot(confidence, accuracy, marker="o", label="measured")
    error = calibration_error(scores, truth)
    upper.set(ylabel="accuracy", title=f"expected calibration error {100 * error:.2f} %")
    upper.legend()
    lower.bar((np.arange(BINS) + 0.5) / BINS, counts, width=1 / BINS)
    lower.set(xlabel="confidence", ylabel="predictions", yscale="log")
    return figure


def views(paths: Sequence[str | Path], captions: Sequence[str]) -> "Figure":
    """Draw photographs with a frame around the digit, each above its preprocessed pixels.

    Args:
        paths: image files, at least one.
        captions: one per image, shown above the pixels.

    Raises:
        ImageError: a file cannot be read as an image.
    """
    figure = _figure(2.6 * len(paths), 3.8)
    grid = figure.subplots(2, len(paths), squeeze=False, height_ratios=(5, 3))
    for (upper, lower), path, caption in zip(grid.T, paths, captions, strict=True):
        preprocessed = preprocess(path)
        with Image.open(path) as image:
            upper.imshow(ImageOps.exif_transpose(image).convert("RGB"))
        left, top, right, bottom = preprocessed.box
        upper.add_patch(_frame((left - 0.5, top - 0.5), right - left, bottom - top))
        upper.set_title(f"{Path(path).name}: {preprocessed.polarity}", fontsize=9)
        upper.set_axis_off()
        _show(lower, preprocessed.pixels, caption)
        lower.set_axis_off()
    return figure


def page(path: Path, boxes: Sequence[tuple[int, int, int, int]]) -> "Figure":
    """Draw a photograph with a numbered frame around each digit.

    Args:
        path: the image file.
        boxes: left, top, right, bottom of each digit, in pixels of the upright photograph.
    """
    figure = _figure(5, 6)
    axes = figure.subplots()
    with Image.open(path) as image:
        axes.imshow(ImageOps.exif_transpose(image).convert("RGB"))
    for number, (left, top, right, bottom) in enumerate(boxes):
        axes.add_patch(_frame((left - 0.5, top - 0.5), right - left, bottom - top))
        axes.text(left, top, f"{number} ", color="tab:red", ha="right", va="top")
    axes.set_title(path.name, fontsize=9)
    axes.set_axis_off()
    return figure


def save(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG to `path` atomically.

    Raises:
        EdgeError: the file cannot be written.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH)
    atomic_write.write(path, buffer.getvalue())


def _figure(width_in: float, height_in: float) -> "Figure":
    """Create a figure without pyplot, which would need a display and keep global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _grid(count: int, title_in: float = 0.0) -> "tuple[Figure, Sequence[Axes]]":
    """Create a figure with hidden axes for `count` images in rows of ten."""
    rows = max(1, -(-count // _COLUMNS))
    figure = _figure(_COLUMNS, 1.35 * rows + title_in)
    grid: list[Axes] = list(figure.subplots(rows, _COLUMNS, squeeze=False).reshape(-1))
    for axes in grid:
        axes.set_axis_off()
    return figure, grid


def _show(
    axes: "Axes", image: npt.NDArray[np.number], caption: str, is_photo: bool = False
) -> None:
    full_scale = 255 if image.dtype == np.uint8 else 1
    shown = image if image.shape[2] == 3 else image[:, :, 0]
    axes.imshow(shown, cmap="gray" if is_photo else "gray_r", vmin=0, vmax=full_scale)
    axes.set_title(caption, fontsize=8)


def _frame(corner: tuple[float, float], width: float, height: float) -> "Rectangle":
    from matplotlib.patches import Rectangle

    return Rectangle(corner, width, height, fill=False, edgecolor="tab:red")


def _plot_label(label: str) -> str:
    """Shorten a label, and escape dollar signs, which matplotlib takes for mathematics."""
    short = label if len(label) <= _MAX_LABEL_CHARS else f"{label[: _MAX_LABEL_CHARS - 1]}…"
    return short.replace("$", r"\$")
