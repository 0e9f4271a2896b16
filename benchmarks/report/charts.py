"""The charts of the HTML report in pixels; `templates/charts.html` draws them as SVG."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.report.formats import duration, percent
from benchmarks.schema.parity import CalibrationBin

_LANE_HEIGHT_PX = 34
_LABEL_WIDTH_PX = 14  # labels of points that are closer are stacked
_LATENCY_BINS = 160
_LINE_STYLES = 6  # classes style0 … style5 of style.css


@dataclass(frozen=True)
class Point:
    """One point of a scatter chart: x is positive, y a share with its interval."""

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
        share = (value - self.low) / (self.high - self.low)
        return round(float(self.start + share * (self.end - self.start)), 1)


@dataclass(frozen=True)
class Mark:
    """An SVG path, its class in the style sheet, and its tooltip.

    A `diameter` makes a dot of the path "M x y h0".
    """

    style: str
    path: str
    tooltip: str = ""
    diameter: float | None = None


@dataclass(frozen=True)
class Chart:
    """The plot area, its ticks as (pixel, text), and what is drawn in it.

    `labels` are (x, y, text), centered; `caption` are the lines below the chart.
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
    """Return a histogram per name over one logarithmic axis, with p50 and p99."""
    logs = [np.log10(samples) for _, samples in samples_ns]
    low, high = min(map(np.min, logs)) - 0.05, max(map(np.max, logs)) + 0.05
    x, y = Axis(low, high, 250, 840), Axis(0, len(logs), 0, _LANE_HEIGHT_PX * len(logs))
    edges = np.linspace(low, high, _LATENCY_BINS + 1)
    width = f"{(x.end - x.start) / _LATENCY_BINS:.1f}"
    marks = []
    for number, (name, samples) in enumerate(samples_ns, 1):
        base, counts = y(number), np.histogram(logs[number - 1], edges)[0]
        # The square root keeps the tail visible beside the peak.
        heights = (_LANE_HEIGHT_PX - 8) * np.sqrt(counts / counts.max())
        bars = "".join(
            f"M{x(edge)} {base}v{-height:.1f}h{width}V{base}z"
            for edge, height in zip(edges[:-1], heights, strict=True)
            if height
        )
        p50, p99 = (float(np.percentile(samples, q)) for q in (50, 99))
        tooltip = f"{name}: p50 {duration(p50)}, p99 {duration(p99)}"
        marks += [
            Mark("bars", bars, tooltip),
            Mark("mark", f"M{x(math.log10(p50))} {base}v-30"),
            Mark("mark far", f"M{x(math.log10(p99))} {base}v-18"),
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
    """Return accuracy with its 95 % interval over a logarithmic axis; points are numbered."""
    logs = [math.log10(point.x) for point in points]
    low, high = min(p.low for p in points), max(p.high for p in points)
    margin = 0.08 * max(high - low, 1e-4)
    x = Axis(min(logs) - 0.15, max(logs) + 0.15, 56, 404)
    y = Axis(low - margin, high + margin, 262, 70)
    marks, labels = [], []
    for number, (point, log) in enumerate(zip(points, logs, strict=True), 1):
        at = x(log)
        marks += [
            Mark("whisker", f"M{at} {y(point.low)}V{y(point.high)}"),
            Mark("dot", f"M{at} {y(point.y)}h0", f"{number}: {point.name}, {percent(point.y)}", 9),
        ]
        near = sum(abs(at - other) < _LABEL_WIDTH_PX for other, _, _ in labels)
        labels.append((at, y.end - 8 - 12 * near, str(number)))
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
    """Return accuracy over confidence, a dot per bin; its area grows with the predictions."""
    x, y = Axis(0, 1, 34, 194), Axis(0, 1, 170, 10)
    ticks = [(share, f"{100 * share:.0f}") for share in (0, 0.5, 1)]
    most = max(b.count for b in bins)
    dots = [
        Mark(
            "dot soft",
            f"M{x(b.confidence)} {y(b.accuracy)}h0",
            f"{b.count:,} predictions of mean confidence {percent(b.confidence)}, "
            f"{percent(b.accuracy)} correct",
            round(4 + 14 * math.sqrt(b.count / most), 1),
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
    """Return accuracy by strength from 0 to 100 %, one line per artifact and engine."""
    last = len(strengths) - 1
    x, y = Axis(0, last, 34, 252), Axis(0, 1, 164, 10)
    return Chart(
        f"Accuracy by strength: {title}",
        x,
        y,
        # The texts of all strengths would overlap.
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
    """Return the class of line `number` in the style sheet."""
    return f"style{number % _LINE_STYLES}"


def _decades(x: Axis, text: Callable[[float], str]) -> list[tuple[float, str]]:
    """Return the ticks of an axis of base-10 logarithms; below 3 decades also 2 and 5."""
    steps = (1, 2, 5) if x.high - x.low < 3 else (1,)
    powers = range(math.floor(x.low), math.ceil(x.high) + 1)
    values = [step * 10.0**power for power in powers for step in steps]
    return [(x(math.log10(v)), text(v)) for v in values if x.low <= math.log10(v) <= x.high]
