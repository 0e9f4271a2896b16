"""Runs LiteRT's own benchmark tool on the same .tflite files, to check this project's timings.

`benchmarks.latency.run` calls `measure`. The tool is part of the wheel of ai-edge-litert since
version 2.2.
"""

import json
import math
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.harness import messages, subprocesses
from benchmarks.harness.cases import ABSENT, BenchmarkCase, ExternalPython, SkippedCase
from benchmarks.schema.latency import BenchmarkToolResult, LatencyResult, Settings
from runtime.errors import EdgeError
from runtime.model import artifact
from runtime.system.own_modules import module_command

MODULE = "ai_edge_litert.tools.benchmark_litert_model"  # the tool, started by `python -m`
_ITEM_BYTES = {
    "float32": 4,
    "float16": 4,
    "int8": 1,
}  # size of an input value, by the artifact's precision
_MAX_RUNS = 1_000_000  # calls in one repetition; a repetition that needs more calls is shortened
_RUNS_PER_WARM_UP_RUN = 10  # one call before the timing for this number of timed calls
_MIN_WARM_UP_RUNS = 3  # smallest number of calls before the timing


def measure(
    models: Path,
    results: Sequence[LatencyResult],
    settings: Settings,
    external_pythons: tuple[ExternalPython, ...] = (),
    progress: Callable[[str], None] = lambda line: None,
) -> tuple[list[BenchmarkToolResult], list[SkippedCase]]:
    """Run the tool on each file that LiteRT was timed with on one thread, for the same duration.

    If the tool is missing or fails, the case is ABSENT: the artifact is not the cause.

    Args:
        models: the folder of the artifacts.
        results: this project's timings. The number of calls is computed from their medians.
        settings: duration and number of the repetitions.
        external_pythons: Pythons for engines that are not installed in this one; that of LiteRT is
            used.
        progress: called with a text for each file.

    Returns:
        The results, and the ABSENT cases. Both are empty without timings of LiteRT on one thread.

    Raises:
        ArtifactError: an artifact is missing or damaged.
    """
    measured: list[BenchmarkToolResult] = []
    absent: list[SkippedCase] = []
    for ours in results:
        case = ours.case
        if (case.backend, case.device, case.threads) != ("litert", "cpu", 1):
            continue
        if ours.scenario != messages.SINGLE:
            continue
        progress(f"LiteRT's own benchmark tool: {case.artifact}")
        repetition_ns = 1e9 * settings.min_seconds / settings.repetitions
        min_runs = math.ceil(settings.min_count / settings.repetitions)
        runs = min(_MAX_RUNS, max(min_runs, int(repetition_ns / ours.p50_ns)))
        path = models / case.artifact
        try:
            times = [_run(path, runs, external_pythons) for _ in range(settings.repetitions)]
        except EdgeError as error:
            tool_case = BenchmarkCase(case.artifact, "LiteRT's own program", "cpu", 1)
            absent.append(SkippedCase(tool_case, ABSENT, str(error)))
            continue
        means_ns, medians_ns = zip(*times, strict=True)
        measured.append(
            BenchmarkToolResult(case, runs * settings.repetitions, means_ns, medians_ns)
        )
    return measured, absent


def _run(
    path: Path, runs: int, external_pythons: tuple[ExternalPython, ...]
) -> tuple[float, float]:
    """Run the tool once; return the mean and the median duration of a call, in ns.

    Raises:
        EdgeError: the tool is missing or fails, or the format of its results is unknown.
    """
    python = next((i.python for i in external_pythons if i.backend == "litert"), sys.executable)
    spec = artifact.read(path).spec
    with tempfile.TemporaryDirectory(prefix="digit-edge-") as folder:
        file = Path(folder, "result.json")
        options = ("--model", str(path), "--num_threads", "1")
        command = module_command(MODULE, *options, python=python)
        command += ["--num_runs", str(runs)]
        command += ["--warmup_runs", str(max(_MIN_WARM_UP_RUNS, runs // _RUNS_PER_WARM_UP_RUN))]
        try:
            subprocesses.run([*command, "--result_json", str(file)])
        except EdgeError as error:
            raise EdgeError(
                f"{error}; the tool needs ai-edge-litert 2.2 or later: "
                "pip install --upgrade ai-edge-litert"
            ) from error
        try:
            record = json.loads(file.read_text("utf-8"))
            median_ns = 1e6 * record["latency"]["median_ms"]
            # The tool rounds times to 0.01 ms, which is too coarse for a mean. The tool also
            # prints the throughput, computed from the unrounded mean. So the mean is computed here
            # from the throughput.
            # "throughput_mb_s" is in MiB of input values per second.
            input_mib = math.prod(spec.fixed_shape) * _ITEM_BYTES[spec.precision] / 2**20
            return 1e9 * input_mib / record["throughput_mb_s"], median_ns
        except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
            raise EdgeError(
                f"the format of the tool's results is unknown ({error!r}): "
                "install ai-edge-litert 2.2 or 2.3"
            ) from error
