"""Debounce the digits and numbers of a video: report each once several frames agree.

`runtime.camera.run` passes the prediction of each frame to a `Debouncer`, or the number in each
region to a `ChangeDebouncer`.
"""

from collections import deque
from typing import NamedTuple


class DigitEvent(NamedTuple):
    """A digit has appeared.

    Attributes:
        label: the digit.
        confidence: mean confidence, from 0 to 1, of the latest frames that show the digit.
        votes: number of the latest frames that show the digit.
    """

    label: str
    confidence: float
    votes: int


class Debouncer:
    """Reports a digit once `needed` of the last `of` frames show the digit.

    The digit stays present until none of the last `of` frames shows the digit. Therefore a misread
    or empty frame in between does not report the digit twice.

    Args:
        needed: number of frames that must show the same digit. The number must be more than
            half of `of`, so that only one digit at a time can have the majority.
        of: number of latest frames that are compared.

    Raises:
        ValueError: `needed` is at most half of `of`, or greater than `of`.
    """

    def __init__(self, needed: int, of: int) -> None:
        if not of < 2 * needed <= 2 * of:
            raise ValueError(
                f"needed {needed} of {of} frames: pass more than half of the frames, and at most "
                "all frames"
            )
        self._needed = needed
        self._recent: deque[tuple[str | None, float]] = deque(maxlen=of)
        self._present: set[str] = set()

    @property
    def present(self) -> frozenset[str]:
        """The digits that were reported and are still present."""
        return frozenset(self._present)

    def add(self, label: str | None, confidence: float) -> DigitEvent | None:
        """Add the prediction of the next frame.

        Args:
            label: the predicted digit; None if the frame shows no digit.
            confidence: confidence of the prediction, 0 to 1.

        Returns:
            The digit that appears with this frame; None if no new digit appears.
        """
        self._recent.append((label, confidence))
        self._present &= {recent for recent, _ in self._recent if recent is not None}
        if label is None or label in self._present:
            return None
        confidences = [value for recent, value in self._recent if recent == label]
        if len(confidences) < self._needed:
            return None
        self._present.add(label)
        return DigitEvent(label, sum(confidences) / len(confidences), len(confidences))


class ChangeDebouncer:
    """Reports a change of a display once `needed` of the last `of` frames show the same.

    In contrast to `Debouncer`, only one number is present at a time: a number that replaces another
    one ends it, also within the last frames.

    Args:
        needed: see `Debouncer`.
        of: see `Debouncer`.
    """

    def __init__(self, needed: int, of: int) -> None:
        self._needed = needed
        self._recent: deque[str | None] = deque(maxlen=of)
        self._shown: str | None = None

    def add(self, state: str | None) -> bool:
        """Add the state of the next frame; return whether the state has changed.

        Args:
            state: the number as text, or `?` for any rejected one. None for an empty image: it
                ends the present state and is not reported.
        """
        self._recent.append(state)
        if state == self._shown or self._recent.count(state) < self._needed:
            return False
        self._shown = state
        return state is not None
