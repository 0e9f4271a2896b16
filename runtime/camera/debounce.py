"""Debouncing: a digit counts once several frames agree on it."""

from collections import deque
from typing import NamedTuple


class DigitEvent(NamedTuple):
    """A digit has appeared: its label, the mean confidence of the pictures that agree, how many."""

    label: str
    confidence: float
    votes: int


class Debouncer:
    """A digit appears when `needed` of the last `of` pictures show it, and is gone when none of
    them does: so neither a misread picture nor one that shows nothing makes it appear twice.

    Args:
        needed: more than half of `of`, so that two digits cannot have it at once.
        of: how many pictures are remembered.
    """

    def __init__(self, needed: int, of: int) -> None:
        if not of < 2 * needed <= 2 * of:
            raise ValueError(f"{needed} of {of} pictures: not more than half, or more than all")
        self._needed = needed
        self._recent: deque[tuple[str | None, float]] = deque(maxlen=of)
        self._present: set[str] = set()

    @property
    def present(self) -> frozenset[str]:
        """The digits that have appeared and are not gone."""
        return frozenset(self._present)

    def add(self, label: str | None, confidence: float) -> DigitEvent | None:
        """Take what the next picture shows, None for no digit; whether one has appeared by it."""
        self._recent.append((label, confidence))
        self._present &= {shown for shown, _ in self._recent if shown is not None}
        if label is None or label in self._present:
            return None
        votes = [sure for shown, sure in self._recent if shown == label]
        if len(votes) < self._needed:
            return None
        self._present.add(label)
        return DigitEvent(label, sum(votes) / len(votes), len(votes))
