"""Measures the artifacts on another machine over ssh, and collects its predictions."""

import argparse
import io
import shlex
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from benchmarks.harness.cases import FAILED
from benchmarks.harness.serialize import from_json
from benchmarks.remote import agent, predict
from benchmarks.schema.latency import LatencyReport, Settings
from benchmarks.schema.remote import DevicePredictions
from runtime.backends import Pixels
from runtime.errors import BackendUnavailable, EdgeError

ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("runtime", "benchmarks")
_CONNECT_S, _ALIVE_S = 10, 15
# ssh's own failures, and a shell's "command not found".
_SSH_FAILED, _NOT_FOUND = 255, 127


@dataclass(frozen=True)
class Device:
    """Where to measure: what ssh calls it, its port, and the Python there that has an engine.

    `port` is 0 for the one that ssh's configuration says.
    """

    destination: str
    port: int = 0
    python: str = "python3"


@dataclass(frozen=True)
class RemoteResults:
    """What came back from a device: its timings, and its answers where it was sent images."""

    latency: LatencyReport
    answers: DevicePredictions | None


def check_connection(where: Device) -> None:
    """Start the device's Python and do nothing with it.

    Raises:
        EdgeError: there is no ssh, no connection, or no such Python.
    """
    with tempfile.TemporaryFile() as nothing, tempfile.TemporaryFile() as printed:
        _ssh(where, [where.python, "-c", "pass"], nothing, printed, lambda line: None)


def measure(
    where: Device,
    models: Path,
    settings: Settings,
    *,
    pixels: Pixels | None = None,
    quick: bool = False,
    backends: tuple[str, ...] = (),
    kind: str = "cpu",
    threads: tuple[int, ...] = (),
    progress: Callable[[str], None] = lambda line: None,
) -> RemoteResults:
    """Copy the packages and the artifacts to a device, run them there, bring the results back.

    Neither Keras nor a data set is needed there. All is done in a temporary folder of the device,
    which is removed in the end.

    Args:
        models: the folder of the artifacts.
        pixels: images (N, 28, 28, 1) uint8 that each artifact shall answer there.
        quick: few starts, as `QUICK` in `settings`.
        backends: engines' names; all of them by default.
        kind: "cpu" or "gpu".
        threads: by default 1 and as many as the device has cores.
        progress: called with one line for each step.

    Raises:
        EdgeError: there is no ssh, no connection, no suitable Python, or the run there failed.
        BackendUnavailable: no engine is installed there that opens any artifact.
    """
    arguments = [f"--repetitions={settings.repetitions}", f"--min-seconds={settings.min_seconds}"]
    arguments += [f"--min-count={settings.min_count}", f"--device={kind}"]
    arguments += [f"--backend={name}" for name in backends]
    arguments += ["--threads=" + ",".join(map(str, threads))] if threads else []
    arguments += ["--quick"] if quick else []
    # Never imported there: the program travels as text, before anything has been copied.
    program = Path(agent.__file__).read_text("utf-8")
    with tempfile.TemporaryFile() as archive, tempfile.TemporaryFile() as printed:
        pack(models, archive, pixels)
        archive.seek(0)
        progress("connecting")
        _ssh(where, [where.python, "-c", program, *arguments], archive, printed, progress)
        printed.seek(0)
        _, marker, results = printed.read().partition(agent.MARKER)
    if not marker:
        raise EdgeError(f"{where.destination} sent no results: try again")
    sent = f"what {where.destination} sent"
    with tempfile.TemporaryDirectory(prefix="digit-edge-") as name:
        try:
            with zipfile.ZipFile(io.BytesIO(results)) as packed:
                packed.extractall(name)
            timed = Path(name, "latency.json").read_bytes()
        except (zipfile.BadZipFile, OSError) as error:
            raise EdgeError(f"{sent} is damaged ({error}): try again") from error
        report = from_json(LatencyReport, timed, sent)
        answered = None if pixels is None else predict.read(Path(name), sent)
    if not report.results and all(u.status != FAILED for u in report.skipped):
        reasons = "; ".join(dict.fromkeys(u.reason for u in report.skipped))
        raise BackendUnavailable(
            f"no engine on {where.destination} opens any artifact ({reasons}): install one there, "
            "or name the Python that has one with --on-python"
        )
    return RemoteResults(report, answered)


def pack(models: Path, file: IO[bytes], pixels: Pixels | None = None) -> None:
    """Write the packages that run on a device, and the artifacts but Keras's, as a zip archive;
    with images (N, 28, 28, 1) uint8 to answer, where there are any.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for package in _PACKAGES:
            for path in sorted((ROOT / package).rglob("*.py")):
                archive.write(path, path.relative_to(ROOT))
        for path in sorted(models.iterdir()):
            if path.suffix in (".tflite", ".onnx"):
                archive.write(path, f"models/{path.name}")
        if pixels is not None:
            images = io.BytesIO()
            np.save(images, pixels)
            archive.writestr("pixels.npy", images.getvalue(), zipfile.ZIP_DEFLATED)


def _ssh(
    where: Device,
    command: Sequence[str],
    stdin: IO[bytes],
    stdout: IO[bytes],
    progress: Callable[[str], None],
) -> None:
    """Run a command on the device, its standard error line by line to `progress`."""
    options = ["-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT_S}"]
    options += ["-o", f"ServerAliveInterval={_ALIVE_S}"]
    options += ["-p", str(where.port)] if where.port else []
    try:
        process = subprocess.Popen(
            ["ssh", *options, "--", where.destination, shlex.join(command)],
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise EdgeError(f"cannot start ssh ({error.strerror}): install OpenSSH's client") from error
    said = ""
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if line.strip():
                said = line.strip()
                progress(said)
        status = process.wait()
    finally:
        process.terminate()  # does nothing to one that has ended
        process.wait()
        process.stderr.close()
    if status == _SSH_FAILED:
        raise EdgeError(
            f"cannot reach {where.destination}: {said or 'ssh failed'} (no password is asked for: "
            f"see that `ssh {where.destination} true` works)"
        )
    if status == _NOT_FOUND:
        raise EdgeError(
            f"{where.destination} has no {where.python}: install it, or name another with "
            "--on-python"
        )
    if status != 0:
        why = said.removeprefix("error: ") or f"ended with status {status}"
        raise EdgeError(f"{where.destination}: {why}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a device."""
    parser.add_argument(
        "--on", metavar="USER@HOST", help="time and ask the artifacts on this device too, over ssh"
    )
    parser.add_argument("--on-port", type=int, metavar="PORT", help="ssh's port there")
    parser.add_argument(
        "--on-python",
        metavar="PYTHON",
        help=f"the Python there that has an engine, from the home folder ({Device.python})",
    )


def device_of(arguments: argparse.Namespace) -> Device | None:
    """Return the device that the options of `add_arguments` name, None without --on.

    Raises:
        EdgeError: an option describes a device, and --on names none.
    """
    port, python = arguments.on_port, arguments.on_python
    if arguments.on is not None:
        return Device(
            arguments.on,
            Device.port if port is None else port,
            Device.python if python is None else python,
        )
    for given, option in ((port, "--on-port"), (python, "--on-python")):
        if given is not None:
            raise EdgeError(f"{option} describes a device: give --on USER@HOST too")
    return None
