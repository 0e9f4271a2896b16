"""What a benchmark on another machine returns."""

from dataclasses import dataclass

from benchmarks.harness.cases import Row, Unmeasured
from benchmarks.harness.messages import ScoresAnswer
from runtime.backends import Scores


@dataclass(frozen=True)
class Answered:
    """A row's answers: the .npy file of its scores (N, classes) float32, in the index's folder."""

    row: Row
    answer: ScoresAnswer
    scores: str


@dataclass(frozen=True)
class Index:
    """Every row of a folder, those that answered and those that did not."""

    answered: tuple[Answered, ...]
    unmeasured: tuple[Unmeasured, ...]


@dataclass(frozen=True, eq=False)
class Answers:
    """What a device answered: (row, what its process says, scores) each, and the other rows."""

    answered: tuple[tuple[Row, ScoresAnswer, Scores], ...]
    unmeasured: tuple[Unmeasured, ...]
