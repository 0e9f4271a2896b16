"""Runs the benchmarks on a device over ssh: sends code and artifacts, receives the results.

Used by `digit-edge benchmark --on USER@HOST`. The device needs Python, NumPy, Pillow and an engine.
"""

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
from runtime.system.own_modules import ROOT, own_name

_PACKAGES = ("runtime", "benchmarks")  # sent to the device
_CONNECT_TIMEOUT_S = 10  # ssh gives up connecting after it
_ALIVE_INTERVAL_S = 15  # ssh checks an idle connection this often
_SSH_FAILED_STATUS = 255  # exit status of ssh if it cannot connect or log in
_NOT_FOUND_STATUS = 127  # exit status of a shell if the command is missing


@dataclass(frozen=True)
class Device:
    """A machine to measure on.

    Attributes:
        destination: the host as ssh expects it, `USER@HOST` or a name of ssh's configuration.
        port: the port of ssh; 0 for the default of ssh's configuration.
        python: the Python on the device that has an engine installed.
    """

    destination: str
    port: int = 0
    python: str = "python3"


@dataclass(frozen=True)
class RemoteResults:
    """The results of a device: its timings, and its predictions if it was sent images."""

    latency: LatencyReport
    answers: DevicePredictions | None


def check_connection(device: Device) -> None:
    """Check that the device can be reached and its Python starts.

    Raises:
        EdgeError: ssh is not installed, the connection fails, or the device has no such Python.
    """
    with tempfile.TemporaryFile() as empty, tempfile.TemporaryFile() as output:
        _ssh(device, [device.python, "-c", "pass"], empty, output, lambda line: None)


def measure(
    device: Device,
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
    """Send the packages and the artifacts to a device, run the benchmarks, return the results.

    The device needs neither Keras nor a data set. It works in a temporary folder, which it removes
    at the end.

    Args:
        device: the machine.
        models: the folder of the artifacts.
        settings: duration and number of the measurements.
        pixels: images (N, 28, 28, 1) uint8 to predict with each artifact; None for timings alone.
        quick: whether `settings` are those of --quick.
        backends: the names of the engines to measure; all engines if empty.
        kind: "cpu" or "gpu".
        threads: numbers of threads; if empty, 1 and the device's number of cores.
        progress: called with one line for each step.

    Raises:
        EdgeError: ssh is not installed, the connection fails, the device has no suitable Python,
            or the run on the device fails.
        BackendUnavailable: no engine that is installed on the device opens any artifact.
    """
    arguments = [f"--repetitions={settings.repetitions}", f"--min-seconds={settings.min_seconds}"]
    arguments += [f"--min-count={settings.min_count}", f"--device={kind}"]
    arguments += [f"--backend={name}" for name in backends]
    arguments += ["--threads=" + ",".join(map(str, threads))] if threads else []
    arguments += ["--quick"] if quick else []
    # The program is sent as the text of `python -c`: the device has no copy of it yet.
    program = Path(agent.__file__).read_text("utf-8")
    with tempfile.TemporaryFile() as archive, tempfile.TemporaryFile() as output:
        pack(models, archive, pixels)
        archive.seek(0)
        progress("connecting")
        _ssh(device, [device.python, "-c", program, *arguments], archive, output, progress)
        output.seek(0)
        _, marker, results = output.read().partition(agent.MARKER)
    if not marker:
        raise EdgeError(f"{device.destination} sent no results: try again")
    source = f"the result of {device.destination}"
    with tempfile.TemporaryDirectory(prefix="digit-edge-") as name:
        try:
            with zipfile.ZipFile(io.BytesIO(results)) as packed:
                packed.extractall(name)
            latency_json = Path(name, "latency.json").read_bytes()
        except (zipfile.BadZipFile, OSError) as error:
            raise EdgeError(f"{source} is damaged ({error}): try again") from error
        report = from_json(LatencyReport, latency_json, source)
        predictions = None if pixels is None else predict.read(Path(name), source)
    if not report.results and all(skipped.status != FAILED for skipped in report.skipped):
        reasons = "; ".join(dict.fromkeys(skipped.reason for skipped in report.skipped))
        raise BackendUnavailable(
            f"no engine on {device.destination} opens any artifact ({reasons}): install one there, "
            "or name the Python that has one with --on-python"
        )
    return RemoteResults(report, predictions)


def pack(models: Path, file: IO[bytes], pixels: Pixels | None = None) -> None:
    """Write the zip archive that is sent to a device: the packages, artifacts and images.

    Args:
        models: the folder of the artifacts; the Keras reference is left out.
        file: the file to write to.
        pixels: the images to predict, (N, 28, 28, 1) uint8, if any.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for package in _PACKAGES:
            folder = ROOT / own_name(package).replace(".", "/")
            for path in sorted(folder.rglob("*.py")):
                archive.write(path, path.relative_to(ROOT))
        for path in sorted(models.iterdir()):
            if path.suffix in (".tflite", ".onnx"):
                archive.write(path, f"models/{path.name}")
        if pixels is not None:
            images = io.BytesIO()
            np.save(images, pixels)
            archive.writestr("pixels.npy", images.getvalue(), zipfile.ZIP_DEFLATED)


def _ssh(
    device: Device,
    command: Sequence[str],
    stdin: IO[bytes],
    stdout: IO[bytes],
    progress: Callable[[str], None],
) -> None:
    """Run a command on the device; pass each line of its standard error to `progress`.

    Raises:
        EdgeError: ssh is not installed, the connection fails, or the command fails.
    """
    options = ["-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT_TIMEOUT_S}"]
    options += ["-o", f"ServerAliveInterval={_ALIVE_INTERVAL_S}"]
    options += ["-p", str(device.port)] if device.port else []
    try:
        process = subprocess.Popen(
            ["ssh", *options, "--", device.destination, shlex.join(command)],
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise EdgeError(f"cannot start ssh ({error.strerror}): install OpenSSH's client") from error
    last_line = ""
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if line.strip():
                last_line = line.strip()
                progress(last_line)
        status = process.wait()
    finally:
        process.terminate()  # has no effect if the process has ended
        process.wait()
        process.stderr.close()
    if status == _SSH_FAILED_STATUS:
        raise EdgeError(
            f"cannot reach {device.destination}: {last_line or 'ssh failed'} (ssh runs without "
            f"passwords: check that `ssh {device.destination} true` works without one)"
        )
    if status == _NOT_FOUND_STATUS:
        raise EdgeError(
            f"{device.destination} has no {device.python}: install it, or name another with "
            "--on-python"
        )
    if status != 0:
        reason = last_line.removeprefix("error: ") or f"ended with status {status}"
        raise EdgeError(f"{device.destination}: {reason}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that describe a device."""
    parser.add_argument(
        "--on",
        metavar="USER@HOST",
        help="measure the artifacts on this device too, over ssh",
    )
    parser.add_argument(
        "--on-port",
        type=int,
        metavar="PORT",
        help="the port of ssh on the device (default: that of ssh's configuration)",
    )
    parser.add_argument(
        "--on-python",
        metavar="PATH",
        help="the Python on the device that has an engine installed; a relative path starts in "
        f"the home folder (default: {Device.python})",
    )


def device_of(arguments: argparse.Namespace) -> Device | None:
    """Return the device that the options of `add_arguments` describe; None without --on.

    Raises:
        EdgeError: another of the options is given without --on.
    """
    port, python = arguments.on_port, arguments.on_python
    if arguments.on is not None:
        return Device(
            arguments.on,
            Device.port if port is None else port,
            Device.python if python is None else python,
        )
    for value, option in ((port, "--on-port"), (python, "--on-python")):
        if value is not None:
            raise EdgeError(f"{option} describes a device: give --on USER@HOST too")
    return None
