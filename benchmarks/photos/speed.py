"""Measures the time to classify an encoded image, as a ratio to the time to decode it.

The images are drawn: color JPEG photographs of a digit, and small grayscale PNG files. Decoding is
that of Pillow; both run in turns on one core, which makes the ratio comparable between machines.
"""

import io
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.schema.photos import Speed
from runtime.classifier import Classifier


class _JpegTiming(NamedTuple):
    """How JPEG photographs of one size are timed.

    Attributes:
        width_px: the width.
        height_px: the height.
        files: number of drawn photographs.
        repetitions: how often each is timed; the shortest time counts.
        max_ratio: target: the classification time over the decoding time is at most this.
    """

    width_px: int
    height_px: int
    files: int
    repetitions: int
    max_ratio: float


_JPEG_TIMINGS = (
    _JpegTiming(width_px=1000, height_px=1000, files=6, repetitions=12, max_ratio=1.0),
    _JpegTiming(width_px=1024, height_px=768, files=6, repetitions=12, max_ratio=1.0),
    _JpegTiming(width_px=4000, height_px=3000, files=2, repetitions=6, max_ratio=0.6),
)
_PNG_SIDE_PX = 28  # width and height of the PNG files
_PNG_FILES = 200  # number of drawn PNG files
_PNG_REPETITIONS = 15  # how often each PNG file is timed; the shortest time counts
_PNG_MAX_RATIO = 4.0  # target: the classification time over the decoding time is at most this
_SEED = 50  # of the drawn images
_LONGEST_NS = 10**12  # start value of a minimum, longer than any measurement


def measure_speed(classifier: Classifier) -> tuple[Speed, ...]:
    """Measure JPEG photographs of one and twelve megapixels, and PNG files of 28×28."""
    random = np.random.default_rng(_SEED)
    speeds = []
    with _one_core():
        for jpeg in _JPEG_TIMINGS:
            files = [_photograph(jpeg.width_px, jpeg.height_px, random) for _ in range(jpeg.files)]
            name = f"JPEG {jpeg.width_px}x{jpeg.height_px}"
            speeds.append(_time(name, files, classifier, jpeg.repetitions, jpeg.max_ratio))
        files = [_small_png(random) for _ in range(_PNG_FILES)]
        name = f"PNG {_PNG_SIDE_PX}x{_PNG_SIDE_PX}, not in MNIST's form"
        speeds.append(_time(name, files, classifier, _PNG_REPETITIONS, _PNG_MAX_RATIO))
    return tuple(speeds)


@contextmanager
def _one_core() -> Iterator[None]:
    """Pin this process to one core, if the operating system supports it."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _time(
    name: str, files: list[bytes], classifier: Classifier, repetitions: int, max_ratio: float
) -> Speed:
    decode_ns = [_LONGEST_NS] * len(files)
    classify_ns = [_LONGEST_NS] * len(files)
    for _ in range(repetitions):
        for number, data in enumerate(files):
            start = time.perf_counter_ns()
            with Image.open(io.BytesIO(data)) as image:
                image.load()
            middle = time.perf_counter_ns()
            classifier.classify(data)
            end = time.perf_counter_ns()
            decode_ns[number] = min(decode_ns[number], middle - start)
            classify_ns[number] = min(classify_ns[number], end - middle)
    return Speed(
        name=name,
        n=len(files),
        decode_ns=statistics.median(decode_ns),
        classify_ns=statistics.median(classify_ns),
        limit=max_ratio,
    )


def _digits() -> npt.NDArray[np.float32]:
    """Return scikit-learn's digits, (1797, 8, 8), from 0 (paper) to 1 (ink)."""
    from sklearn.datasets import load_digits

    images: npt.NDArray[np.float32] = load_digits().images.astype(np.float32) / 16
    return images


def _stroke(digit: npt.NDArray[np.float32], side_px: int) -> npt.NDArray[np.float32]:
    """Enlarge a digit of 8×8 to (side, side), with the sharp edges of a pen stroke."""
    image = Image.fromarray(digit).resize((side_px, side_px), Image.Resampling.BICUBIC)
    stroke: npt.NDArray[np.float32] = np.clip((np.asarray(image) - 0.35) * 5, 0, 1)
    return stroke


def _photograph(width_px: int, height_px: int, random: np.random.Generator) -> bytes:
    """Draw a digit on paper under slanting light, with sensor noise; return a color JPEG."""
    digits = _digits()
    side = min(width_px, height_px) // 2
    ink = np.zeros((height_px, width_px), np.float32)
    top, left = height_px // 4, width_px // 4
    ink[top : top + side, left : left + side] = _stroke(digits[random.integers(len(digits))], side)
    y, x = np.mgrid[0 : 1 : height_px * 1j, 0 : 1 : width_px * 1j].astype(np.float32)
    paper = (225 - 150 * ink) * (1 - 0.3 * x - 0.1 * y)
    paper += random.standard_normal(paper.shape, np.float32) * 3
    channels = [np.clip(paper * tint, 0, 255).astype(np.uint8) for tint in (1, 0.98, 0.92)]
    file = io.BytesIO()
    Image.fromarray(np.stack(channels, axis=2)).save(file, "JPEG", quality=90)
    return file.getvalue()


def _small_png(random: np.random.Generator) -> bytes:
    """Draw a small dark digit at a random place on light paper; return a grayscale PNG."""
    digits = _digits()
    side = int(random.integers(14, 22))
    top, left = random.integers(2, _PNG_SIDE_PX - side - 1, 2)
    ink = np.zeros((_PNG_SIDE_PX, _PNG_SIDE_PX), np.float32)
    ink[top : top + side, left : left + side] = _stroke(digits[random.integers(len(digits))], side)
    noisy = 235 - 190 * ink + random.normal(0, 1, ink.shape)
    file = io.BytesIO()
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()
