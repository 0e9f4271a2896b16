"""Measures the time and memory of `python -m runtime digit.png` until its first output."""

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.harness import subprocesses
from benchmarks.harness.cases import FAILED, BenchmarkCase, SkippedCase
from benchmarks.schema.latency import CliStartupResult
from runtime.backends import ENGINES
from runtime.errors import EdgeError
from runtime.model import artifact

_LAUNCHER = Path(__file__).with_name("launcher.py")


@dataclass(frozen=True)
class _Start:
    first_line_ns: int
    peak_bytes: int


def measure(
    models: Path, planned: list[BenchmarkCase], repetitions: int, progress: Callable[[str], None]
) -> tuple[list[CliStartupResult], list[SkippedCase]]:
    """Start both programs in turns, `repetitions` times each after one to warm the disk cache.

    Args:
        planned: rows that have been measured, so that their engines are there.
    """
    results: list[CliStartupResult] = []
    failed: list[SkippedCase] = []
    for case in planned:
        progress(f"python -m runtime: {case}")
        try:
            results.append(_measure_row(models / case.artifact, case, repetitions))
        except EdgeError as error:
            failed.append(SkippedCase(case, FAILED, f"python -m runtime: {error}"))
    return results, failed


def _measure_row(model: Path, case: BenchmarkCase, repetitions: int) -> CliStartupResult:
    from benchmarks.latency.scenarios import images_of, png

    package = next(engine.package for engine in ENGINES if engine.name == case.backend)
    module = package if package == "onnxruntime" else f"{package}.interpreter"
    imports = ["-c", f"import numpy, PIL.Image, {module}\nprint('ready')"]
    with tempfile.TemporaryDirectory(prefix="digit-edge-") as name:
        digit = Path(name) / "digit.png"
        digit.write_bytes(png(images_of(artifact.read(model).spec)[0]))
        command = ["-m", "runtime", str(digit), "--model", str(model), "--backend", case.backend]
        ours, theirs = [], []
        for _ in range(repetitions + 1):
            theirs.append(_start(imports))
            ours.append(_start(command))
    return CliStartupResult(
        case=case,
        command_ns=tuple(start.first_line_ns for start in ours[1:]),
        imports_ns=tuple(start.first_line_ns for start in theirs[1:]),
        command_bytes=int(median(start.peak_bytes for start in ours[1:])),
        imports_bytes=int(median(start.peak_bytes for start in theirs[1:])),
    )


def _start(arguments: list[str]) -> _Start:
    printed = subprocesses.run(
        [sys.executable, "-I", "-S", str(_LAUNCHER), sys.executable, *arguments]
    )
    first_line_ns, peak_bytes = json.loads(printed)
    return _Start(first_line_ns, peak_bytes)
