"""Formats durations, sizes and shares, and defines the `Table` of all benchmark reports."""

import re
from collections.abc import Iterable
from dataclasses import dataclass


def duration(ns: float | None) -> str:
    """Return a duration in µs, ms or s; "–" for None."""
    if ns is None:
        return "–"
    if ns < 1e6:
        return f"{ns / 1e3:.1f} µs"
    return f"{ns / 1e6:.2f} ms" if ns < 1e9 else f"{ns / 1e9:.2f} s"


def megabytes(size_bytes: float) -> str:
    """Return a memory size in MB (10⁶ bytes); "–" for 0, which means unknown."""
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes else "–"


def kilobytes(size_bytes: int) -> str:
    """Return a file size in KB (10³ bytes)."""
    return f"{size_bytes / 1e3:,.0f} KB"


def percent(share: float) -> str:
    """Return a share from 0 to 1 as a percentage with two decimals."""
    return f"{100 * share:.2f} %"


def interval(low: float, high: float) -> str:
    """Return two shares from 0 to 1 as a range of percentages, without the % sign."""
    return f"{100 * low:.2f}–{100 * high:.2f}"


def points(share: float) -> str:
    """Return a difference of two shares in percentage points, with its sign."""
    return f"{100 * share:+.2f}"


def nats(value: float | None) -> str:
    """Return a negative log-likelihood in nats with four decimals; "–" for None."""
    return "–" if value is None else f"{value:.4f}"


def ratio(value: float | None) -> str:
    """Return a ratio, such as "1.25×"; "–" for None."""
    return "–" if value is None else f"{value:.2f}×"


def counted(n: int, singular: str, plural: str = "") -> str:
    """Return a number with its noun, such as "1 image" or "10,000 images".

    Args:
        n: the number.
        singular: the noun after 1.
        plural: the noun after other numbers; by default `singular` with an s.
    """
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"


def is_numeric(cells: Iterable[str]) -> bool:
    """Return whether all cells of a column begin with a number, or are "–"."""
    return all(re.match(r"[-+−]?\d|–$", cell) for cell in cells)


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
        title: the heading above the table.
        header: the names of the columns.
        lines: the cells, one tuple per line, with one cell per column.
        note: the paragraph below the table.
        optional: the columns that a narrow terminal may leave out, the most important one first.
            Pages contain all columns.
    """

    title: str
    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    note: str = ""
    optional: tuple[str, ...] = ()
