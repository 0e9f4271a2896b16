"""Runs LiteRT's own benchmark tool on the same .tflite files, to check our timings of LiteRT.

The tool is part of the wheel of ai-edge-litert since version 2.2.
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

MODULE = "ai_edge_litert.tools.benchmark_litert_model"  # run as `python -m`
_ITEM_BYTES = {"float32": 4, "int8": 1}  # size of an input value, by the artifact's precision
_MAX_RUNS = 1_000_000  # calls of one repetition, at most
_MIN_WARM_UP_RUNS = 3  # calls before the timing; more if a tenth of the runs is more


def measure(
    models: Path,
    results: Sequence[LatencyResult],
    settings: Settings,
    external_pythons: tuple[ExternalPython, ...] = (),
    progress: Callable[[str], None] = lambda line: None,
) -> tuple[list[BenchmarkToolResult], list[SkippedCase]]:
    """Run the tool on each file that LiteRT was timed with on one thread, for the same duration.

    If the tool is missing or fails, the case is ABSENT: that is not a fault of the artifact.

    Args:
        models: the folder of the artifacts.
        results: our own timings, from which the number of runs is computed.
        settings: duration and repetitions.
        external_pythons: the Python of LiteRT, if it is not this one.
        progress: called with one line for each file.

    Returns:
        The results, and the ABSENT cases.
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
        EdgeError: the tool is missing, fails, or writes other figures than expected.
    """
    python = next((i.python for i in external_pythons if i.backend == "litert"), sys.executable)
    spec = artifact.read(path).spec
    with tempfile.TemporaryDirectory(prefix="digit-edge-") as folder:
        file = Path(folder, "result.json")
        options = ("--model", str(path), "--num_threads", "1")
        command = module_command(MODULE, *options, python=python)
        command += ["--num_runs", str(runs)]
        command += ["--warmup_runs", str(max(_MIN_WARM_UP_RUNS, runs // 10))]
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
            # Times are rounded to 0.01 ms, which is too coarse for a mean. The throughput is
            # computed from the unrounded mean and has about four significant digits.
            input_mb = math.prod(spec.input_shape) * _ITEM_BYTES[spec.precision] / 2**20
            return 1e9 * input_mb / record["throughput_mb_s"], median_ns
        except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
            raise EdgeError(
                f"the format of its results is unknown ({error!r}): use ai-edge-litert 2.2 or 2.3"
            ) from error
