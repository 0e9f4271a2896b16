"""LiteRT's own benchmark program, which its wheel brings since 2.2, over the same files."""

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

MODULE = "ai_edge_litert.tools.benchmark_litert_model"
_ITEM_BYTES = {"float32": 4, "int8": 1}
_MAX_RUNS = 1_000_000


def measure(
    models: Path,
    results: Sequence[LatencyResult],
    settings: Settings,
    external_pythons: tuple[ExternalPython, ...] = (),
    progress: Callable[[str], None] = lambda line: None,
) -> tuple[list[BenchmarkToolResult], list[SkippedCase]]:
    """Run the program for each file that LiteRT was timed with on one thread, for as long.

    Where it is missing or fails the row is absent: it is not ours, and no fault of the artifact.

    Args:
        results: our own timings, from which the number of runs follows.
    """
    measured: list[BenchmarkToolResult] = []
    absent: list[SkippedCase] = []
    for ours in results:
        case = ours.case
        if (case.backend, case.device, case.threads) != ("litert", "cpu", 1):
            continue
        if ours.scenario != messages.SINGLE:
            continue
        progress(f"LiteRT's own program: {case.artifact}")
        share_ns = 1e9 * settings.min_seconds / settings.repetitions
        least = math.ceil(settings.min_count / settings.repetitions)
        runs = min(_MAX_RUNS, max(least, int(share_ns / ours.p50_ns)))
        path = models / case.artifact
        try:
            answers = [_run(path, runs, external_pythons) for _ in range(settings.repetitions)]
        except EdgeError as error:
            named = BenchmarkCase(case.artifact, "LiteRT's own program", "cpu", 1)
            absent.append(SkippedCase(named, ABSENT, str(error)))
            continue
        means, medians = zip(*answers, strict=True)
        measured.append(BenchmarkToolResult(case, runs * settings.repetitions, means, medians))
    return measured, absent


def _run(
    path: Path, runs: int, external_pythons: tuple[ExternalPython, ...]
) -> tuple[float, float]:
    """The mean and the median that it prints, in ns."""
    python = next((i.python for i in external_pythons if i.backend == "litert"), sys.executable)
    spec = artifact.read(path).spec
    with tempfile.TemporaryDirectory(prefix="digit-edge-") as folder:
        file = Path(folder, "result.json")
        command = [python, "-m", MODULE, "--model", str(path), "--num_threads", "1"]
        command += ["--num_runs", str(runs), "--warmup_runs", str(max(3, runs // 10))]
        try:
            subprocesses.run([*command, "--result_json", str(file)])
        except EdgeError as error:
            raise EdgeError(f"{error}; pip install --upgrade ai-edge-litert brings it") from error
        try:
            record = json.loads(file.read_text("utf-8"))
            median_ns = 1e6 * record["latency"]["median_ms"]
            # It rounds times to hundredths of a millisecond, and prints megabytes a second to
            # hundredths as well, from the mean before rounding: that holds four digits.
            size = math.prod(spec.fixed_shape) * _ITEM_BYTES[spec.precision] / 2**20
            return 1e9 * size / record["throughput_mb_s"], median_ns
        except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
            raise EdgeError(
                f"it prints other figures than known ({error!r}): use 2.2 to 2.3"
            ) from error
