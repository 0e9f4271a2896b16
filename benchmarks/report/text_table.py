"""Lays out a `Table` as text that fits the width of a terminal.

If a table is too wide, headers and long texts are wrapped, then optional columns are left out, then
all texts are wrapped, then the last columns continue in a block below.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest

from benchmarks.report.formats import Table, is_numeric
from runtime.errors import printable

_GAP = 2  # spaces before each column
_LONG_TEXT = 25  # characters; a column with a longer text is wrapped before columns are left out
_MIN_LONG_TEXT_WIDTH = 20  # characters; such a column stays this wide until _WRAP_ALL_TEXTS

# How far a column may be made narrower; indices into `_Column.widths`:
_WRAP_LONG_TEXTS = 2
_WRAP_ALL_TEXTS = 3
_WRAP_ANYTHING = 4


@dataclass(frozen=True)
class _Column:
    """A column: its name and its cells, as they are printed."""

    name: str
    cells: tuple[str, ...]

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """The width on one line, then the minimum if headers, long texts, all texts or all wrap."""
        longest = max(map(len, self.cells))
        header = max(map(len, _pieces(self.name, break_on_hyphens=True)), default=0)
        one_line, header_wrapped = max(longest, len(self.name)), max(longest, header)
        if is_numeric(self.cells):
            return one_line, header_wrapped, header_wrapped, header_wrapped, 1
        words = max((len(word) for cell in self.cells for word in _pieces(cell)), default=0)
        all_wrapped = max(header, words)
        long_wrapped = max(_MIN_LONG_TEXT_WIDTH, all_wrapped)
        return (
            one_line,
            header_wrapped,
            long_wrapped if longest > _LONG_TEXT else header_wrapped,
            all_wrapped,
            1,
        )


def render(table: Table, width: int) -> tuple[list[str], int]:
    """Return the lines of a table without its title and note, and how many columns are left out.

    Args:
        table: the table; it has at least one line.
        width: the maximum length of a line.
    """
    columns = [
        _Column(printable(name), tuple(map(printable, cells)))
        for name, cells in zip(table.header, zip(*table.lines, strict=True), strict=True)
    ]
    shown = [name not in table.optional for name in table.header]
    for name in table.optional:
        index = table.header.index(name)
        shown[index] = True
        shown[index] = _fit(_selected(columns, shown), width, _WRAP_LONG_TEXTS) is not None
    lines: list[str] = []
    for number, block in enumerate(_blocks(_selected(columns, shown), width)):
        if number:
            lines.append("")
        widths = _fit(block, width, _WRAP_ANYTHING)
        assert widths is not None, f"{width} characters are too few for two columns"
        header = [_wrapped(c.name, w, True) for c, w in zip(block, widths, strict=True)]
        height = max(map(len, header))
        lines += _joined([[""] * (height - len(name)) + name for name in header], widths)
        for row in zip(*(column.cells for column in block), strict=True):
            lines += _joined([_wrapped(c, w) for c, w in zip(row, widths, strict=True)], widths)
    return lines, shown.count(False)


def _selected(columns: Sequence[_Column], shown: Sequence[bool]) -> list[_Column]:
    return [column for column, show in zip(columns, shown, strict=True) if show]


def _blocks(columns: Sequence[_Column], width: int) -> list[list[_Column]]:
    """Distribute columns over blocks that fit the width; each block begins with the first one."""
    first, *others = columns
    blocks = [[first]]
    for column in others:
        if len(blocks[-1]) > 1 and _fit([*blocks[-1], column], width, _WRAP_ALL_TEXTS) is None:
            blocks.append([first])
        blocks[-1].append(column)
    return blocks


def _fit(columns: Sequence[_Column], width: int, limit: int) -> list[int] | None:
    """Return a width for each column so that all fit; None if they do not.

    Args:
        columns: the columns.
        width: the width of them all, with the gaps.
        limit: an index into `_Column.widths`; no column becomes narrower than that.
    """
    widths = [column.widths[0] for column in columns]
    excess = sum(widths) + _GAP * len(widths) - width
    for level in range(1, limit + 1):
        while excess > 0:
            wrappable = [n for n, c in enumerate(columns) if widths[n] > c.widths[level]]
            if not wrappable:
                break
            widths[max(wrappable, key=widths.__getitem__)] -= 1
            excess -= 1
    return widths if excess <= 0 else None


def _pieces(text: str, break_on_hyphens: bool = False) -> list[str]:
    """Return the pieces of a text, which only _WRAP_ANYTHING breaks."""
    return textwrap.wrap(text, 1, break_long_words=False, break_on_hyphens=break_on_hyphens)


def _wrapped(text: str, width: int, break_on_hyphens: bool = False) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=break_on_hyphens)


def _joined(cells: Sequence[Sequence[str]], widths: Sequence[int]) -> list[str]:
    """Return the lines of one row of the table, each cell being a list of lines."""
    return [
        "".join(
            " " * _GAP + part.ljust(width) for part, width in zip(parts, widths, strict=True)
        ).rstrip()
        for parts in zip_longest(*cells, fillvalue="")
    ]
