"""Runs each benchmark case in a subprocess, because a crash must not end the whole benchmark.

The benchmarks call `request_predictions`, `request_latency`, `request_roofline` and
`request_explanation`. Each function writes a request as a JSON file into a temporary folder, and
starts `benchmarks.worker`. The worker writes its response or an error into the same folder. If the
subprocess fails, the result is a `SkippedCase` with the reason.

`run` runs other programs with the same time limit.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from benchmarks.harness.cases import FAILED, ExternalPython, SkippedCase
from benchmarks.harness.messages import (
    ExplainRequest,
    Explanation,
    LatencyRequest,
    LatencyResponse,
    PredictRequest,
    PredictResponse,
    Roofline,
    RooflineRequest,
)
from benchmarks.harness.serialize import from_json, to_json
from runtime.errors import EdgeError
from runtime.system import interrupt
from runtime.system.own_modules import module_command, own_name

# Files in the temporary folder that is shared with the subprocess:
REQUEST_FILE = "request.json"  # written by this process
RESPONSE_FILE = "response.json"  # written by the subprocess if it succeeds
ERROR_FILE = "error.json"  # a WorkerError, written by the subprocess after an EdgeError
STAGE_FILE = "stage"  # text: the current step of the subprocess, for the message after a crash

# A subprocess that takes longer is killed, and the case is FAILED. The slowest case, Keras on a
# Raspberry Pi, takes a fraction of this time.
TIMEOUT_S = 900
# Environment variables that limit NumPy's BLAS to one thread: OpenBLAS, MKL, or one with OpenMP.
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}

Request = PredictRequest | LatencyRequest | RooflineRequest | ExplainRequest
Response = TypeVar("Response", PredictResponse, LatencyResponse, Roofline, Explanation)


@dataclass(frozen=True)
class WorkerError:
    """The error of a subprocess.

    Attributes:
        status: ABSENT, FAILED or INVALID, as in `SkippedCase.status`.
        reason: the message of the EdgeError, in one line.
    """

    status: str
    reason: str


def request_predictions(
    job: PredictRequest, external_pythons: tuple[ExternalPython, ...] = ()
) -> PredictResponse | SkippedCase:
    """Run an artifact on images in a subprocess; return a SkippedCase if the subprocess fails.

    The scores are in the file `job.scores` afterwards.

    Args:
        job: the request.
        external_pythons: Pythons for engines that are not installed in this one.
    """
    return _request("scores", job, PredictResponse, external_pythons)


def request_latency(
    job: LatencyRequest, external_pythons: tuple[ExternalPython, ...] = ()
) -> LatencyResponse | SkippedCase:
    """Time the scenarios of `job` in a subprocess; return a SkippedCase if the subprocess fails.

    Args:
        job: the request.
        external_pythons: Pythons for engines that are not installed in this one.
    """
    return _request("latency", job, LatencyResponse, external_pythons)


def request_roofline(job: RooflineRequest) -> Roofline | SkippedCase:
    """Measure the roofline of one core in a subprocess.

    The roofline is the largest speed of arithmetic and memory. NumPy's BLAS is limited to one
    thread.

    Returns:
        The roofline, or a SkippedCase if the subprocess fails.
    """
    return _request("peak", job, Roofline, (), _ONE_THREAD)


def request_explanation(job: ExplainRequest) -> Explanation | SkippedCase:
    """Compare a float and an int8 artifact layer by layer in a subprocess.

    Returns:
        The comparison, or a SkippedCase if the subprocess fails.
    """
    return _request("explain", job, Explanation, ())


def _request(
    kind: str,
    job: Request,
    response: type[Response],
    external_pythons: tuple[ExternalPython, ...],
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Response | SkippedCase:
    """Run `benchmarks.worker` with a request and return its response.

    Args:
        kind: the first argument of the worker, KIND.
        job: the request.
        response: the type of the response.
        external_pythons: Pythons for engines that are not installed in this one.
        variables: environment variables to set in addition to those of `environment`.

    Returns:
        The response, or a SkippedCase with the reason if the subprocess fails.
    """
    python = next(
        (i.python for i in external_pythons if i.backend == job.case.backend), sys.executable
    )
    with tempfile.TemporaryDirectory(prefix="digit-edge-") as name:
        folder = Path(name)
        (folder / REQUEST_FILE).write_text(to_json(job), "utf-8")
        worker: list[str] = module_command(own_name("benchmarks.worker"), kind, name, python=python)
        try:
            process = _complete(
                [*worker, str(time.monotonic_ns())], subprocess.DEVNULL, dict(variables)
            )
        except subprocess.TimeoutExpired:
            reason = f"timed out after {TIMEOUT_S} s while {_stage(folder)}"
            return SkippedCase(job.case, FAILED, reason)
        except OSError as error:
            return SkippedCase(job.case, FAILED, f"cannot start {python}: {error.strerror}")
        if (folder / ERROR_FILE).exists():
            failure = from_json(
                WorkerError, (folder / ERROR_FILE).read_text("utf-8"), str(job.case)
            )
            return SkippedCase(job.case, failure.status, failure.reason)
        if process.returncode != 0 or not (folder / RESPONSE_FILE).exists():
            lines = process.stderr.strip().splitlines()
            reason = f"the subprocess {_end(process.returncode)} while {_stage(folder)}"
            return SkippedCase(job.case, FAILED, f"{reason}: {lines[-1]}" if lines else reason)
        return from_json(response, (folder / RESPONSE_FILE).read_text("utf-8"), str(job.case))


def run(command: Sequence[str]) -> str:
    """Run a program that can import this project's packages; return its standard output.

    Args:
        command: the program and its arguments.

    Raises:
        EdgeError: the program cannot be started, takes longer than `TIMEOUT_S`, or its exit status
            is not 0.
    """
    try:
        process = _complete(command, subprocess.PIPE, {})
    except subprocess.TimeoutExpired as error:
        raise EdgeError(f"the program timed out after {TIMEOUT_S} s") from error
    except OSError as error:
        raise EdgeError(f"cannot start {command[0]}: {error.strerror}") from error
    if process.returncode != 0:
        # A native library may log more lines after the error. The last line with an error counts.
        lines = process.stderr.strip().splitlines()
        errors = [line for line in lines if "rror" in line or "No module" in line] or lines
        reason = f": {errors[-1].strip()}" if errors else ""
        raise EdgeError(f"the program {_end(process.returncode)}{reason}")
    return process.stdout


def _complete(
    command: Sequence[str], stdout: int, variables: dict[str, str]
) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end. If this call raises, the program and its children are killed.

    Args:
        command: the program and its arguments.
        stdout: `subprocess.PIPE` to capture standard output, or `subprocess.DEVNULL`.
        variables: environment variables to set in addition to those of `environment`.

    Raises:
        subprocess.TimeoutExpired: the program took longer than `TIMEOUT_S`.
        OSError: the program cannot be started.
    """
    # Defer Ctrl-C: an exception between the start and `try` would leave the program running.
    with interrupt.deferred():
        process = subprocess.Popen(
            command,
            env=os.environ | variables,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # its own process group, so that its children can be killed
        )
        with process, interrupt.child(process.pid):
            try:
                with interrupt.immediate():
                    output, errors = process.communicate(timeout=TIMEOUT_S)
            except BaseException:  # KeyboardInterrupt, too; it is raised again below
                # Kill the process group even if the program has ended: its children may be running.
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def _stage(folder: Path) -> str:
    """Return the last step that the subprocess reported; "starting" if it reported none."""
    file = folder / STAGE_FILE
    return file.read_text("utf-8") if file.exists() else "starting"


def _end(status: int) -> str:
    """Describe an exit status as the end of a sentence.

    Args:
        status: the exit status of `subprocess`; minus the number of the signal after a signal.
    """
    if status < 0:
        return f"was ended by the signal {signal.Signals(-status).name}"
    return f"ended with exit status {status}"
