"""Results of the photos benchmark, and their targets."""

from dataclasses import dataclass, field

from benchmarks.harness.serialize import json_key

SCHEMA_VERSION = 1
SINGLE, MULTI, NOT_A_DIGIT = "single", "multi", "notdigit"

# The targets that the figures are reported against.
MIN_RIGHT, MIN_RIGHT_MEDIUM, MIN_RIGHT_WRITER = 0.985, 0.98, 0.90
MIN_LINES, MIN_DIGITS = 0.90, 0.97
MIN_NEGATIVES_REJECTED, MAX_DIGITS_REJECTED = 0.90, 0.01


@dataclass(frozen=True)
class Photo:
    """A line of the manifest; `file` is relative to the folder."""

    file: str
    kind: str
    label: str
    writer: str
    medium: str


@dataclass(frozen=True)
class PhotoPrediction:
    """What was made of one digit, or of what is none; of mistakes also the 784 pixels seen."""

    photo: Photo
    label: str
    confidence: float
    accepted: bool
    pixels: tuple[int, ...]
    method: str

    @property
    def right(self) -> bool:
        return self.label == self.photo.label


@dataclass(frozen=True)
class NumberRead:
    """What was read of several digits; `edits` is Levenshtein's distance of the whole texts."""

    photo: Photo
    expected: tuple[str, ...]
    lines: tuple[str, ...]
    right_lines: int
    edits: int
    digits: int


@dataclass(frozen=True)
class Speed:
    """Medians over the pictures of each one's least time, both ways alternating.

    `limit` is the ratio that the figure is reported against.
    """

    name: str
    n: int
    decode_ns: float
    classify_ns: float
    limit: float

    @property
    def ratio(self) -> float:
        return self.classify_ns / self.decode_ns


@dataclass(frozen=True)
class PhotosReport:
    """Everything read, right or wrong. Targets are reported, and fail nothing."""

    schema_version: int
    created: str
    artifact: str = field(metadata=json_key("artefact"))
    digest: str
    backend: str
    version: str
    singles: tuple[PhotoPrediction, ...]
    numbers: tuple[NumberRead, ...]
    negatives: tuple[PhotoPrediction, ...] = field(metadata=json_key("strangers"))
    speeds: tuple[Speed, ...]
