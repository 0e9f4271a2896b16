"""Results of the benchmark of composed lines."""

from dataclasses import dataclass

SCHEMA_VERSION = 1
MIN_EXACT = 0.95  # target: smallest share of lines that are read exactly
MAX_SILENT = 0.03  # target: largest share of lines that are wrong without a `?`


@dataclass(frozen=True)
class LineCounts:
    """How some lines were read.

    Attributes:
        kind: the difficulty that they share.
        n: number of lines.
        exact: read without an error and without an unknown place.
        silent: read wrong, without a `?` that says so.
    """

    kind: str
    n: int
    exact: int
    silent: int


@dataclass(frozen=True)
class ConfidenceBin:
    """The lines of which the confidence is between two limits.

    Attributes:
        low: the lower limit.
        high: the upper limit.
        n: number of lines.
        mean: of their confidences.
        exact: how many of them were read without an error.
    """

    low: float
    high: float
    n: int
    mean: float
    exact: int


@dataclass(frozen=True)
class LinesReport:
    """How `Classifier.read` reads composed lines. Targets are reported and fail nothing.

    Attributes:
        dataset: whose test digits the lines were composed of.
        by_writer: whether each line is of one writer.
        seed: of the lines.
        digits: in all lines.
        edits: digits inserted, deleted or replaced, in all lines; a `?` is a replaced digit.
        lines: of all lines with digits.
        kinds: of each difficulty.
        no_digits: lines without digits; of these, `exact` counts those read as nothing.
        bins: of the confidence of the lines with digits.
        calibration_error: mean distance of confidence and share of exact lines, weighted by lines.
        ms_per_line: processor time.
    """

    schema_version: int
    created: str
    artifact: str
    digest: str
    backend: str
    version: str
    dataset: str
    dataset_sha256: str
    by_writer: bool
    seed: int
    digits: int
    edits: int
    lines: LineCounts
    kinds: tuple[LineCounts, ...]
    no_digits: LineCounts
    bins: tuple[ConfidenceBin, ...]
    calibration_error: float
    ms_per_line: float
