"""Measures how `Classifier.read` reads lines composed of test digits, whose text is known.

The lines are those of `train.lines.compose`, of other digits, other writers and other fonts.
"""

import re
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ImageFont

from benchmarks.harness.test_set import TestSet
from benchmarks.photos.run import edit_distance
from benchmarks.schema.lines import SCHEMA_VERSION, ConfidenceBin, LineCounts, LinesReport
from runtime.classifier import Classifier
from runtime.errors import DatasetError
from runtime.multi_digit.line_reader import UNKNOWN
from train.lines import seeds
from train.lines.compose import Composer

_FONTS = (
    "STIXGeneral.ttf",
    "STIXGeneralBol.ttf",
    "STIXGeneralItalic.ttf",
    "cmr10.ttf",
    "cmss10.ttf",
)
_FONT_PX = 40
_BINS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)  # limits of the confidence


def measure(
    classifier: Classifier,
    artifact: str,
    test_set: TestSet,
    writers: npt.NDArray[np.int64] | None,
    n: int,
    seed: int,
    progress: Callable[[str], None] = lambda line: None,
) -> LinesReport:
    """Compose lines, read them, and count.

    Args:
        classifier: to measure.
        artifact: its name, for the report.
        test_set: of the ten digits.
        writers: (images,) of the test set; None if unknown.
        n: number of lines.
        seed: of the lines.
        progress: called with one line for each step.

    Raises:
        DatasetError: the test set does not hold the ten digits.
    """
    if test_set.class_names != tuple("0123456789"):
        raise DatasetError(
            f"{test_set.name} has the classes {', '.join(test_set.class_names)}; lines are "
            "composed of the digits 0 to 9: give --data with those"
        )
    progress("composing lines")
    composer = Composer(test_set.pixels, test_set.labels, writers, _fonts())
    lines = composer.lines(n, (seed, seeds.BENCHMARK_LINES))
    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    sure: list[tuple[float, bool]] = []
    digits = edits = 0
    started = time.process_time()
    for number, line in enumerate(lines):
        if number % 50 == 0:
            progress(f"line {number:,} of {n:,}")
        recognition = classifier.read(line.picture())
        text = "".join(recognition.lines)
        has_digits = any(map(str.isdigit, line.text))
        exact, silent = judge(line.text if has_digits else "", text)
        for kind in ("all", *line.kinds) if has_digits else ("no digits",):
            counts[kind][0] += 1
            counts[kind][1] += exact
            counts[kind][2] += silent
        if has_digits:
            digits += sum(map(str.isdigit, line.text))
            edits += edit_distance(_merge(line.text), _merge(text))
            confidences = recognition.confidences or (0.0,)
            sure.append((float(np.prod(confidences)), exact))
    seconds = time.process_time() - started
    bins = _bins(sure)
    spec, backend = classifier.spec, classifier.backend
    return LinesReport(
        schema_version=SCHEMA_VERSION,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        artifact=artifact,
        digest=spec.digest,
        backend=backend.name,
        version=backend.version,
        dataset=test_set.name,
        dataset_sha256=test_set.sha256,
        by_writer=writers is not None,
        seed=seed,
        digits=digits,
        edits=edits,
        lines=LineCounts("all", *counts.pop("all", [0, 0, 0])),
        no_digits=LineCounts("no digits", *counts.pop("no digits", [0, 0, 0])),
        kinds=tuple(LineCounts(kind, *counts[kind]) for kind in sorted(counts)),
        bins=bins,
        calibration_error=sum(abs(one.mean * one.n - one.exact) for one in bins)
        / max(len(sure), 1),
        ms_per_line=1e3 * seconds / max(n, 1),
    )


def judge(expected: str, text: str) -> tuple[bool, bool]:
    """Judge a reading.

    Args:
        expected: digits, and `UNKNOWN` for operators and letters; empty if there is no digit.
        text: that was read.

    Returns:
        Whether it is exact, several `UNKNOWN` in a row counting as one; and whether it is wrong
        without more `UNKNOWN` than expected.
    """
    exact = _merge(expected) == _merge(text)
    return exact, not exact and text.count(UNKNOWN) <= expected.count(UNKNOWN)


def _merge(text: str) -> str:
    return re.sub(r"\?+", UNKNOWN, text)


def _bins(sure: list[tuple[float, bool]]) -> tuple[ConfidenceBin, ...]:
    bins = []
    for low, high in pairwise(_BINS):
        own = [pair for pair in sure if low <= pair[0] < high or (high == 1 and pair[0] == 1)]
        if own:
            mean = sum(confidence for confidence, _ in own) / len(own)
            bins.append(ConfidenceBin(low, high, len(own), mean, sum(exact for _, exact in own)))
    return tuple(bins)


def _fonts() -> list[ImageFont.FreeTypeFont]:
    import matplotlib

    folder = Path(matplotlib.get_data_path(), "fonts", "ttf")
    return [ImageFont.truetype(folder / name, _FONT_PX) for name in _FONTS]
