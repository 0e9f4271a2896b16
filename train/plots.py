"""Figures: samples, learning curves, confusions, mistakes, reliability, and photographs."""

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
from train.evaluate import BINS, calibration_bins, calibration_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

# Beyond so many classes the numbers in a confusion matrix cannot be read.
MAX_NUMBERED = 26
MAX_MISTAKES = 60
_COLUMNS = 10


def samples(
    pixels: npt.NDArray[np.number], captions: Sequence[str], margin_px: int = 0
) -> "Figure":
    """Images (N, 28, 28, 1), ten in a row, each under its caption.

    Args:
        pixels: uint8 from 0 to 255, or float from 0 to 1.
        captions: one an image.
        margin_px: of each edge; what lies inside is framed.
    """
    figure, grid = _grid(len(pixels))
    for axes, image, caption in zip(grid, pixels, captions, strict=False):
        _show(axes, image, _plain(caption))
        if margin_px:
            side = image.shape[0] - 2 * margin_px
            corner = (margin_px - 0.5, margin_px - 0.5)
            axes.add_patch(_frame(corner, side, side))
    return figure


def curves(history: Sequence[Epoch]) -> "Figure":
    """Loss and error by epoch, on distorted training images and on validation images."""
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
        axes.plot(epochs, train, marker=".", label="training, distorted")
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
    """How often each class (rows) was read as each (columns); the colors leave the right out."""
    n = len(labels)
    counts = np.zeros((n, n), int)
    np.add.at(counts, (truth, scores.argmax(axis=1)), 1)
    wrong = counts * (1 - np.eye(n, dtype=int))
    numbered = n <= MAX_NUMBERED
    side = 2 + 0.45 * min(n, MAX_NUMBERED)
    figure = _figure(side, side)
    axes = figure.subplots()
    axes.imshow(wrong, cmap="Reds")
    axes.set(xlabel="read as", ylabel="is", title=f"{wrong.sum()} mistakes of {len(truth)}")
    if numbered:
        axes.set_xticks(range(n), [_plain(name) for name in labels], rotation=90 if n > 10 else 0)
        axes.set_yticks(range(n), [_plain(name) for name in labels])
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
    what: str = "mistakes",
) -> "Figure":
    """The images that were misread, the surest first: what it is → what it was read as."""
    read_as = scores.argmax(axis=1)
    wrong = np.flatnonzero(read_as != truth)
    wrong = wrong[np.argsort(-scores.max(axis=1)[wrong], kind="stable")]
    shown = wrong[:MAX_MISTAKES]
    figure, grid = _grid(len(shown), title_inches=0.6)
    for axes, n in zip(grid, shown, strict=False):
        names = f"{_plain(labels[truth[n]])} → {_plain(labels[read_as[n]])}"
        _show(axes, pixels[n], f"{names}\n{100 * scores[n].max():.0f} %")
    more = f", the surest {len(shown)}" if len(shown) < len(wrong) else ""
    figure.suptitle(f"{len(wrong)} {what} of {len(truth)}{more}: what it is → what it was read as")
    return figure


def reliability(scores: npt.NDArray[np.floating], truth: npt.NDArray[np.int64]) -> "Figure":
    """Accuracy by confidence, and how many answers had it."""
    counts, confidences, right = calibration_bins(scores, truth)
    filled = counts > 0
    accuracy, confidence = (sums[filled] / counts[filled] for sums in (right, confidences))
    figure = _figure(5, 6)
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    upper.plot([0, 1], [0, 1], color="gray", linestyle=":", label="as it should be")
    upper.plot(confidence, accuracy, marker="o", label="measured")
    error = calibration_error(scores, truth)
    upper.set(ylabel="accuracy", title=f"expected calibration error {100 * error:.2f} %")
    upper.legend()
    lower.bar((np.arange(BINS) + 0.5) / BINS, counts, width=1 / BINS)
    lower.set(xlabel="confidence", ylabel="answers", yscale="log")
    return figure


def views(paths: Sequence[str | Path], captions: Sequence[str]) -> "Figure":
    """Photographs with the place of the digit, and below each what the network is given.

    Raises:
        ImageError: one of them cannot be read as an image.
    """
    figure = _figure(2.6 * len(paths), 3.8)
    grid = figure.subplots(2, len(paths), squeeze=False, height_ratios=(5, 3))
    for (upper, lower), path, caption in zip(grid.T, paths, captions, strict=True):
        seen = preprocess(path)
        with Image.open(path) as image:
            upper.imshow(ImageOps.exif_transpose(image).convert("RGB"))
        left, top, right, bottom = seen.box
        upper.add_patch(_frame((left - 0.5, top - 0.5), right - left, bottom - top))
        upper.set_title(f"{Path(path).name}: {seen.polarity}", fontsize=9)
        upper.set_axis_off()
        _show(lower, seen.pixels, caption)
        lower.set_axis_off()
    return figure


def save(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG to `path`, whole or not at all.

    Raises:
        EdgeError: the file cannot be written.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    atomic_write.write(path, buffer.getvalue())


def _figure(width: float, height: float) -> "Figure":
    # Without pyplot there is no window system to ask for and no state to leave behind.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _grid(count: int, title_inches: float = 0.0) -> "tuple[Figure, Sequence[Axes]]":
    """Places for `count` images, ten in a row, and the figure that they are in."""
    rows = max(1, -(-count // _COLUMNS))
    figure = _figure(_COLUMNS, 1.35 * rows + title_inches)
    places = figure.subplots(rows, _COLUMNS, squeeze=False).reshape(-1)
    for axes in places:
        axes.set_axis_off()
    return figure, places


def _show(axes: "Axes", image: npt.NDArray[np.number], caption: str) -> None:
    white = 255 if image.dtype == np.uint8 else 1
    axes.imshow(image[:, :, 0], cmap="gray_r", vmin=0, vmax=white)
    axes.set_title(caption, fontsize=8)


def _frame(corner: tuple[float, float], width: float, height: float) -> "Rectangle":
    from matplotlib.patches import Rectangle

    return Rectangle(corner, width, height, fill=False, edgecolor="tab:red")


def _plain(label: str) -> str:
    """A label as matplotlib is to show it: not as mathematics, and not across the page."""
    short = label if len(label) <= 12 else f"{label[:11]}…"
    return short.replace("$", r"\$")
