"""Chooses between the readings of several views of a page with one line."""

import difflib
from dataclasses import replace

from runtime.multi_digit.page_reading import PageReading
from runtime.multi_digit.recognize import UNKNOWN
from runtime.multi_digit.verify import Sign

_AGREED = 0.98  # confidence of a digit in one of several views of a page that agree on its line
_SURE = 0.999  # confidence of a digit that another view of the page need not have


def elect(best: PageReading, pages: list[PageReading]) -> PageReading:
    """Return the reading of a page of one line that two views agree on, or their best one.

    Of a reading that views agree on, a digit is accepted if one of them is certain of it or accepts
    it.

    Args:
        best: of all.
        pages: the readings of all views that are not turned.
    """
    pages = sorted((page for page in pages if len(page.lines) == 1), key=lambda page: -page.score)
    if len(best.lines) != 1 or len(pages) < 2:
        return best
    texts = [_proposed_text(page) for page in pages]
    common = max(texts, key=texts.count)
    if texts.count(common) > 1:
        agreeing = [page for page, text in zip(pages, texts, strict=True) if text == common]
        joined = map(_join, *map(_proposed_signs, agreeing))
        signs = agreeing[0].lines[0].signs
        return _with_signs(agreeing[0], [next(joined) if sign.proposed else sign for sign in signs])
    return _compare(pages[0], pages[1])


def _join(sign: Sign, *others: Sign) -> Sign:
    """Return a digit that several views agree on; accepted as `elect` says.

    A 1, which may be a slash or an edge, has to be accepted in the first of them.
    """
    signs = (sign, *others)
    most = max(one.proposed for one in signs)
    accepted = any(one.accepted for one in signs) or most >= _AGREED
    if sign.label in ("1", UNKNOWN):
        accepted = sign.accepted
    return replace(sign, accepted=accepted, confidence=max(most * accepted, sign.confidence))


def _with_signs(page: PageReading, signs: list[Sign]) -> PageReading:
    return replace(page, lines=[replace(page.lines[0], signs=signs)])


def _proposed_signs(page: PageReading) -> list[Sign]:
    return [sign for sign in page.lines[0].signs if sign.proposed]


def _proposed_text(page: PageReading) -> str:
    return "".join(sign.label for sign in _proposed_signs(page))


def _compare(best: PageReading, other: PageReading) -> PageReading:
    """Reject the digits of a page of one line that another view does not have.

    If that has more signs, it is taken: a doubtful place is better than a missing digit.
    """
    if len(_proposed_text(other)) > len(_proposed_text(best)):
        best, other = other, best
    text = _proposed_text(best)
    common = common_places(text, _proposed_text(other))
    # Where the other view has ink that it cannot read, it does not contradict.
    whole = "".join(sign.label for sign in other.lines[0].signs)
    matcher = difflib.SequenceMatcher(None, text, whole, autojunk=False)
    for _, start, end, first, last in matcher.get_opcodes():
        if end - start == last - first:
            common |= {start + n for n in range(end - start) if whole[first + n] == UNKNOWN}
    places = iter(range(len(text)))
    signs = [
        replace(sign, accepted=False)
        if sign.proposed and next(places) not in common and sign.proposed < _SURE
        else sign
        for sign in best.lines[0].signs
    ]
    return _with_signs(best, signs)


def common_places(text: str, other: str) -> set[int]:
    """Return the places of a text that another text has in the same order."""
    matcher = difflib.SequenceMatcher(None, text, other, autojunk=False)
    blocks = matcher.get_matching_blocks()
    return {place for start, _, size in blocks for place in range(start, start + size)}
