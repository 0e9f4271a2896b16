"""Measures preprocessing and classification of an image, as a ratio to decoding it."""

import io
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.schema.photos import Speed
from runtime.classifier import Classifier

# Width, height, how many pictures, how often each is read, and the ratio to stay below.
_JPEGS = ((1000, 1000, 6, 12, 1.0), (1024, 768, 6, 12, 1.0), (4000, 3000, 2, 6, 0.6))
_PNG_SIDE, _PNGS, _PNG_REPETITIONS, _PNG_LIMIT = 28, 200, 15, 4.0
_SEED = 50


def measure_speed(classifier: Classifier) -> tuple[Speed, ...]:
    """Time JPEG photographs of one and of twelve megapixels, and PNG files of 28x28."""
    random = np.random.default_rng(_SEED)
    speeds = []
    with _one_core():
        for width, height, count, repetitions, limit in _JPEGS:
            files = [_photograph(width, height, random) for _ in range(count)]
            name = f"JPEG {width}x{height}"
            speeds.append(_time(name, files, classifier, repetitions, limit))
        files = [_small(random) for _ in range(_PNGS)]
        name = f"PNG {_PNG_SIDE}x{_PNG_SIDE}, not in MNIST's form"
        speeds.append(_time(name, files, classifier, _PNG_REPETITIONS, _PNG_LIMIT))
    return tuple(speeds)


@contextmanager
def _one_core() -> Iterator[None]:
    """Keep this process on one core, where the system can."""
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
    name: str, files: list[bytes], classifier: Classifier, repetitions: int, limit: float
) -> Speed:
    decoded, classified = [10**12] * len(files), [10**12] * len(files)
    for _ in range(repetitions):
        for number, data in enumerate(files):
            start = time.perf_counter_ns()
            with Image.open(io.BytesIO(data)) as image:
                image.load()
            middle = time.perf_counter_ns()
            classifier.classify(data)
            end = time.perf_counter_ns()
            decoded[number] = min(decoded[number], middle - start)
            classified[number] = min(classified[number], end - middle)
    return Speed(name, len(files), statistics.median(decoded), statistics.median(classified), limit)


def _digits() -> npt.NDArray[np.float32]:
    from sklearn.datasets import load_digits

    return load_digits().images.astype(np.float32) / 16


def _stroke(digit: npt.NDArray[np.float32], side: int) -> npt.NDArray[np.float32]:
    """An embedded digit, 8x8, as a pen's even stroke."""
    image = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)
    stroke: npt.NDArray[np.float32] = np.clip((np.asarray(image) - 0.35) * 5, 0, 1)
    return stroke


def _photograph(width: int, height: int, random: np.random.Generator) -> bytes:
    """A digit on paper under slanting light, with a sensor's noise, as a color JPEG."""
    digits = _digits()
    side = min(width, height) // 2
    ink = np.zeros((height, width), np.float32)
    top, left = height // 4, width // 4
    ink[top : top + side, left : left + side] = _stroke(digits[random.integers(len(digits))], side)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j].astype(np.float32)
    paper = (225 - 150 * ink) * (1 - 0.3 * x - 0.1 * y)
    paper += random.standard_normal(paper.shape, np.float32) * 3
    channels = [np.clip(paper * tint, 0, 255).astype(np.uint8) for tint in (1, 0.98, 0.92)]
    file = io.BytesIO()
    Image.fromarray(np.stack(channels, axis=2)).save(file, "JPEG", quality=90)
    return file.getvalue()


def _small(random: np.random.Generator) -> bytes:
    """A small dark digit anywhere on a light ground."""
    digits = _digits()
    side = int(random.integers(14, 22))
    top, left = random.integers(2, _PNG_SIDE - side - 1, 2)
    ink = np.zeros((_PNG_SIDE, _PNG_SIDE), np.float32)
    ink[top : top + side, left : left + side] = _stroke(digits[random.integers(len(digits))], side)
    noisy = 235 - 190 * ink + random.normal(0, 1, ink.shape)
    file = io.BytesIO()
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()
