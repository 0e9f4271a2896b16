"""python -m runtime.selftest: whether a model answers here as it did when it was made."""

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
from runtime.classifier import find_model
from runtime.cli.exit_status import exit_status
from runtime.errors import CHECK_FAILED, ArtifactError, EdgeError, printable
from runtime.model import artifact
from runtime.model.artifact import Artifact
from runtime.preprocess.pipeline import to_pixels
from runtime.system import host
from runtime.system.fork import WorkerCrashed, run_in_fork

BATCHES = (1, 2, 8)
# Some dozens of calls: a Raspberry Pi Zero 2 makes them in a tenth of a second.
_CALLS = 30
_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class SelfTestCheck:
    """One thing that was looked at.

    Attributes:
        name: "digest", "spec", "picture", "golden" or "engine".
        passed: whether it is as it should be.
        detail: what was found, or what is wrong and what to do.
    """

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Timing:
    """The median time of one image, one call, with so many of the engine's threads."""

    threads: int
    latency_ns: int


@dataclass(frozen=True)
class EngineReport:
    """What one engine made of the model.

    Attributes:
        name, version: the engine's; no version where it could not be opened.
        checks: golden inputs, for one thread and for all cores.
        timings: of those that passed.
        memory_bytes: the largest resident size of a process with this engine; 0 where unknown.
    """

    name: str
    version: str
    checks: tuple[SelfTestCheck, ...]
    timings: tuple[Timing, ...] = ()
    memory_bytes: int = 0


@dataclass(frozen=True)
class SelfTestReport:
    """A self-test's outcome; true where every check passed.

    Attributes:
        model: the file.
        digest: of the file; empty where it is damaged.
        checks: of the file and of reading pictures.
        engines: every installed one that reads the file.
        celsius: 0 where the system does not say.
        throttled: a Raspberry Pi's flags; empty elsewhere.
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
        """The file's checks and all engines'."""
        return [*self.checks, *(check for engine in self.engines for check in engine.checks)]

    def failures(self) -> str:
        """What failed, in one line."""
        return "; ".join(c.detail for c in self.all_checks() if not c.passed)

    def to_json(self) -> str:
        """One JSON object, `passed` first."""
        return json.dumps({"passed": bool(self), **dataclasses.asdict(self)})


def selftest(path: Path) -> SelfTestReport:
    """Prove a model file on this machine, with every installed engine that reads it.

    Each engine runs in a process of its own, so that one that crashes is a check that failed.

    Raises:
        ArtifactError: there is no such file; a damaged one is a check that failed.
    """
    if not path.exists():
        artifact.read(path)  # says so
    try:
        opened = artifact.read(path)
    except ArtifactError as error:
        return _report(path, "", [SelfTestCheck("digest", False, str(error))], [])
    spec = opened.spec
    checks = [
        SelfTestCheck("digest", True, spec.digest),
        SelfTestCheck("spec", True, f"{len(spec.labels)} labels, {spec.precision}"),
    ]
    if spec.golden is None or len(spec.golden.pixels) == 0:
        told = f"{path} has no golden inputs to prove itself with: export it again"
        checks[1] = SelfTestCheck("spec", False, told)
        return _report(path, spec.digest, checks, [])
    checks.append(_picture(opened))
    engines = [row.name for row in ENGINES if row.suffix == opened.format and row.installed()]
    if not engines:
        wanted = [row.name for row in ENGINES if row.suffix == opened.format]
        hint = install_hint(wanted[0]) if wanted else "export it to .tflite or .onnx"
        checks.append(
            SelfTestCheck("engine", False, f"no engine installed here opens {path}: {hint}")
        )
    return _report(path, spec.digest, checks, [_try_engine(opened, name) for name in engines])


def _report(
    path: Path, digest: str, checks: list[SelfTestCheck], engines: list[EngineReport]
) -> SelfTestReport:
    return SelfTestReport(
        str(path), digest, tuple(checks), tuple(engines), host.celsius(), host.throttled()
    )


def _picture(opened: Artifact) -> SelfTestCheck:
    """Whether a picture file gives the very pixels that were written into it."""
    try:
        same = run_in_fork(lambda: _reads_what_it_wrote(opened), _TIMEOUT_S)
    except WorkerCrashed as error:
        return SelfTestCheck("picture", False, f"reading a picture: {error}")
    if same:
        return SelfTestCheck("picture", True, "a PNG gives the pixels that it was made of")
    return SelfTestCheck(
        "picture", False, "Pillow reads another picture than it wrote: reinstall it"
    )


def _reads_what_it_wrote(opened: Artifact) -> bool:
    from PIL import Image

    assert opened.spec.golden is not None
    # As an image of RGB, which is brought into MNIST's form; a gray one of that size is pixels.
    image = np.repeat(opened.spec.golden.pixels[0], 3, axis=2)
    packed = io.BytesIO()
    Image.fromarray(image).save(packed, "PNG")
    return np.array_equal(to_pixels(packed.getvalue()), to_pixels(image))


def _try_engine(opened: Artifact, name: str) -> EngineReport:
    try:
        answer = run_in_fork(lambda: _prove(opened, name), _TIMEOUT_S)
    except WorkerCrashed as error:
        told = f"{name} with {opened.path}: {error}"
        return EngineReport(name, "", (SelfTestCheck("engine", False, told),))
    except EdgeError as error:
        return EngineReport(name, "", (SelfTestCheck("engine", False, str(error)),))
    return EngineReport(
        name,
        answer["version"],
        tuple(SelfTestCheck(**check) for check in answer["checks"]),
        tuple(Timing(**timing) for timing in answer["timings"]),
        answer["memory_bytes"],
    )


def _prove(opened: Artifact, name: str) -> dict[str, Any]:
    """An engine's report, for JSON; runs in the engine's own process."""
    checks, timings, version = [], [], ""
    tolerance = golden.TOLERANCE[opened.spec.precision]
    assert opened.spec.golden is not None
    first = opened.spec.golden.pixels[:1]
    for threads in sorted({1, host.usable_cores()}):
        backend = open_backend(opened, name, threads)
        version = backend.version
        differences = {batch: golden.largest_difference(backend, batch) for batch in BATCHES}
        batch = max(differences, key=differences.__getitem__)
        passed = differences[batch] <= tolerance
        found = f"{threads} thread{'s' * (threads > 1)}, batches of 1, 2 and 8: "
        if passed:
            found += f"largest difference {differences[batch]:.2g} (at most {tolerance:.2g})"
            timings.append(dataclasses.asdict(Timing(threads, _median_ns(backend.scores, first))))
        else:
            found += (
                f"{opened.path} gives scores that differ by {differences[batch]:.3g} from its "
                f"golden ones in a batch of {batch} (at most {tolerance:.2g}): do not use it here"
            )
        checks.append(dataclasses.asdict(SelfTestCheck("golden", passed, found)))
    return {
        "version": version,
        "checks": checks,
        "timings": timings,
        "memory_bytes": host.peak_memory_bytes(),
    }


def _median_ns(scores: Any, pixels: Any) -> int:
    samples = []
    scores(pixels)  # the batch changed from 8 to 1, which the first call pays for
    for _ in range(_CALLS):
        began = time.perf_counter_ns()
        scores(pixels)
        samples.append(time.perf_counter_ns() - began)
    return int(statistics.median(samples))


def main(argv: list[str] | None = None) -> int:
    """Test a model on this machine; 0 when all is well, 3 when something is not."""
    arguments = parse_args(argv)
    path = Path(arguments.model) if arguments.model is not None else find_model()
    report = selftest(path)
    print(report.to_json() if arguments.json else _text(report))
    return 0 if report else CHECK_FAILED


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m runtime.selftest",
        description="Say whether a model answers on this machine as it did when it was made: "
        "digest, golden inputs in batches of 1, 2 and 8 on one thread and on all cores with every "
        "installed engine, latency, memory, temperature and throttling.",
        epilog="Exit status: 0 PASS, 2 no such model, 3 FAIL.",
    )
    parser.add_argument(
        "--model",
        metavar="PATH",
        help="a .tflite or .onnx artifact (default: the published one, else one in models/)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
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
            lines.append(f"    latency  {times} (threads; median of {_CALLS}, one image a call)")
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
