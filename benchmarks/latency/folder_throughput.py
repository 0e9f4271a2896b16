"""Measures `python -m runtime FOLDER` on many PNG files, and decoding them alone."""

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.harness import machine, subprocesses
from benchmarks.harness.cases import FAILED, BenchmarkCase, SkippedCase
from benchmarks.schema.latency import FolderThroughputResult, Settings
from runtime.errors import EdgeError
from runtime.model import artifact


def measure(
    models: Path,
    planned: Sequence[BenchmarkCase],
    settings: Settings,
    progress: Callable[[str], None] = lambda line: None,
) -> tuple[list[FolderThroughputResult], list[SkippedCase]]:
    """Run both programs in turns, from the start of the process to its end, on all cores.

    Args:
        planned: rows that have been measured, so that their engines are there.
    """
    from benchmarks.latency.scenarios import images_of, png

    results: list[FolderThroughputResult] = []
    failed: list[SkippedCase] = []
    jobs = machine.usable_cores()
    for case in planned:
        model = models / case.artifact
        with tempfile.TemporaryDirectory(prefix="digit-edge-") as name:
            progress(f"{settings.images:,} PNG files: {case}")
            pictures = [png(image) for image in images_of(artifact.read(model).spec)]
            for number in range(settings.images):
                file = Path(name, f"{number:06}.png")
                file.write_bytes(pictures[number % len(pictures)])
            ours = ["-m", "runtime", name, "--json", "--jobs", str(jobs)]
            ours += ["--model", str(model.resolve()), "--backend", case.backend]
            alone = ["-m", "benchmarks.latency.decode_only", name, "--jobs", str(jobs)]
            try:
                _time(alone)  # the files into the system's cache, and the programs
                times = [(_time(alone), _time(ours)) for _ in range(settings.repetitions)]
            except EdgeError as error:
                failed.append(SkippedCase(case, FAILED, f"many files: {error}"))
                continue
        decoding, classifying = zip(*times, strict=True)
        results.append(FolderThroughputResult(case, settings.images, jobs, classifying, decoding))
    return results, failed


def _time(arguments: list[str]) -> int:
    began = time.perf_counter_ns()
    subprocesses.run([sys.executable, *arguments])
    return time.perf_counter_ns() - began
