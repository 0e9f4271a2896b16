"""Plots of a training run, as PNG: learning curves, confusions, mistakes, reliability."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from runtime import files
from train.checkpoint import Epoch
from train.evaluate import calibration_error

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Beyond so many classes the numbers in a confusion matrix cannot be read.
MOST_NUMBERED = 26
MOST_MISTAKES = 60
_COLUMNS = 10
_BINS = 15


def draw_curves(path: Path, history: tuple[Epoch, ...]) -> None:
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
        axes.plot(epochs, train, label="training, distorted")
        axes.plot(epochs, val, label="validation")
        axes.set(xlabel="epoch", title=title)
        if min(train + val) > 0:
            axes.set_yscale("log")
        axes.grid(alpha=0.3)
        axes.legend()
    _save(figure, path)


def draw_confusion(
    path: Path,
    scores: npt.NDArray[np.floating],
    truth: npt.NDArray[np.int64],
    labels: tuple[str, ...],
) -> None:
    """How often each class (rows) was read as each (columns); the colours leave the right out."""
    n = len(labels)
    counts = np.zeros((n, n), int)
    np.add.at(counts, (truth, scores.argmax(axis=1)), 1)
    mistakes = counts * (1 - np.eye(n, dtype=int))
    numbered = n <= MOST_NUMBERED
    side = 2 + 0.45 * min(n, MOST_NUMBERED)
    figure = _figure(side, side)
    axes = figure.subplots()
    axes.imshow(mistakes, cmap="Reds")
    axes.set(xlabel="read as", ylabel="is", title=f"{mistakes.sum()} mistakes of {len(truth)}")
    if numbered:
        axes.set_xticks(range(n), [_plain(name) for name in labels], rotation=90 if n > 10 else 0)
        axes.set_yticks(range(n), [_plain(name) for name in labels])
        half = mistakes.max() / 2
        for row, column in zip(*np.nonzero(counts), strict=True):
            dark = mistakes[row, column] > half
            axes.text(
                column, row, counts[row, column], ha="center", va="center",
                fontsize=8, color="white" if dark else "black",
            )  # fmt: skip
    _save(figure, path)


def draw_mistakes(
    path: Path,
    pixels: npt.NDArray[np.uint8],
    scores: npt.NDArray[np.floating],
    truth: npt.NDArray[np.int64],
    labels: tuple[str, ...],
) -> None:
    """The images that were misread, the surest first: what it is → what it was read as."""
    read_as = scores.argmax(axis=1)
    wrong = np.flatnonzero(read_as != truth)
    wrong = wrong[np.argsort(-scores.max(axis=1)[wrong], kind="stable")]
    shown = wrong[:MOST_MISTAKES]
    rows = max(1, -(-len(shown) // _COLUMNS))
    figure = _figure(_COLUMNS, 1.35 * rows + 0.6)
    grid = figure.subplots(rows, _COLUMNS, squeeze=False).reshape(-1)
    for axes in grid:
        axes.set_axis_off()
    for axes, n in zip(grid, shown, strict=False):
        axes.imshow(pixels[n, :, :, 0], cmap="gray_r", vmin=0, vmax=255)
        names = f"{_plain(labels[truth[n]])} → {_plain(labels[read_as[n]])}"
        axes.set_title(f"{names}\n{100 * scores[n].max():.0f} %", fontsize=8)
    more = f", the surest {len(shown)}" if len(shown) < len(wrong) else ""
    figure.suptitle(
        f"{len(wrong)} mistakes of {len(truth)}{more}: what it is → what it was read as"
    )
    _save(figure, path)


def draw_reliability(
    path: Path, scores: npt.NDArray[np.floating], truth: npt.NDArray[np.int64]
) -> None:
    """Accuracy by confidence, and how many answers had it."""
    confidences, right = scores.max(axis=1), scores.argmax(axis=1) == truth
    at = np.minimum((confidences * _BINS).astype(int), _BINS - 1)
    counts = np.bincount(at, minlength=_BINS)
    filled = counts > 0
    accuracy = np.bincount(at, right, minlength=_BINS)[filled] / counts[filled]
    confidence = np.bincount(at, confidences, minlength=_BINS)[filled] / counts[filled]
    figure = _figure(5, 6)
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    upper.plot([0, 1], [0, 1], color="grey", linestyle=":", label="as it should be")
    upper.plot(confidence, accuracy, marker="o", label="measured")
    error = calibration_error(scores.astype(np.float64), truth)
    upper.set(ylabel="accuracy", title=f"expected calibration error {100 * error:.2f} %")
    upper.legend()
    lower.bar((np.arange(_BINS) + 0.5) / _BINS, counts, width=1 / _BINS)
    lower.set(xlabel="confidence", ylabel="answers", yscale="log")
    _save(figure, path)


def _figure(width: float, height: float) -> "Figure":
    # Without pyplot there is no window system to ask for and no state to leave behind.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: "Figure", path: Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    files.write(path, buffer.getvalue())


def _plain(label: str) -> str:
    """A label as matplotlib is to show it: not as mathematics, and not across the page."""
    short = label if len(label) <= 12 else f"{label[:11]}…"
    return short.replace("$", r"\$")
