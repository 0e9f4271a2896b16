"""Measures the time to classify an encoded image, as a ratio to the time to decode it.

`benchmarks.photos.run` calls `measure_speed`. The images are drawn: color JPEG photographs of a
digit, and small grayscale PNG files. Pillow's decoding and the classification run in turns on one
core. Their ratio can therefore be compared between machines.
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
        width_px: width of the photographs.
        height_px: height of the photographs.
        files: number of drawn photographs.
        repetitions: number of timings of each photograph; the shortest counts.
        max_ratio: largest classification time divided by decoding time that meets the target.
    """

    width_px: int
    height_px: int
    files: int
    repetitions: int
    max_ratio: float


# The sizes of JPEG photographs to time: two of about one megapixel, and one of twelve megapixels.
_JPEG_TIMINGS = (
    _JpegTiming(width_px=1000, height_px=1000, files=6, repetitions=12, max_ratio=1.0),
    _JpegTiming(width_px=1024, height_px=768, files=6, repetitions=12, max_ratio=1.0),
    _JpegTiming(width_px=4000, height_px=3000, files=2, repetitions=6, max_ratio=0.6),
)
_PNG_SIDE_PX = 28  # width and height of the PNG files
_PNG_FILES = 200  # number of drawn PNG files
_PNG_REPETITIONS = 15  # number of timings of each PNG file; the shortest counts
_PNG_MAX_RATIO = 4.0  # a larger classification time divided by decoding time misses the target
_SEED = 50  # of the drawn images; another seed draws other digits and noise
_LONGEST_NS = 10**12  # start value of the search for the shortest time, longer than any timing


def measure_speed(classifier: Classifier) -> tuple[Speed, ...]:
    """Measure JPEG photographs of one and twelve megapixels, and PNG files of 28×28.

    Returns:
        One result for each size in `_JPEG_TIMINGS`, then one for the PNG files.

    Raises:
        ModuleNotFoundError: scikit-learn is not installed.
    """
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
    """Pin this process to one core during the block, if the operating system supports it."""
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
    """Time decoding and classifying of encoded images in turns.

    Args:
        name: the kind of images, for the report.
        files: the encoded images.
        classifier: the model under test.
        repetitions: number of timings of each image; the shortest counts.
        max_ratio: the target for the ratio of the two times.
    """
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

    images: npt.NDArray[np.float32] = load_digits().images.astype(np.float32) / 16  # full ink is 16
    return images


def _stroke(digit: npt.NDArray[np.float32], side_px: int) -> npt.NDArray[np.float32]:
    """Enlarge a digit of 8×8 to (side_px, side_px), with the sharp edges of a pen stroke."""
    image = Image.fromarray(digit).resize((side_px, side_px), Image.Resampling.BICUBIC)
    # Ink above 0.55 becomes full ink, below 0.35 paper; the edge between is linear.
    stroke: npt.NDArray[np.float32] = np.clip((np.asarray(image) - 0.35) * 5, 0, 1)
    return stroke


def _photograph(width_px: int, height_px: int, random: np.random.Generator) -> bytes:
    """Draw a digit on paper under slanting light, with sensor noise; return a color JPEG."""
    digits = _digits()
    side = min(width_px, height_px) // 2  # the digit is half as high as the photograph
    ink = np.zeros((height_px, width_px), np.float32)
    top, left = height_px // 4, width_px // 4
    ink[top : top + side, left : left + side] = _stroke(digits[random.integers(len(digits))], side)
    y, x = np.mgrid[0 : 1 : height_px * 1j, 0 : 1 : width_px * 1j].astype(np.float32)
    # Gray level 225 for paper and 75 for ink. Light falls by 30 % to the right and 10 % downwards.
    paper = (225 - 150 * ink) * (1 - 0.3 * x - 0.1 * y)
    paper += random.standard_normal(paper.shape, np.float32) * 3  # sensor noise
    # The factors of red, green and blue make the paper slightly yellow.
    channels = [np.clip(paper * tint, 0, 255).astype(np.uint8) for tint in (1, 0.98, 0.92)]
    file = io.BytesIO()
    Image.fromarray(np.stack(channels, axis=2)).save(file, "JPEG", quality=90)
    return file.getvalue()


def _small_png(random: np.random.Generator) -> bytes:
    """Draw a small dark digit at a random place on light paper; return a grayscale PNG."""
    digits = _digits()
    side = int(random.integers(14, 22))  # of the digit in pixels; MNIST's digits fit in 20
    top, left = random.integers(2, _PNG_SIDE_PX - side - 1, 2)
    ink = np.zeros((_PNG_SIDE_PX, _PNG_SIDE_PX), np.float32)
    ink[top : top + side, left : left + side] = _stroke(digits[random.integers(len(digits))], side)
    noisy = 235 - 190 * ink + random.normal(0, 1, ink.shape)  # 235 for paper, 45 for ink
    file = io.BytesIO()
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()
