"""The timed loops of the latency benchmark; they run in the process of a case."""

import gc
import importlib
import io
import random
import time
from array import array
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.harness import messages
from benchmarks.harness.cases import BenchmarkCase
from benchmarks.harness.messages import LatencyRequest, TimingSeries
from runtime.backends import ENGINES, Backend, Pixels, open_backend
from runtime.model.artifact import Artifact
from runtime.model.spec import ModelSpec

# Calls of one kind in a row before the other kind's turn, where two are measured together.
_BLOCK = 20
_WARM_UP_SHARE = 0.1
_WARM_UP_CALLS = 3
OFFLINE_BATCHES = (1, 16, 64, 256, 1024)
_IMAGES = 64
# Calls of many images: each is a sample of many already.
_MANY_CALLS = 2
_JPEG_SIZE = (1024, 768)


@dataclass(frozen=True)
class TimedCall:
    """A call to be timed; it is given a running number to choose its input by.

    `turn` is how many calls of it are timed before another kind's turn, where several are.
    """

    scenario: str
    batch: int
    call: Callable[[int], object]
    turn: int = _BLOCK


def open_row(artifact: Artifact, case: BenchmarkCase) -> Backend:
    """Open an artifact as the row says, a .keras one with the reference.

    Raises:
        BackendUnavailable: the engine or device is not there.
        ArtifactError: the engine refuses the model.
    """
    if artifact.format == ".keras":
        from benchmarks.harness import keras_reference

        return keras_reference.open_artifact(artifact, case.backend, case.threads, case.device)
    return open_backend(artifact, case.backend, case.threads, case.device)


def import_engine(case: BenchmarkCase) -> None:
    """Import the row's engine, so that opening it later costs no import.

    An engine that is not there is found out, and said, by `open_row`.
    """
    package = next((e.package for e in ENGINES if e.name == case.backend), None)
    if package is None:
        from benchmarks.harness import keras_reference

        keras_reference.import_keras(case.backend, case.device)
        return
    module = package if package == "onnxruntime" else f"{package}.interpreter"
    with suppress(ImportError):
        importlib.import_module(module)


def images_of(spec: ModelSpec) -> Pixels:
    """Images to time with, (64, 28, 28, 1) uint8: the artifact's golden inputs, repeated.

    The work of a convolution does not depend on its input, so any digits serve; these need no
    data set.
    """
    if spec.golden is not None and len(spec.golden.pixels):
        return np.resize(spec.golden.pixels, (_IMAGES, *spec.fixed_shape))
    return np.random.default_rng(0).integers(0, 256, (_IMAGES, *spec.fixed_shape), np.uint8)


def measure_all(
    job: LatencyRequest, artifact: Artifact, backend: Backend, images: Pixels
) -> tuple[TimingSeries, ...]:
    """Time each scenario of `job`, one after the other."""
    series: list[TimingSeries] = []
    for scenario in job.scenarios:
        if scenario == messages.MANY_SCORES:
            few = replace(job, min_count=_MANY_CALLS)
            series += measure(_many(job, artifact, backend, images), few)
        else:
            series += measure(_calls(scenario, job, artifact, backend, images), job)
    return tuple(series)


def measure(calls: Sequence[TimedCall], job: LatencyRequest) -> list[TimingSeries]:
    """Time calls in turns, a block of each, after a warm-up and without garbage collection.

    Goes on until each has had `min_count` calls that took `min_seconds` together.
    """
    least_ns = int(job.min_seconds * 1e9)
    taken = [array("q") for _ in calls]
    clock = time.perf_counter_ns
    number = 0
    spent = [0] * len(calls)
    warm_ns, began = int(least_ns * len(calls) * _WARM_UP_SHARE), clock()
    while number < _WARM_UP_CALLS or clock() - began < warm_ns:
        for timed in calls:
            timed.call(number)
        number += 1
    collecting = gc.isenabled()
    gc.disable()
    try:
        while len(taken[0]) < job.min_count or min(spent) < least_ns:
            for which, timed in enumerate(calls):
                call, samples = timed.call, taken[which]
                turn = timed.turn if len(calls) > 1 else 1
                for at in range(number, number + turn):
                    start = clock()
                    call(at)
                    samples.append(clock() - start)
                    spent[which] += samples[-1]
            number += turn
    finally:
        if collecting:
            gc.enable()
    return [_series(timed, samples) for timed, samples in zip(calls, taken, strict=True)]


def subsample(samples: Sequence[int], most: int) -> tuple[int, ...]:
    """One sample drawn from each of `most` equal stretches, in order; all where there are fewer.

    Drawn at random, not at a fixed step, which a periodic disturbance could fall in with.
    """
    if len(samples) <= most:
        return tuple(samples)
    draw = random.Random(0)
    edges = [len(samples) * n // most for n in range(most + 1)]
    return tuple(samples[draw.randrange(edges[n], edges[n + 1])] for n in range(most))


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
    singles = [image[np.newaxis] for image in images]
    if scenario == messages.SINGLE:
        return [TimedCall(scenario, 1, lambda n: backend.scores(singles[n % _IMAGES]))]
    if scenario == messages.OFFLINE:
        size = job.batch or _fastest(backend.scores, images)
        batch = np.resize(images, (size, *images.shape[1:]))
        return [TimedCall(scenario, size, lambda n: backend.scores(batch))]

    from runtime.classifier import Classifier
    from runtime.preprocess.pipeline import to_pixels

    classifier = Classifier(backend)
    if scenario == messages.CLASSIFY:
        from benchmarks.latency import engine_only

        engine = engine_only.open_artifact(artifact, job.case.backend, job.case.threads)
        prepared = [engine.prepare(image) for image in singles]
        return [
            TimedCall(scenario, 1, lambda n: classifier.classify(images[n % _IMAGES])),
            TimedCall(messages.BARE, 1, lambda n: engine.run(prepared[n % _IMAGES])),
        ]
    if scenario == messages.PNG:
        files, preprocessing = [png(image) for image in images], messages.PNG_PREPROCESSING
    else:
        files, preprocessing = [_jpeg(image) for image in images[:8]], messages.JPEG_PREPROCESSING
    return [
        TimedCall(scenario, 1, lambda n: classifier.classify(files[n % len(files)])),
        TimedCall(preprocessing, 1, lambda n: to_pixels(files[n % len(files)])),
    ]


def _many(
    job: LatencyRequest, artifact: Artifact, backend: Backend, images: Pixels
) -> list[TimedCall]:
    """Many arrays at once, beside as many in the bare engine's fastest batches."""
    from benchmarks.latency import engine_only
    from runtime.classifier import Classifier

    classifier = Classifier(backend)
    pixels = np.resize(images, (job.images, *images.shape[1:]))
    arrays = list(pixels)
    engine = engine_only.open_artifact(artifact, job.case.backend, job.case.threads)

    size = job.bare_batch or _fastest(
        lambda batch: engine.run(engine.prepare(batch)), images, engine.resize
    )
    engine.resize(size)
    prepared = engine.prepare(np.resize(images, (size, *images.shape[1:])))
    return [
        TimedCall(messages.MANY_SCORES, job.images, lambda n: classifier.scores(pixels), 1),
        TimedCall(
            messages.MANY_CLASSIFY, job.images, lambda n: classifier.classify_batch(arrays), 1
        ),
        TimedCall(messages.MANY_BARE, size, lambda n: engine.run(prepared), -(-job.images // size)),
    ]


def _fastest(
    ask: Callable[[Pixels], object],
    images: Pixels,
    resize: Callable[[int], None] = lambda size: None,
) -> int:
    """The number of images a call at which most are answered in a second."""
    rates = []
    for size in OFFLINE_BATCHES:
        batch = np.resize(images, (size, *images.shape[1:]))
        resize(size)
        ask(batch)
        times = []
        for _ in range(3):
            start = time.perf_counter_ns()
            ask(batch)
            times.append(time.perf_counter_ns() - start)
        rates.append(size / min(times))
    return OFFLINE_BATCHES[rates.index(max(rates))]


def png(image: Pixels) -> bytes:
    """A digit (28, 28, 1) as the bytes of a PNG file, white on black."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image[:, :, 0]).save(buffer, "PNG")
    return buffer.getvalue()


def _jpeg(image: Pixels) -> bytes:
    """A page of 1024×768 with the digit written dark on gray, as a camera would deliver it."""
    from PIL import Image

    page = Image.new("L", _JPEG_SIZE, 200)
    digit = Image.fromarray(image[:, :, 0]).resize((400, 400), Image.Resampling.BICUBIC)
    page.paste(40, (300, 180), digit)
    buffer = io.BytesIO()
    page.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
