"""Chooses between the readings of several views of a page with one line."""

import difflib
from dataclasses import replace

from runtime.multi_digit.line_reader import UNKNOWN
from runtime.multi_digit.page_reading import PageReading, proposed_indices, proposed_text
from runtime.multi_digit.verify import Symbol

_AGREED = 0.98  # line reader's least confidence in a digit on which views agree, if none accepts it
_UNCONFIRMED = 0.999  # line reader's least confidence in a digit that another view does not have


def elect(best: PageReading, pages: list[PageReading]) -> PageReading:
    """Return the reading of a page of one line on which two views agree, otherwise their best one.

    A digit of a reading on which views agree is accepted if one of them accepts it, or if the line
    reader is certain of it in one of them.

    Args:
        best: the best of all readings.
        pages: the readings of all views that are not rotated.
    """
    pages = sorted((page for page in pages if len(page.lines) == 1), key=lambda page: -page.score)
    if len(best.lines) != 1 or len(pages) < 2:
        return best
    texts = [proposed_text(page.lines[0].symbols) for page in pages]
    common = max(texts, key=texts.count)
    if texts.count(common) == 1:
        return _compare(pages[0], pages[1])
    agreeing = [page for page, text in zip(pages, texts, strict=True) if text == common]
    joined = map(_join, *map(_proposed_symbols, agreeing))
    symbols = agreeing[0].lines[0].symbols
    return _with_symbols(
        agreeing[0], [symbol if symbol.is_left_over else next(joined) for symbol in symbols]
    )


def _join(symbol: Symbol, *others: Symbol) -> Symbol:
    """Return a digit on which several views agree.

    It is accepted if one of them accepts it, or the line reader has at least `_AGREED` in one of
    them. A 1, which may be a slash or an edge, must be accepted in the first of them.
    """
    symbols = (symbol, *others)
    highest = max(one.proposal_confidence for one in symbols)
    accepted = any(one.accepted for one in symbols) or highest >= _AGREED
    if symbol.label in ("1", UNKNOWN):
        accepted = symbol.accepted
    return replace(symbol, accepted=accepted, confidence=max(highest * accepted, symbol.confidence))


def _with_symbols(page: PageReading, symbols: list[Symbol]) -> PageReading:
    return replace(page, lines=[replace(page.lines[0], symbols=symbols)])


def _proposed_symbols(page: PageReading) -> list[Symbol]:
    return [symbol for symbol in page.lines[0].symbols if not symbol.is_left_over]


def _compare(best: PageReading, other: PageReading) -> PageReading:
    """Reject the digits of a page of one line that another view does not have.

    If the other view has more symbols, it is returned instead: a doubtful place is better than a
    missing digit.
    """
    text, other_text = (proposed_text(page.lines[0].symbols) for page in (best, other))
    if len(other_text) > len(text):
        best, other, text, other_text = other, best, other_text, text
    confirmed = set(common_places(text, other_text))
    # If the other view has ink that it cannot read, it does not contradict.
    whole = "".join(symbol.label for symbol in other.lines[0].symbols)
    matcher = difflib.SequenceMatcher(None, text, whole, autojunk=False)
    for _, start, end, first, last in matcher.get_opcodes():
        if end - start == last - first:
            confirmed |= {start + n for n in range(end - start) if whole[first + n] == UNKNOWN}
    symbols = best.lines[0].symbols
    return _with_symbols(
        best,
        [
            symbol
            if index is None or index in confirmed or symbol.proposal_confidence >= _UNCONFIRMED
            else replace(symbol, accepted=False)
            for index, symbol in zip(proposed_indices(symbols), symbols, strict=True)
        ],
    )


def common_places(text: str, other: str) -> dict[int, int]:
    """Return the places of the characters of a text that another text has in the same order.

    Returns:
        Index in `text` → index in `other`.
    """
    matcher = difflib.SequenceMatcher(None, text, other, autojunk=False)
    blocks = matcher.get_matching_blocks()
    return {start + n: other_start + n for start, other_start, size in blocks for n in range(size)}
