"""Computes the charts of the HTML report; `templates/charts.html` draws them as SVG.

There are four charts: latency histograms, scatter plots, reliability diagrams, and accuracy over
the strength of a corruption. All coordinates are pixels from the top left corner of the drawing.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.report.formats import counted, duration, percent
from benchmarks.schema.parity import CalibrationBin

_LANE_HEIGHT_PX = 34  # height of one latency histogram, with the gap above it
_LANE_GAP_PX = 8  # empty space above the highest bar of a histogram
_MEDIAN_MARK_HEIGHT_PX = 30  # mark of the 50th percentile in a histogram
_P99_MARK_HEIGHT_PX = 18  # mark of the 99th percentile; lower than that of the median
_LABEL_WIDTH_PX = 14  # labels of points that are closer than this are stacked
_LABEL_HEIGHT_PX = 12  # vertical distance of two stacked labels
_LATENCY_BINS = 160  # bins of a latency histogram
_LINE_STYLES = 6  # classes style0 … style5 of style.css; a seventh line repeats style0


@dataclass(frozen=True)
class Point:
    """One point of a scatter chart: x is positive, y a share, `low` … `high` its interval."""

    name: str
    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True)
class Axis:
    """A linear map from the values `low` … `high` to the pixels `start` … `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the pixel of a value, rounded to one decimal."""
        share = (value - self.low) / (self.high - self.low)
        return round(float(self.start + share * (self.end - self.start)), 1)


@dataclass(frozen=True)
class Mark:
    """An SVG path, its class in the style sheet, and its tooltip.

    `diameter` is the stroke width in pixels; with the path "M x y h0" it draws a dot.
    """

    style: str
    path: str
    tooltip: str = ""
    diameter: float | None = None


@dataclass(frozen=True)
class Chart:
    """One chart.

    Attributes:
        title: the text for screen readers.
        x: the horizontal axis; it maps to the left and right edge of the plot area.
        y: the vertical axis.
        x_ticks: (pixel, text) pairs.
        y_ticks: (pixel, text) pairs.
        marks: the paths drawn in the plot area.
        labels: (x, y, text) in pixels; each text is centered at x.
        x_title: the text below the ticks of the horizontal axis.
        caption: the lines below the chart.
    """

    title: str
    x: Axis
    y: Axis
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    marks: Sequence[Mark]
    labels: Sequence[tuple[float, float, str]] = ()
    x_title: str = ""
    caption: tuple[str, ...] = ()


@dataclass(frozen=True)
class Charts:
    """Charts side by side, and the legend of their lines as (class, name)."""

    charts: tuple[Chart, ...]
    legend: tuple[tuple[str, str], ...] = ()


def latencies(samples_ns: Sequence[tuple[str, Sequence[int]]]) -> Chart:
    """Return one histogram per name over a shared logarithmic axis, with marks at p50 and p99.

    Args:
        samples_ns: pairs of a name and the nanoseconds of its calls.
    """
    logs = [np.log10(samples) for _, samples in samples_ns]
    low, high = min(map(np.min, logs)) - 0.05, max(map(np.max, logs)) + 0.05
    x = Axis(low, high, 250, 840)  # the names of the histograms are left of it
    y = Axis(0, len(logs), 0, _LANE_HEIGHT_PX * len(logs))
    edges = np.linspace(low, high, _LATENCY_BINS + 1)
    width = f"{(x.end - x.start) / _LATENCY_BINS:.1f}"
    marks = []
    for number, (name, samples) in enumerate(samples_ns, 1):
        base, counts = y(number), np.histogram(logs[number - 1], edges)[0]
        # The square root keeps the tail visible beside the peak.
        heights = (_LANE_HEIGHT_PX - _LANE_GAP_PX) * np.sqrt(counts / counts.max())
        bars = "".join(
            f"M{x(edge)} {base}v{-height:.1f}h{width}V{base}z"
            for edge, height in zip(edges[:-1], heights, strict=True)
            if height
        )
        p50, p99 = (float(np.percentile(samples, q)) for q in (50, 99))
        tooltip = f"{name}: p50 {duration(p50)}, p99 {duration(p99)}"
        marks += [
            Mark("bars", bars, tooltip),
            Mark("mark", f"M{x(math.log10(p50))} {base}v-{_MEDIAN_MARK_HEIGHT_PX}"),
            Mark("mark far", f"M{x(math.log10(p99))} {base}v-{_P99_MARK_HEIGHT_PX}"),
        ]
    return Chart(
        "Latency of one image: histogram per artifact and engine",
        x,
        y,
        _decades(x, lambda ns: duration(ns).replace(".0 ", " ").replace(".00 ", " ")),
        [(y(number), name) for number, (name, _) in enumerate(samples_ns, 1)],
        marks,
    )


def scatter(points: Sequence[Point], title: str, unit: str) -> Chart:
    """Return numbered points with their intervals over a logarithmic axis.

    Args:
        points: the points; the caption names each beside its number.
        title: the text for screen readers.
        unit: the name and unit of x, for the title of the axis.
    """
    logs = [math.log10(point.x) for point in points]
    low, high = min(p.low for p in points), max(p.high for p in points)
    margin = 0.08 * max(high - low, 1e-4)
    x = Axis(min(logs) - 0.15, max(logs) + 0.15, 56, 404)
    y = Axis(low - margin, high + margin, 262, 70)
    marks: list[Mark] = []
    labels: list[tuple[float, float, str]] = []
    for number, (point, log) in enumerate(zip(points, logs, strict=True), 1):
        x_px = x(log)
        tooltip = f"{number}: {point.name}, {percent(point.y)}"
        marks += [
            Mark("whisker", f"M{x_px} {y(point.low)}V{y(point.high)}"),
            Mark("dot", f"M{x_px} {y(point.y)}h0", tooltip, 9),
        ]
        stacked = sum(abs(x_px - other_px) < _LABEL_WIDTH_PX for other_px, _, _ in labels)
        labels.append((x_px, y.end - 8 - _LABEL_HEIGHT_PX * stacked, str(number)))
    return Chart(
        title,
        x,
        y,
        _decades(x, "{:g}".format),
        [(y(value), f"{100 * value:.2f}") for value in np.linspace(y.low, y.high, 5)],
        marks,
        labels,
        f"{unit}, logarithmic",
        tuple(f"{number} {point.name}" for number, point in enumerate(points, 1)),
    )


def reliability(bins: Sequence[CalibrationBin], name: str, *caption: str) -> Chart:
    """Return a reliability diagram: accuracy over confidence, one dot per bin.

    The area of a dot grows with the number of predictions in its bin.

    Args:
        bins: the bins; empty ones are left out.
        name: the model's name, for the title and the first line of the caption.
        caption: further lines of the caption.
    """
    x, y = Axis(0, 1, 34, 194), Axis(0, 1, 170, 10)
    ticks = [(share, f"{100 * share:.0f}") for share in (0, 0.5, 1)]
    max_count = max(b.count for b in bins)
    dots = [
        Mark(
            "dot soft",
            f"M{x(b.confidence)} {y(b.accuracy)}h0",
            f"{counted(b.count, 'prediction')} of mean confidence {percent(b.confidence)}, "
            f"{percent(b.accuracy)} correct",
            round(4 + 14 * math.sqrt(b.count / max_count), 1),
        )
        for b in bins
        if b.count
    ]
    return Chart(
        f"Reliability of {name}",
        x,
        y,
        [(x(share), text) for share, text in ticks],
        [(y(share), text) for share, text in ticks],
        [Mark("grid", f"M{x(0)} {y(0)}L{x(1)} {y(1)}"), *dots],
        caption=(name, *caption),
    )


def curves(
    lines: Sequence[tuple[str, Sequence[float]]], strengths: Sequence[str], title: str
) -> Chart:
    """Return accuracy over the strength of a corruption, one line per artifact and engine.

    Args:
        lines: pairs of a name and its accuracies, one per strength, each from 0 to 1.
        strengths: the texts below the horizontal axis.
        title: the name of the corruption.
    """
    last = len(strengths) - 1
    x, y = Axis(0, last, 34, 252), Axis(0, 1, 164, 10)
    return Chart(
        f"Accuracy by strength: {title}",
        x,
        y,
        # Label only the first, middle and last strength; more labels would overlap.
        [(x(step), strengths[step]) for step in (0, len(strengths) // 2, last)],
        [(y(share), f"{100 * share:.0f}") for share in (0, 0.25, 0.5, 0.75, 1)],
        [
            Mark(
                f"curve {style(number)}",
                "M" + "L".join(f"{x(step)} {y(share)}" for step, share in enumerate(shares)),
                f"{name}: {', '.join(map(percent, shares))}",
            )
            for number, (name, shares) in enumerate(lines)
        ],
        caption=(title,),
    )


def style(number: int) -> str:
    """Return the style-sheet class of line `number`."""
    return f"style{number % _LINE_STYLES}"


def _decades(x: Axis, text: Callable[[float], str]) -> list[tuple[float, str]]:
    """Return ticks at 1, 10, 100, …; on an axis below 3 decades, also at 2, 5, 20, 50 and so on.

    Args:
        x: the axis; its values are base-10 logarithms.
        text: formats a value for its tick.
    """
    steps = (1, 2, 5) if x.high - x.low < 3 else (1,)
    powers = range(math.floor(x.low), math.ceil(x.high) + 1)
    values = [step * 10.0**power for power in powers for step in steps]
    return [(x(math.log10(v)), text(v)) for v in values if x.low <= math.log10(v) <= x.high]
