"""Measures the throughput of `digit-edge classify FOLDER` on many PNG files, on all cores.

It is compared with decoding the same files (`decode_only`), which is the upper limit.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.harness import machine, subprocesses
from benchmarks.harness.cases import FAILED, BenchmarkCase, SkippedCase
from benchmarks.report.formats import counted
from benchmarks.schema.latency import FolderThroughputResult, Settings
from runtime.errors import EdgeError
from runtime.model import artifact
from runtime.system.own_modules import module_command, own_name


def measure(
    models: Path,
    planned: Sequence[BenchmarkCase],
    settings: Settings,
    progress: Callable[[str], None] = lambda line: None,
) -> tuple[list[FolderThroughputResult], list[SkippedCase]]:
    """Time both programs alternately, from the start of the process to its end.

    Args:
        models: the folder of the artifacts.
        planned: cases whose engines are known to be installed.
        settings: `images` is the number of files, `repetitions` that of runs of each program.
        progress: called with one line for each case.

    Returns:
        The results, and the cases that failed.
    """
    from benchmarks.latency.scenarios import images_of, png

    results: list[FolderThroughputResult] = []
    failed: list[SkippedCase] = []
    jobs = machine.usable_cores()
    for case in planned:
        model = models / case.artifact
        with tempfile.TemporaryDirectory(prefix="digit-edge-") as name:
            progress(f"{counted(settings.images, 'PNG file')}: {case}")
            contents = [png(image) for image in images_of(artifact.read(model).spec)]
            for number in range(settings.images):
                file = Path(name, f"{number:06}.png")
                file.write_bytes(contents[number % len(contents)])
            images = (name, "--jobs", str(jobs))
            classify = module_command(own_name("runtime"), *images, "--json")
            classify += ["--model", str(model.resolve()), "--backend", case.backend]
            decode = module_command(own_name("benchmarks.latency.decode_only"), *images)
            try:
                _run_ns(decode)  # warm-up: fills the disk cache
                times = [(_run_ns(decode), _run_ns(classify)) for _ in range(settings.repetitions)]
            except EdgeError as error:
                failed.append(SkippedCase(case, FAILED, f"many files: {error}"))
                continue
        decode_ns, classify_ns = zip(*times, strict=True)
        results.append(FolderThroughputResult(case, settings.images, jobs, classify_ns, decode_ns))
    return results, failed


def _run_ns(command: list[str]) -> int:
    """Run a command; return the time it takes.

    Raises:
        EdgeError: it fails.
    """
    start_ns = time.perf_counter_ns()
    subprocesses.run(command)
    return time.perf_counter_ns() - start_ns
