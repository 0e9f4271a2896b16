"""Runs one benchmark case in a subprocess; started by `benchmarks.harness.subprocesses`.

Reads the request from a folder, runs it, and writes the response or an error into the folder. Most
imports are inside functions, because the time of importing the engine is one of the measurements.
"""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.harness.messages import (
        Explanation,
        LatencyRequest,
        LatencyResponse,
        PredictRequest,
        PredictResponse,
        Roofline,
    )


def main(argv: list[str]) -> int:
    """Run `benchmarks.worker KIND FOLDER SPAWNED_NS`; return the exit status.

    Args:
        argv: the kind of request ("scores", "latency", "peak" or "explain"), the folder of its
            files, and the time of `time.monotonic_ns` at which the process was started. All
            processes of a machine share that clock.
    """
    entered_ns = time.monotonic_ns()
    process_ns = entered_ns - int(argv[2])
    from benchmarks.harness import subprocesses
    from benchmarks.harness.cases import ABSENT, FAILED, INVALID
    from benchmarks.harness.messages import (
        ExplainRequest,
        LatencyRequest,
        PredictRequest,
        RooflineRequest,
    )
    from benchmarks.harness.serialize import from_json, to_json
    from runtime.backends import CpuFallbackError
    from runtime.errors import BackendUnavailable, EdgeError

    kind, folder = argv[0], Path(argv[1])
    text = (folder / subprocesses.REQUEST_FILE).read_text("utf-8")
    stage = folder / subprocesses.STAGE_FILE
    response: PredictResponse | LatencyResponse | Roofline | Explanation
    try:
        if kind == "scores":
            response = _scores(from_json(PredictRequest, text, "the request"), stage)
        elif kind == "peak":
            from benchmarks.latency import roofline

            response = roofline.measure(from_json(RooflineRequest, text, "the request"))
        elif kind == "explain":
            from benchmarks.quantization import explain

            stage.write_text("tracing the layers", "utf-8")
            response = explain.explain(from_json(ExplainRequest, text, "the request"))
        else:
            response = _latency(
                from_json(LatencyRequest, text, "the request"), stage, process_ns, entered_ns
            )
    except EdgeError as error:
        status = ABSENT if isinstance(error, BackendUnavailable) else FAILED
        status = INVALID if isinstance(error, CpuFallbackError) else status
        failure = to_json(subprocesses.WorkerError(status, " ".join(str(error).split())))
        (folder / subprocesses.ERROR_FILE).write_text(failure, "utf-8")
        return error.exit_code
    (folder / subprocesses.RESPONSE_FILE).write_text(to_json(response), "utf-8")
    return 0


def _scores(job: "PredictRequest", stage: Path) -> "PredictResponse":
    """Predict all images; compare the scores of the first three alone and in one batch."""
    import numpy as np

    from benchmarks.harness.keras_reference import KerasBackend
    from benchmarks.harness.messages import PredictResponse
    from benchmarks.latency.scenarios import open_case
    from runtime.model import artifact

    stage.write_text("opening the model", "utf-8")
    backend = open_case(artifact.read(job.model), job.case)
    pixels = np.load(job.pixels)
    stage.write_text("predicting one image", "utf-8")
    few = pixels[:3]
    alone = np.concatenate([backend.scores(image[np.newaxis]) for image in few])
    stage.write_text("predicting a batch, after single images succeeded", "utf-8")
    batched = backend.scores(few)
    stage.write_text("predicting the test set", "utf-8")
    scores = backend.scores(pixels)
    np.save(job.scores, scores)
    finite = np.isfinite(alone) & np.isfinite(batched)
    difference = np.abs(alone - batched)[finite].max(initial=0.0)
    if not isinstance(backend, KerasBackend):
        return PredictResponse(backend.version, float(difference))
    return PredictResponse(
        backend.version,
        float(difference),
        backend.macs,
        backend.parameters,
        backend.activations,
    )


def _latency(
    job: "LatencyRequest", stage: Path, process_ns: int, entered_ns: int
) -> "LatencyResponse":
    """Measure the cold start of this process, then time the requested scenarios.

    Args:
        job: the request.
        stage: the file to report the current step in.
        process_ns: time from the start of this process to its first line of Python.
        entered_ns: the time of that line.
    """
    from benchmarks.harness.machine import peak_memory_bytes
    from benchmarks.harness.messages import LatencyResponse, StartUp

    stage.write_text("importing the engine", "utf-8")
    from benchmarks.latency import scenarios

    scenarios.import_engine(job.case)
    imported_ns = time.monotonic_ns()
    from runtime.model import artifact

    stage.write_text("opening the model", "utf-8")
    opened = artifact.read(job.model)
    backend = scenarios.open_case(opened, job.case)
    loaded_ns = time.monotonic_ns()
    images = scenarios.images_of(opened.spec)
    stage.write_text("predicting one image", "utf-8")
    first_start_ns = time.monotonic_ns()
    backend.scores(images[:1])
    first_end_ns = time.monotonic_ns()
    start = StartUp(
        process_ns=process_ns,
        import_ns=imported_ns - entered_ns,
        load_ns=loaded_ns - imported_ns,
        first_ns=first_end_ns - first_start_ns,
        peak_bytes=peak_memory_bytes(),
    )
    stage.write_text("timing the scenarios", "utf-8")
    series = scenarios.measure_all(job, opened, backend, images)
    return LatencyResponse(backend.version, start, series, backend.fallback)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
