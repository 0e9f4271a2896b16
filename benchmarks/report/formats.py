"""Formats durations, sizes and shares; the Table that all reports share."""

from dataclasses import dataclass


def duration(ns: float | None) -> str:
    """A duration in the unit that suits it; – where there is none."""
    if ns is None:
        return "–"
    if ns < 1e6:
        return f"{ns / 1e3:.1f} µs"
    return f"{ns / 1e6:.2f} ms" if ns < 1e9 else f"{ns / 1e9:.2f} s"


def megabytes(size_bytes: float) -> str:
    """A size of memory; – where the system does not say."""
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes else "–"


def kilobytes(size_bytes: int) -> str:
    """A size of a file."""
    return f"{size_bytes / 1e3:,.0f} KB"


def percent(share: float) -> str:
    """A share as a percentage with two decimals."""
    return f"{100 * share:.2f} %"


def interval(low: float, high: float) -> str:
    """Two shares as percentages."""
    return f"{100 * low:.2f}–{100 * high:.2f}"


def points(share: float) -> str:
    """A difference of two shares in percentage points."""
    return f"{100 * share:+.2f}"


def nats(value: float | None) -> str:
    """A negative log-likelihood; – where there is none."""
    return "–" if value is None else f"{value:.4f}"


def ratio(value: float | None) -> str:
    """A ratio; – where there is none."""
    return "–" if value is None else f"{value:.2f}×"


@dataclass(frozen=True)
class Table:
    """A title, a header, and lines of as many cells; the note stands below."""

    title: str
    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    note: str = ""
