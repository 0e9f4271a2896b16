"""Measures the cold start of the command `digit-edge classify digit.png`: time and memory.

It is compared with a Python process that only imports the same libraries, which is the minimum.
"""

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
from runtime.system.own_modules import module_command, own_name

_LAUNCHER = Path(__file__).with_name("launcher.py")  # the script that times a program


@dataclass(frozen=True)
class _Start:
    """One start: the time until the first line of output, and the peak resident memory."""

    first_line_ns: int
    peak_bytes: int


def measure(
    models: Path, planned: list[BenchmarkCase], repetitions: int, progress: Callable[[str], None]
) -> tuple[list[CliStartupResult], list[SkippedCase]]:
    """Start the command and the imports alternately, after one start of each as a warm-up.

    Args:
        models: the folder of the artifacts.
        planned: cases whose engines are known to be installed.
        repetitions: number of starts of each program.
        progress: called with one line for each case.

    Returns:
        The results, and the cases that failed.
    """
    results: list[CliStartupResult] = []
    failed: list[SkippedCase] = []
    for case in planned:
        progress(f"digit-edge classify: {case}")
        try:
            results.append(_measure_case(models / case.artifact, case, repetitions))
        except EdgeError as error:
            failed.append(SkippedCase(case, FAILED, f"digit-edge classify: {error}"))
    return results, failed


def _measure_case(model: Path, case: BenchmarkCase, repetitions: int) -> CliStartupResult:
    from benchmarks.latency.scenarios import images_of, png

    module = next(engine.imports for engine in ENGINES if engine.name == case.backend)
    # Without the working directory, which is "", as in `module_command`.
    program = (
        "import sys; sys.path[:] = filter(None, sys.path)\n"
        f"import numpy, PIL.Image, {module}\nprint('ready')"
    )
    imports = [sys.executable, "-c", program]
    with tempfile.TemporaryDirectory(prefix="digit-edge-") as name:
        digit = Path(name) / "digit.png"
        digit.write_bytes(png(images_of(artifact.read(model).spec)[0]))
        options = ["--model", str(model), "--backend", case.backend]
        command = module_command(own_name("runtime"), str(digit), *options)
        command_starts, import_starts = [], []
        for _ in range(repetitions + 1):
            import_starts.append(_start(imports))
            command_starts.append(_start(command))
    # The first start of each filled the disk cache.
    command_starts, import_starts = command_starts[1:], import_starts[1:]
    return CliStartupResult(
        case=case,
        command_ns=tuple(start.first_line_ns for start in command_starts),
        imports_ns=tuple(start.first_line_ns for start in import_starts),
        command_bytes=int(median(start.peak_bytes for start in command_starts)),
        imports_bytes=int(median(start.peak_bytes for start in import_starts)),
    )


def _start(command: list[str]) -> _Start:
    """Start a command through the launcher.

    Raises:
        EdgeError: it fails.
    """
    output = subprocesses.run([sys.executable, "-I", "-S", str(_LAUNCHER), *command])
    first_line_ns, peak_bytes = json.loads(output)
    return _Start(first_line_ns, peak_bytes)
