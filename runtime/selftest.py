"""Check that a model works here as it did when exported.

A model file contains a digest (SHA-256 of the other bytes), a spec (metadata) and golden inputs.
Golden inputs are a few images with the scores that the model returned for these images at export.
The self-test

- checks that the file is undamaged and that its spec has golden inputs,
- decodes a PNG,
- compares the scores of each installed engine with the golden scores, and
- reports latency, memory, temperature and throttling.

`digit-edge update` calls `selftest` before it installs a new model.
"""

import argparse
import dataclasses
import io
import json
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtime.backends import ENGINES, golden, install_hint, open_backend
from runtime.cli.exit_status import exit_status
from runtime.cli.model_note import report_unused_model
from runtime.cli.parser import CommandParser
from runtime.errors import CHECK_FAILED, ArtifactError, EdgeError, printable
from runtime.model import artifact
from runtime.model.artifact import Artifact
from runtime.model.default_model import find_model
from runtime.model.spec import CLASSES
from runtime.preprocess.form import MNIST_FORM
from runtime.preprocess.pipeline import to_pixels
from runtime.system import host
from runtime.system.fork import WorkerCrashed, run_in_fork

BATCH_SIZES = (1, 2, 8)  # images per call; the golden scores are compared at each of these sizes
_TIMED_CALLS = 30  # the latency is the median of these calls; all take 0.1 s on a Pi Zero 2
_TIMEOUT_S = 60.0  # a process that tests an engine or the PNG is then killed; its check fails
_COMPILING_TIMEOUT_S = 660.0  # the same for a model in C, which is compiled first


@dataclass(frozen=True)
class SelfTestCheck:
    """The result of one check.

    Attributes:
        name: "digest": the file is undamaged; "spec": it has golden inputs; "picture": a PNG is
            decoded; "golden": the golden scores are reproduced; "engine": no installed engine opens
            the file, or an engine failed.
        passed: whether the check passed.
        detail: the result if the check passed, otherwise the problem and the remedy.
    """

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Timing:
    """The median latency of one image.

    Attributes:
        threads: number of threads of the engine.
        latency_ns: in nanoseconds.
    """

    threads: int
    latency_ns: int


@dataclass(frozen=True)
class EngineReport:
    """The result of one engine.

    Attributes:
        name: name of the engine, as in `--backend`.
        version: version of the engine's package; empty if the engine failed.
        checks: "golden", with one thread and with one thread per core; or "engine", if the engine
            failed.
        timings: one for each check that passed.
        memory_bytes: peak resident size of the process that ran this engine; 0 if unknown.
    """

    name: str
    version: str
    checks: tuple[SelfTestCheck, ...]
    timings: tuple[Timing, ...] = ()
    memory_bytes: int = 0


@dataclass(frozen=True)
class SelfTestReport:
    """The result of a self-test; `bool(report)` is True if every check passed.

    Attributes:
        model: path of the model file.
        digest: SHA-256 of the model file; empty if the file is damaged.
        checks: the checks of the file and of decoding a PNG.
        engines: one report for each installed engine that opens the file.
        celsius: temperature of the processor in °C; 0 if unknown.
        throttled: flags of a Raspberry Pi's `get_throttled`, such as "0x50005"; empty on other
            machines.
    """

    model: str
    digest: str
    checks: tuple[SelfTestCheck, ...]
    engines: tuple[EngineReport, ...]
    celsius: float
    throttled: str

    def __bool__(self) -> bool:
        return all(check.passed for check in self.all_checks())

    def all_checks(self) -> list[SelfTestCheck]:
        """Return the checks of the file and of all engines."""
        return [*self.checks, *(check for engine in self.engines for check in engine.checks)]

    def failures(self) -> str:
        """Return the details of all failed checks in one line; empty if every check passed."""
        return "; ".join(c.detail for c in self.all_checks() if not c.passed)

    def to_json(self) -> str:
        """Return the report as a JSON object with a field `passed`."""
        return json.dumps({"passed": bool(self), **dataclasses.asdict(self)})


def selftest(path: Path) -> SelfTestReport:
    """Test a model file on this machine with every installed engine that opens the file.

    Each engine runs in its own process, so that a crash fails the check and not the program.

    Args:
        path: the model file.

    Returns:
        The report. A damaged file fails the check "digest"; the remaining checks are then skipped.

    Raises:
        ArtifactError: the file does not exist.
    """
    if not path.exists():
        artifact.read(path)  # raises ArtifactError
    try:
        opened = artifact.read(path)
    except ArtifactError as error:
        return _report(path, "", [SelfTestCheck("digest", False, str(error))], [])
    return selftest_artifact(opened)


def selftest_artifact(opened: Artifact) -> SelfTestReport:
    """Test an artifact that was read already; see `selftest`."""
    path = opened.path
    spec = opened.spec
    checks = [
        SelfTestCheck("digest", True, spec.digest),
        SelfTestCheck("spec", True, f"{len(spec.labels)} labels, {spec.precision}"),
    ]
    if spec.golden is None or len(spec.golden.pixels) == 0:
        detail = f"{path} has no golden inputs, which the self-test needs: export the model again"
        checks[1] = SelfTestCheck("spec", False, detail)
        return _report(path, spec.digest, checks, [])
    checks.append(_check_picture(opened))
    engines = [row.name for row in ENGINES if row.suffix == opened.format and row.installed()]
    if not engines:
        suitable = [row.name for row in ENGINES if row.suffix == opened.format]
        hint = install_hint(suitable[0]) if suitable else "export it to .tflite or .onnx"
        checks.append(SelfTestCheck("engine", False, f"no installed engine opens {path}: {hint}"))
    return _report(path, spec.digest, checks, [_test_engine(opened, name) for name in engines])


def _report(
    path: Path, digest: str, checks: list[SelfTestCheck], engines: list[EngineReport]
) -> SelfTestReport:
    return SelfTestReport(
        str(path), digest, tuple(checks), tuple(engines), host.celsius(), host.throttled()
    )


def _check_picture(opened: Artifact) -> SelfTestCheck:
    """Check that encoding an image as PNG and decoding the PNG returns the same image."""
    try:
        same = run_in_fork(lambda: _survives_png(opened), _TIMEOUT_S)
    except WorkerCrashed as error:
        return SelfTestCheck("picture", False, f"decoding a PNG failed: {error}")
    if same:
        return SelfTestCheck("picture", True, "a PNG decodes to the pixels written into it")
    return SelfTestCheck(
        "picture", False, "Pillow decodes a PNG to different pixels than it wrote: reinstall Pillow"
    )


def _survives_png(opened: Artifact) -> bool:
    from PIL import Image

    assert opened.spec.golden is not None
    form = opened.spec.pixel_form if opened.spec.kind == CLASSES else MNIST_FORM
    # RGB, so that the image is preprocessed; a gray image of 28×28 is used as pixels directly.
    image = opened.spec.golden.pixels[0]
    image = np.repeat(image, 3 // image.shape[2], axis=2)
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, "PNG")
    return np.array_equal(to_pixels(encoded.getvalue(), form=form), to_pixels(image, form=form))


def _test_engine(opened: Artifact, name: str) -> EngineReport:
    timeout_s = _COMPILING_TIMEOUT_S if opened.format == ".c" else _TIMEOUT_S
    try:
        result = run_in_fork(lambda: _engine_result(opened, name), timeout_s)
    except WorkerCrashed as error:
        detail = f"{name} with {opened.path}: {error}"
        return EngineReport(name, "", (SelfTestCheck("engine", False, detail),))
    except EdgeError as error:
        return EngineReport(name, "", (SelfTestCheck("engine", False, str(error)),))
    return EngineReport(
        name,
        result["version"],
        tuple(SelfTestCheck(**check) for check in result["checks"]),
        tuple(Timing(**timing) for timing in result["timings"]),
        result["memory_bytes"],
    )


def _engine_result(opened: Artifact, name: str) -> dict[str, Any]:
    """Return the fields of an `EngineReport` for JSON; runs in the engine's own process."""
    checks, timings, version = [], [], ""
    tolerance = golden.TOLERANCE[opened.spec.precision]
    assert opened.spec.golden is not None
    first = opened.spec.golden.pixels[:1]
    for threads in sorted({1, host.usable_cores()}):
        backend = open_backend(opened, name, threads)
        version = backend.version
        differences = {batch: golden.largest_difference(backend, batch) for batch in BATCH_SIZES}
        batch = max(differences, key=differences.__getitem__)
        passed = differences[batch] <= tolerance
        detail = f"{threads} thread{'s' * (threads > 1)}, batches of 1, 2 and 8: "
        if passed:
            detail += f"largest difference {differences[batch]:.2g} (at most {tolerance:.2g})"
            timings.append(dataclasses.asdict(Timing(threads, _median_ns(backend.scores, first))))
        else:
            detail += (
                f"the scores of {opened.path} differ by {differences[batch]:.3g} from its golden "
                f"scores in a batch of {batch} (at most {tolerance:.2g}): do not use this model on "
                "this machine"
            )
        checks.append(dataclasses.asdict(SelfTestCheck("golden", passed, detail)))
    return {
        "version": version,
        "checks": checks,
        "timings": timings,
        "memory_bytes": host.peak_memory_bytes(),
    }


def _median_ns(scores: Any, pixels: Any) -> int:
    samples = []
    scores(pixels)  # not timed: the engine allocates memory for the new batch size
    for _ in range(_TIMED_CALLS):
        start_ns = time.perf_counter_ns()
        scores(pixels)
        samples.append(time.perf_counter_ns() - start_ns)
    return int(statistics.median(samples))


def main(argv: list[str] | None = None) -> int:
    """Test a model on this machine; return 0 if all checks pass, otherwise 3."""
    arguments = parse_args(argv)
    report_unused_model(arguments.model)
    path = Path(arguments.model) if arguments.model is not None else find_model()
    report = selftest(path)
    passed = bool(report)
    print(report.to_json() if arguments.json else _text(report))
    return 0 if passed else CHECK_FAILED


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command's options."""
    parser = CommandParser(
        "digit-edge selftest",
        "Check that a model works on this machine as it did when it was exported: "
        "its digest, and its golden inputs in batches of 1, 2 and 8, on one thread and on all "
        "cores, with every installed engine. Print latency, memory, temperature and throttling.",
        {0: "PASS", 2: "bad usage, or no such model", 3: "FAIL"},
    )
    parser.add_argument(
        "--model",
        metavar="PATH",
        help="a .tflite or .onnx artifact (default: the published one, then one in models/)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args(argv)


def _text(report: SelfTestReport) -> str:
    lines = [report.model, *map(_line, report.checks)]
    for engine in report.engines:
        lines.append(f"{engine.name} {engine.version}".rstrip())
        lines += map(_line, engine.checks)
        if engine.timings:
            times = ", ".join(
                f"{t.latency_ns / 1000:.1f} µs on {t.threads}" for t in engine.timings
            )
            lines.append(
                f"    latency  {times} (threads; median of {_TIMED_CALLS}, one image a call)"
            )
        if engine.memory_bytes:
            lines.append(f"    memory   {engine.memory_bytes / 1e6:.1f} MB resident")
    state = []
    if report.celsius:
        state.append(f"{report.celsius:.1f} °C")
    if report.throttled:
        state.append(host.describe_throttled(report.throttled))
    if state:
        lines += ["this machine", f"    {', '.join(state)}"]
    return "\n".join(map(printable, [*lines, "PASS" if report else "FAIL"]))


def _line(check: SelfTestCheck) -> str:
    return f"  {'✓' if check.passed else '✗'} {check.name:8} {check.detail}"


if __name__ == "__main__":
    sys.exit(exit_status(main))
