"""The results of the photos benchmark, which reads real photographs and scans, and its targets.

Missed targets are shown in the report but do not fail the run.
"""

from dataclasses import dataclass, field

from benchmarks.harness.serialize import json_key

SCHEMA_VERSION = 1  # of the JSON format of the report

# Kinds of images in manifest.csv:
SINGLE = "single"  # one digit
MULTI = "multi"  # numbers of several digits, on one or more lines
NOT_A_DIGIT = "notdigit"  # a negative

# Targets; each is a share of the images, lines or digits, 0 to 1.
MIN_ACCURACY = 0.985  # of all single digits
MIN_MEDIUM_ACCURACY = 0.98  # of the single digits of each medium: photographs, scans, drawings
MIN_WRITER_ACCURACY = 0.90  # of the single digits of each writer
MIN_LINE_ACCURACY = 0.90  # of the lines of several digits; every digit of a line must be correct
MIN_DIGIT_ACCURACY = 0.97  # of the digits on these lines: 1 − edit distance / digits
MIN_NEGATIVES_REJECTED_SHARE = 0.90
MAX_DIGITS_REJECTED_SHARE = 0.01  # of the single digits
MAX_WRONG_ACCEPTED_SHARE = 0.003  # of the single digits: wrong and accepted
MIN_CLASS_ACCURACY = 0.97  # of the single digits of each class


@dataclass(frozen=True)
class Photo:
    """A line of manifest.csv.

    Attributes:
        file: path of the image, relative to the folder of the manifest.
        kind: SINGLE, MULTI or NOT_A_DIGIT.
        label: the digit, or the lines of digits separated by a backslash and an n.
        writer: the pseudonym of the writer; empty if there is no manifest.
        medium: "photo", "scan" or "drawing"; empty if there is no manifest.
    """

    file: str
    kind: str
    label: str
    writer: str
    medium: str


@dataclass(frozen=True)
class PhotoPrediction:
    """The prediction of an image of a single digit or of a negative.

    Attributes:
        photo: the image.
        label: the predicted digit.
        confidence: of the prediction, 0 to 1.
        accepted: False if the image was rejected as not a digit.
        pixels: the pixels the model was given, row by row; empty if the result is correct.
        method: how the ink was found, e.g. by "luminance" or "color"; see
            `runtime.preprocess.pipeline`.
        shape: height, width and channels of the pixels; empty for a digit, 28×28.
    """

    photo: Photo
    label: str
    confidence: float
    accepted: bool
    pixels: tuple[int, ...]
    method: str
    shape: tuple[int, ...] = ()

    @property
    def right(self) -> bool:
        """Whether the predicted digit is correct, accepted or not."""
        return self.label == self.photo.label


@dataclass(frozen=True)
class NumberRead:
    """The lines of digits read in an image.

    Attributes:
        photo: the image.
        expected: the correct lines.
        lines: the lines that were read.
        right_lines: number of lines that are completely correct.
        edits: Levenshtein distance of the whole texts.
        digits: number of digits of the correct text.
    """

    photo: Photo
    expected: tuple[str, ...]
    lines: tuple[str, ...]
    right_lines: int
    edits: int
    digits: int


@dataclass(frozen=True)
class Speed:
    """The time to classify image files compared with that to decode them, measured alternately.

    Attributes:
        name: the kind of images.
        n: number of images.
        decode_ns: time of a full decode by Pillow: the fastest try of each file, the median of the
            files.
        classify_ns: the same for `Classifier.classify` of the file, which includes its decoding.
        limit: the target for `ratio`, at most.
    """

    name: str
    n: int
    decode_ns: float
    classify_ns: float
    limit: float

    @property
    def ratio(self) -> float:
        """The time of classifying divided by the time of decoding."""
        return self.classify_ns / self.decode_ns


@dataclass(frozen=True)
class PhotosReport:
    """The report of a run.

    Attributes:
        schema_version: the version of this format.
        created: date and time in UTC, ISO 8601.
        artifact: the file name of the artifact.
        digest: the digest of the artifact.
        backend: the name of the engine.
        version: the version of the engine.
        singles: the predictions of the single digits.
        numbers: the images of several digits.
        negatives: the predictions of the images that are not digits.
        speeds: the speed for each kind of images.
    """

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
