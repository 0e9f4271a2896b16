"""The process of a benchmark case: reads a request, does it, writes the response."""

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
    """`worker KIND FOLDER SPAWNED_NS`; the monotonic clock is the same in all processes."""
    entered = time.monotonic_ns()
    process_ns = entered - int(argv[2])
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
    text = (folder / subprocesses.JOB_FILE).read_text("utf-8")
    stage = folder / subprocesses.STAGE_FILE
    answer: PredictResponse | LatencyResponse | Roofline | Explanation
    try:
        if kind == "scores":
            answer = _scores(from_json(PredictRequest, text, "the job"), stage)
        elif kind == "peak":
            from benchmarks.latency import roofline

            answer = roofline.measure(from_json(RooflineRequest, text, "the job"))
        elif kind == "explain":
            from benchmarks.quantization import explain

            stage.write_text("tracing the layers", "utf-8")
            answer = explain.explain(from_json(ExplainRequest, text, "the job"))
        else:
            answer = _latency(
                from_json(LatencyRequest, text, "the job"), stage, process_ns, entered
            )
    except EdgeError as error:
        status = ABSENT if isinstance(error, BackendUnavailable) else FAILED
        status = INVALID if isinstance(error, CpuFallbackError) else status
        refusal = to_json(subprocesses.Refusal(status, " ".join(str(error).split())))
        (folder / subprocesses.REFUSAL_FILE).write_text(refusal, "utf-8")
        return error.exit_code
    (folder / subprocesses.ANSWER_FILE).write_text(to_json(answer), "utf-8")
    return 0


def _scores(job: "PredictRequest", stage: Path) -> "PredictResponse":
    import numpy as np

    from benchmarks.harness.keras_reference import KerasBackend
    from benchmarks.harness.messages import PredictResponse
    from benchmarks.latency.scenarios import open_row
    from runtime.model import artifact

    stage.write_text("opening the model", "utf-8")
    backend = open_row(artifact.read(job.model), job.case)
    pixels = np.load(job.pixels)
    stage.write_text("answering one image", "utf-8")
    few = pixels[:3]
    alone = np.concatenate([backend.scores(image[np.newaxis]) for image in few])
    stage.write_text("answering a batch, after single images went well", "utf-8")
    together = backend.scores(few)
    stage.write_text("answering the test set", "utf-8")
    scores = backend.scores(pixels)
    np.save(job.scores, scores)
    finite = np.isfinite(alone) & np.isfinite(together)
    difference = np.abs(alone - together)[finite].max(initial=0.0)
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
    job: "LatencyRequest", stage: Path, process_ns: int, entered: int
) -> "LatencyResponse":
    from benchmarks.harness.machine import peak_memory_bytes
    from benchmarks.harness.messages import LatencyResponse, StartUp

    stage.write_text("importing the engine", "utf-8")
    from benchmarks.latency import scenarios

    scenarios.import_engine(job.case)
    imported = time.monotonic_ns()
    from runtime.model import artifact

    stage.write_text("opening the model", "utf-8")
    opened = artifact.read(job.model)
    backend = scenarios.open_row(opened, job.case)
    loaded = time.monotonic_ns()
    images = scenarios.images_of(opened.spec)
    stage.write_text("answering one image", "utf-8")
    asked = time.monotonic_ns()
    backend.scores(images[:1])
    answered = time.monotonic_ns()
    start = StartUp(
        process_ns, imported - entered, loaded - imported, answered - asked, peak_memory_bytes()
    )
    stage.write_text("being timed", "utf-8")
    series = scenarios.measure_all(job, opened, backend, images)
    return LatencyResponse(backend.version, start, series, backend.fallback)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
