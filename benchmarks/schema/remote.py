"""The predictions of a device: the index file that it sends, and the scores read from it."""

from dataclasses import dataclass, field

from benchmarks.harness.cases import BenchmarkCase, SkippedCase
from benchmarks.harness.messages import PredictResponse
from benchmarks.harness.serialize import json_key
from runtime.backends import Scores


@dataclass(frozen=True)
class CasePredictions:
    """The predictions of one case.

    Attributes:
        case: the artifact, engine, device and threads.
        answer: the response of the case's subprocess.
        scores: name of the .npy file of the scores, (N, classes) float32, beside the index.
    """

    case: BenchmarkCase = field(metadata=json_key("row"))
    answer: PredictResponse
    scores: str


@dataclass(frozen=True)
class PredictionIndex:
    """The content of the index file: the cases with predictions, and those without."""

    answered: tuple[CasePredictions, ...]
    skipped: tuple[SkippedCase, ...] = field(metadata=json_key("unmeasured"))


@dataclass(frozen=True, eq=False)
class DevicePredictions:
    """The predictions of a device.

    Attributes:
        answered: for each case with predictions the case, the response of its subprocess, and the
            scores, (N, classes) float32.
        skipped: the cases without predictions, with the reasons.
    """

    answered: tuple[tuple[BenchmarkCase, PredictResponse, Scores], ...]
    skipped: tuple[SkippedCase, ...] = field(metadata=json_key("unmeasured"))
