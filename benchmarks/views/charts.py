"""The plots of the HTML report, as inline SVG in the page's own colours."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from string import ascii_uppercase

import numpy as np

from benchmarks.comparison import Bin
from benchmarks.views.formats import duration, percent

_LANE = 34
_LABEL_WIDTH = 250
_WIDTH = 860
# Kinds of lines in the style sheet.
_STYLES = 4


@dataclass(frozen=True)
class Lane:
    """One row of the latency plot: its name and samples."""

    name: str
    samples_ns: tuple[int, ...]


@dataclass(frozen=True)
class Point:
    """One row of a scatter plot: x is positive, y a share with its interval."""

    name: str
    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """One row of a plot by strength: its name and a share at each."""

    name: str
    shares: tuple[float, ...]


def latencies(lanes: Sequence[Lane]) -> str:
    """The distribution of each lane's samples over one logarithmic axis, p50 and p99 marked."""
    everything = np.concatenate([lane.samples_ns for lane in lanes])
    least, most = math.log10(everything.min()) - 0.05, math.log10(everything.max()) + 0.05
    inner = _WIDTH - _LABEL_WIDTH - 20

    def x(ns: float) -> float:
        return _LABEL_WIDTH + inner * (math.log10(ns) - least) / (most - least)

    height = _LANE * len(lanes) + 30
    parts = [_ticks(x, least, most, height)]
    edges = np.linspace(least, most, 161)
    for number, lane in enumerate(lanes):
        base = _LANE * (number + 1)
        counts = np.histogram(np.log10(lane.samples_ns), edges)[0]
        # The square root keeps the tail visible beside the peak.
        heights = (_LANE - 8) * np.sqrt(counts / counts.max())
        step = inner / len(counts)
        bars = "".join(
            f"M{_LABEL_WIDTH + n * step:.1f} {base}v{-tall:.1f}h{step:.1f}V{base}z"
            for n, tall in enumerate(heights)
            if tall
        )
        p50, p99 = (float(np.percentile(lane.samples_ns, q)) for q in (50, 99))
        title = f"{lane.name}: p50 {duration(p50)}, p99 {duration(p99)}"
        parts.append(
            f'<g><title>{escape(title)}</title><path class="bars" d="{bars}"/>'
            f'<path class="mark" d="M{x(p50):.1f} {base}v-30"/>'
            f'<path class="mark far" d="M{x(p99):.1f} {base}v-18"/>'
            f'<text x="{_LABEL_WIDTH - 8}" y="{base - 4}" text-anchor="end">'
            f"{escape(lane.name)}</text></g>"
        )
    return _svg(_WIDTH, height, parts, "Distribution of the latency of one image, by row")


def _ticks(x: Callable[[float], float], least: float, most: float, height: int) -> str:
    parts = []
    for power in range(math.floor(least), math.ceil(most) + 1):
        for step in (1, 2, 5) if most - least < 3 else (1,):
            ns = step * 10.0**power
            if least <= math.log10(ns) <= most:
                at = x(ns)
                text = duration(ns).replace(".0 ", " ").replace(".00 ", " ")
                parts.append(
                    f'<path class="grid" d="M{at:.1f} 0V{height - 24}"/>'
                    f'<text class="tick" x="{at:.1f}" y="{height - 8}" text-anchor="middle">'
                    f"{text}</text>"
                )
    return "".join(parts)


def scatter(points: Sequence[Point], title: str, unit: str) -> str:
    """Accuracy with its 95 % interval over something logarithmic; points are named by letters."""
    width, height, left, bottom, right, top = 420, 300, 56, 34, 16, 70
    xs = [math.log10(point.x) for point in points]
    least, most = min(xs) - 0.15, max(xs) + 0.15
    low, high = min(p.low for p in points), max(p.high for p in points)
    spread = max(high - low, 1e-4)
    low, high = low - 0.08 * spread, high + 0.08 * spread

    def x(value: float) -> float:
        return left + (width - left - right) * (math.log10(value) - least) / (most - least)

    def y(value: float) -> float:
        return top + (height - bottom - top) * (high - value) / (high - low)

    parts = []
    for value in np.linspace(low, high, 5):
        parts.append(
            f'<path class="grid" d="M{left} {y(value):.1f}H{width - right}"/>'
            f'<text class="tick" x="{left - 6}" y="{y(value) + 4:.1f}" text-anchor="end">'
            f"{100 * value:.2f}</text>"
        )
    parts.append(
        f'<text class="tick" x="{(left + width) / 2:.0f}" y="{height - 4}" '
        f'text-anchor="middle">{escape(unit)}, logarithmic</text>'
    )
    taken: list[float] = []
    for letter, p in zip(ascii_uppercase, points, strict=False):
        at = x(p.x)
        # Points all but coincide: letters of neighbours are stacked above the plot.
        height_of = 12 * sum(abs(at - other) < 12 for other in taken)
        taken.append(at)
        parts.append(
            f"<g><title>{letter}: {escape(p.name)}, {percent(p.y)}</title>"
            f'<path class="whisker" d="M{at:.1f} {y(p.low):.1f}V{y(p.high):.1f}"/>'
            f'<circle class="dot" cx="{at:.1f}" cy="{y(p.y):.1f}" r="4.5"/>'
            f'<text x="{at:.1f}" y="{top - 8 - height_of:.1f}" text-anchor="middle">'
            f"{letter}</text></g>"
        )
    names = "<br>".join(
        f"{letter} {escape(p.name)}" for letter, p in zip(ascii_uppercase, points, strict=False)
    )
    drawing = _svg(width, height, parts, title)
    return f"<figure>{drawing}<figcaption>{names}</figcaption></figure>"


def reliability(bins: Sequence[Bin], name: str) -> str:
    """How often answers of each confidence are right, beside the diagonal; area by number."""
    size, left, bottom = 220, 34, 26
    inner = size - left - bottom
    most = max(b.count for b in bins)

    def x(share: float) -> float:
        return left + inner * share

    def y(share: float) -> float:
        return 10 + inner * (1 - share)

    parts = [f'<path class="grid" d="M{x(0)} {y(0)}L{x(1)} {y(1)}M{x(0)} {y(1)}V{y(0)}H{x(1)}"/>']
    for share in (0, 0.5, 1):
        parts.append(
            f'<text class="tick" x="{x(share)}" y="{y(0) + 16}" text-anchor="middle">'
            f"{100 * share:.0f}</text>"
            f'<text class="tick" x="{left - 5}" y="{y(share) + 4}" text-anchor="end">'
            f"{100 * share:.0f}</text>"
        )
    for b in bins:
        if b.count:
            radius = 2 + 7 * math.sqrt(b.count / most)
            parts.append(
                f'<circle class="dot soft" cx="{x(b.confidence):.1f}" cy="{y(b.accuracy):.1f}" '
                f'r="{radius:.1f}"><title>{b.count:,} answers of mean confidence '
                f"{percent(b.confidence)}, {percent(b.accuracy)} right</title></circle>"
            )
    return _svg(size, size, parts, f"Reliability of {name}")


def curves(lines: Sequence[Curve], strengths: Sequence[str], title: str) -> str:
    """Accuracy by strength, from 0 to 100 %, a line a row."""
    width, height, left, right, top, bottom = 280, 190, 34, 28, 10, 26
    step = (width - left - right) / (len(strengths) - 1)

    def y(share: float) -> float:
        return top + (height - bottom - top) * (1 - share)

    parts = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(
            f'<path class="grid" d="M{left} {y(share):.1f}H{width - right}"/>'
            f'<text class="tick" x="{left - 5}" y="{y(share) + 4:.1f}" text-anchor="end">'
            f"{100 * share:.0f}</text>"
        )
    # None, the middle and the strongest: more would run into each other.
    for number in (0, len(strengths) // 2, len(strengths) - 1):
        parts.append(
            f'<text class="tick" x="{left + step * number:.1f}" y="{height - 8}" '
            f'text-anchor="middle">{escape(strengths[number])}</text>'
        )
    for number, line in enumerate(lines):
        points = " ".join(
            f"{left + step * at:.1f},{y(share):.1f}" for at, share in enumerate(line.shares)
        )
        told = ", ".join(map(percent, line.shares))
        parts.append(
            f'<polyline class="curve style{number % _STYLES}" points="{points}">'
            f"<title>{escape(line.name)}: {told}</title></polyline>"
        )
    return _svg(width, height, parts, f"Accuracy by strength: {title}")


def key(number: int) -> str:
    """A piece of the line that `curves` draws for row `number`, for a legend."""
    line = f'<path class="curve style{number % _STYLES}" d="M0 5H28"/>'
    return f'<svg class="key" viewBox="0 0 28 10" width="28">{line}</svg>'


def _svg(width: int, height: int, parts: Sequence[str], title: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )
