"""Results of a benchmark on another machine."""

from dataclasses import dataclass, field

from benchmarks.harness.cases import BenchmarkCase, SkippedCase
from benchmarks.harness.messages import PredictResponse
from benchmarks.harness.serialize import json_key
from runtime.backends import Scores


@dataclass(frozen=True)
class CasePredictions:
    """A row's answers: the .npy file of its scores (N, classes) float32, in the index's folder."""

    case: BenchmarkCase = field(metadata=json_key("row"))
    answer: PredictResponse
    scores: str


@dataclass(frozen=True)
class PredictionIndex:
    """Every row of a folder, those that answered and those that did not."""

    answered: tuple[CasePredictions, ...]
    skipped: tuple[SkippedCase, ...] = field(metadata=json_key("unmeasured"))


@dataclass(frozen=True, eq=False)
class DevicePredictions:
    """What a device answered: (row, what its process says, scores) each, and the other rows."""

    answered: tuple[tuple[BenchmarkCase, PredictResponse, Scores], ...]
    skipped: tuple[SkippedCase, ...] = field(metadata=json_key("unmeasured"))
