"""Times the scenarios of the latency benchmark, inside the subprocess of a case.

Opens the engine, prepares the input of each scenario, and runs the timed loop.
"""

import gc
import importlib
import io
import itertools
import math
import random
import time
from array import array
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.harness import messages
from benchmarks.harness.cases import BenchmarkCase
from benchmarks.harness.messages import LatencyRequest, TimingSeries
from runtime.backends import ENGINES, Backend, Pixels, open_backend
from runtime.model.artifact import Artifact
from runtime.model.spec import ModelSpec

if TYPE_CHECKING:
    from PIL import Image

_TURN_CALLS = 20  # calls of a scenario in a row, if it is timed in turns with another scenario
_WARM_UP_SHARE = 0.1  # of the minimum duration; the warm-up before the timing takes that long
_WARM_UP_CALLS = 3  # of each scenario in the warm-up, at least
OFFLINE_BATCHES = (1, 16, 64, 256, 1024)  # images per call that are tried to find the fastest
_BATCH_TRIES = 3  # timed calls of each of these batch sizes; the fastest call counts
_IMAGES = 64  # different images that the calls of a scenario cycle through
_JPEG_FILES = 8  # different JPEG files that the calls of JPEG cycle through
_MANY_MIN_CALLS = 2  # replaces --min-count for MANY, whose calls process thousands of images each
# The page of the JPEG scenario:
_JPEG_SIZE_PX = (1024, 768)  # width, height
_JPEG_DIGIT_SIDE_PX = 400
_JPEG_DIGIT_AT_PX = (300, 180)  # left, top
_JPEG_PAPER_GRAY = 200  # gray level of the page, 0 to 255
_JPEG_INK_GRAY = 40  # gray level of the digit, 0 to 255
_JPEG_QUALITY = 90  # of the compression, 0 to 100


@dataclass(frozen=True)
class TimedCall:
    """A scenario to be timed.

    Attributes:
        scenario: the name of the scenario.
        batch: images per call.
        call: the function to time; its argument is the number of the call, to vary the input.
        turn: number of calls in a row, if several scenarios are timed in turns.
    """

    scenario: str
    batch: int
    call: Callable[[int], object]
    turn: int = _TURN_CALLS


def open_case(artifact: Artifact, case: BenchmarkCase) -> Backend:
    """Open an artifact with the engine, device and threads of a case.

    Raises:
        BackendUnavailable: the engine is not installed, or the device is missing.
        ArtifactError: the engine cannot load the model.
    """
    if artifact.format == ".keras":
        from benchmarks.harness import keras_reference

        return keras_reference.open_artifact(artifact, case.backend, case.threads, case.device)
    return open_backend(artifact, case.backend, case.threads, case.device)


def import_engine(case: BenchmarkCase) -> None:
    """Import the engine of a case, so that `open_case` does not include the import.

    A missing engine is ignored here; `open_case` raises BackendUnavailable.
    """
    module = next((e.imports for e in ENGINES if e.name == case.backend), None)
    if module is None:
        from benchmarks.harness import keras_reference

        keras_reference.import_keras(case.backend, case.device)
        return
    with suppress(ImportError):
        importlib.import_module(module)


def images_of(spec: ModelSpec) -> Pixels:
    """Return images to time with, (64, 28, 28, 1) uint8, without the need for a data set.

    They are the artifact's golden inputs, repeated, or noise if it has none. The duration of a
    convolution does not depend on its input.
    """
    if spec.golden is not None and len(spec.golden.pixels):
        return np.resize(spec.golden.pixels, (_IMAGES, *spec.fixed_shape))
    return np.random.default_rng(0).integers(0, 256, (_IMAGES, *spec.fixed_shape), np.uint8)


def measure_all(
    job: LatencyRequest, artifact: Artifact, backend: Backend, images: Pixels
) -> tuple[TimingSeries, ...]:
    """Time the scenarios of `job`, one after the other.

    Args:
        job: the scenarios and their minimum duration and count.
        artifact: the model.
        backend: the backend that holds the model.
        images: the images to run it on, (N, 28, 28, 1) uint8.
    """
    series: list[TimingSeries] = []
    for scenario in job.scenarios:
        if scenario == messages.MANY_SCORES:
            few_calls = replace(job, min_count=_MANY_MIN_CALLS)
            series += measure(_many(job, artifact, backend, images), few_calls)
        else:
            series += measure(_calls(scenario, job, artifact, backend, images), job)
    return tuple(series)


def measure(calls: Sequence[TimedCall], job: LatencyRequest) -> list[TimingSeries]:
    """Time calls in turns, after a warm-up and with garbage collection disabled.

    Each call is repeated at least `job.min_count` times and for at least `job.min_seconds`.
    """
    min_ns = int(job.min_seconds * 1e9)
    durations_ns = [array("q") for _ in calls]
    clock = time.perf_counter_ns
    number = 0
    total_ns = [0] * len(calls)
    warm_up_ns, warm_up_start = int(min_ns * len(calls) * _WARM_UP_SHARE), clock()
    while number < _WARM_UP_CALLS or clock() - warm_up_start < warm_up_ns:
        for timed in calls:
            timed.call(number)
        number += 1
    gc_was_enabled = gc.isenabled()
    gc.disable()
    try:
        while len(durations_ns[0]) < job.min_count or min(total_ns) < min_ns:
            for index, timed in enumerate(calls):
                call, samples = timed.call, durations_ns[index]
                turn = timed.turn if len(calls) > 1 else 1
                for call_number in range(number, number + turn):
                    start = clock()
                    call(call_number)
                    samples.append(clock() - start)
                    total_ns[index] += samples[-1]
            number += turn
    finally:
        if gc_was_enabled:
            gc.enable()
    return [_series(timed, samples) for timed, samples in zip(calls, durations_ns, strict=True)]


def subsample(samples: Sequence[int], max_samples: int) -> tuple[int, ...]:
    """Return one sample, drawn at random, from each of `max_samples` equal intervals, in order.

    If there are not more samples than that, all are returned. A random draw, unlike a fixed step,
    cannot coincide with a periodic disturbance.
    """
    if len(samples) <= max_samples:
        return tuple(samples)
    generator = random.Random(0)
    edges = [len(samples) * n // max_samples for n in range(max_samples + 1)]
    return tuple(
        samples[generator.randrange(start, end)] for start, end in itertools.pairwise(edges)
    )


def _series(timed: TimedCall, samples: "array[int]") -> TimingSeries:
    return TimingSeries(
        scenario=timed.scenario,
        batch=timed.batch,
        count=len(samples),
        total_ns=sum(samples),
        slowest_ns=max(samples),
        samples_ns=subsample(samples, messages.MAX_SAMPLES),
    )


def _calls(
    scenario: str, job: LatencyRequest, artifact: Artifact, backend: Backend, images: Pixels
) -> list[TimedCall]:
    """Return the calls of a scenario, and those of the scenario that is timed in turns with it."""
    singles = [image[np.newaxis] for image in images]
    if scenario == messages.SINGLE:
        return [TimedCall(scenario, 1, lambda n: backend.scores(singles[n % _IMAGES]))]
    if scenario == messages.OFFLINE:
        size = job.batch or _fastest(backend.scores, images)
        batch = np.resize(images, (size, *images.shape[1:]))
        return [TimedCall(scenario, size, lambda n: backend.scores(batch))]

    from runtime.classifier import Classifier

    classifier = Classifier(backend)
    if scenario == messages.CLASSIFY:
        from benchmarks.latency import engine_only

        classify = TimedCall(scenario, 1, lambda n: classifier.classify(images[n % _IMAGES]))
        engine = engine_only.open_artifact(artifact, job.case.backend, job.case.threads)
        if engine is None:
            return [classify]
        run, prepared = engine.run, [engine.prepare(image) for image in singles]
        return [classify, TimedCall(messages.BARE, 1, lambda n: run(prepared[n % _IMAGES]))]
    if scenario == messages.PNG:
        files, preprocessing = [png(image) for image in images], messages.PNG_PREPROCESSING
    else:
        files = [_jpeg(image) for image in images[:_JPEG_FILES]]
        preprocessing = messages.JPEG_PREPROCESSING
    return [
        TimedCall(scenario, 1, lambda n: classifier.classify(files[n % len(files)])),
        TimedCall(preprocessing, 1, lambda n: classifier.preprocess(files[n % len(files)])),
    ]


def _many(
    job: LatencyRequest, artifact: Artifact, backend: Backend, images: Pixels
) -> list[TimedCall]:
    """Return the calls of MANY: `job.images` arrays by the Classifier, and by the bare engine.

    Without an opener for the bare engine, only those of the Classifier.
    """
    from benchmarks.latency import engine_only
    from runtime.classifier import Classifier

    classifier = Classifier(backend)
    pixels = np.resize(images, (job.images, *images.shape[1:]))
    arrays = list(pixels)
    calls = [
        TimedCall(messages.MANY_SCORES, job.images, lambda n: classifier.scores(pixels), 1),
        TimedCall(
            messages.MANY_CLASSIFY, job.images, lambda n: classifier.classify_batch(arrays), 1
        ),
    ]
    engine = engine_only.open_artifact(artifact, job.case.backend, job.case.threads)
    if engine is None:
        return calls
    run, prepare = engine.run, engine.prepare
    size = job.bare_batch or _fastest(lambda batch: run(prepare(batch)), images, engine.resize)
    engine.resize(size)
    prepared = prepare(np.resize(images, (size, *images.shape[1:])))
    turn = math.ceil(job.images / size)
    return [*calls, TimedCall(messages.MANY_BARE, size, lambda n: run(prepared), turn)]


def _fastest(
    predict: Callable[[Pixels], object],
    images: Pixels,
    resize: Callable[[int], None] = lambda size: None,
) -> int:
    """Return the batch size of `OFFLINE_BATCHES` with the highest throughput.

    Args:
        predict: runs the model on a batch.
        images: the images to make the batches of.
        resize: called with each batch size before it is used.
    """
    rates = []
    for size in OFFLINE_BATCHES:
        batch = np.resize(images, (size, *images.shape[1:]))
        resize(size)
        predict(batch)
        times_ns = []
        for _ in range(_BATCH_TRIES):
            start = time.perf_counter_ns()
            predict(batch)
            times_ns.append(time.perf_counter_ns() - start)
        rates.append(size / min(times_ns))
    return OFFLINE_BATCHES[rates.index(max(rates))]


def png(image: Pixels) -> bytes:
    """Return pixels (height, width, channels) as a PNG file; a digit is white on black."""
    buffer = io.BytesIO()
    _picture(image).save(buffer, "PNG")
    return buffer.getvalue()


def _picture(image: Pixels) -> "Image.Image":
    from PIL import Image

    return Image.fromarray(image if image.shape[2] == 3 else image[:, :, 0])


def _jpeg(image: Pixels) -> bytes:
    """Return pixels as a JPEG file of camera size; a digit dark on a gray page."""
    from PIL import Image

    if image.shape[2] == 3:
        page = _picture(image).resize(_JPEG_SIZE_PX, Image.Resampling.BICUBIC)
    else:
        page = Image.new("L", _JPEG_SIZE_PX, _JPEG_PAPER_GRAY)
        side = (_JPEG_DIGIT_SIDE_PX, _JPEG_DIGIT_SIDE_PX)
        digit = _picture(image).resize(side, Image.Resampling.BICUBIC)
        page.paste(_JPEG_INK_GRAY, _JPEG_DIGIT_AT_PX, digit)
    buffer = io.BytesIO()
    page.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()
