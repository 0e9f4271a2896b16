"""Runs each benchmark case in a process of its own, so that a crash affects no other case."""

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

JOB_FILE, ANSWER_FILE, REFUSAL_FILE, STAGE_FILE = "job.json", "answer.json", "refusal.json", "stage"
# Several times what the slowest row, Keras on a Raspberry Pi, may take.
TIMEOUT_S = 900
# What NumPy's BLAS reads before it starts: OpenBLAS, MKL, and builds on OpenMP.
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}

Answer = TypeVar("Answer", PredictResponse, LatencyResponse, Roofline, Explanation)


@dataclass(frozen=True)
class Refusal:
    """What a row's process reports when it ends in an EdgeError."""

    status: str
    reason: str


def request_predictions(
    job: PredictRequest, external_pythons: tuple[ExternalPython, ...] = ()
) -> PredictResponse | SkippedCase:
    """Have a process of its own answer `job`; a row that fails says why."""
    return _ask("scores", job, PredictResponse, external_pythons)


def request_latency(
    job: LatencyRequest, external_pythons: tuple[ExternalPython, ...] = ()
) -> LatencyResponse | SkippedCase:
    """Have a process of its own time `job`; a row that fails says why."""
    return _ask("latency", job, LatencyResponse, external_pythons)


def request_roofline(job: RooflineRequest) -> Roofline | SkippedCase:
    """Have a process of its own measure what the processor can do at most."""
    return _ask("peak", job, Roofline, (), _ONE_THREAD)


def request_explanation(job: ExplainRequest) -> Explanation | SkippedCase:
    """Trace the float and the int8 artifact in a separate process."""
    return _ask("explain", job, Explanation, ())


def _ask(
    kind: str,
    job: PredictRequest | LatencyRequest | RooflineRequest | ExplainRequest,
    answer: type[Answer],
    external_pythons: tuple[ExternalPython, ...],
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Answer | SkippedCase:
    python = next(
        (i.python for i in external_pythons if i.backend == job.case.backend), sys.executable
    )
    with tempfile.TemporaryDirectory(prefix="digit-edge-") as name:
        folder = Path(name)
        (folder / JOB_FILE).write_text(to_json(job), "utf-8")
        command = [python, "-m", "benchmarks.worker", kind, name]
        try:
            ended = _complete(
                [*command, str(time.monotonic_ns())], subprocess.DEVNULL, dict(variables)
            )
        except subprocess.TimeoutExpired:
            reason = f"no answer after {TIMEOUT_S} s, while {_stage(folder)}"
            return SkippedCase(job.case, FAILED, reason)
        except OSError as error:
            return SkippedCase(job.case, FAILED, f"cannot start {python}: {error.strerror}")
        if (folder / REFUSAL_FILE).exists():
            refusal = from_json(Refusal, (folder / REFUSAL_FILE).read_text("utf-8"), str(job.case))
            return SkippedCase(job.case, refusal.status, refusal.reason)
        if ended.returncode != 0 or not (folder / ANSWER_FILE).exists():
            said = ended.stderr.strip().splitlines()
            reason = f"its process {_end(ended.returncode)} while {_stage(folder)}"
            return SkippedCase(job.case, FAILED, f"{reason}: {said[-1]}" if said else reason)
        return from_json(answer, (folder / ANSWER_FILE).read_text("utf-8"), str(job.case))


def run(command: Sequence[str]) -> str:
    """Run a program that finds the packages beside this one; what it printed.

    Raises:
        EdgeError: it cannot be started, takes too long, or ends with another status than 0.
    """
    try:
        ended = _complete(command, subprocess.PIPE, {})
    except subprocess.TimeoutExpired as error:
        raise EdgeError(f"no end after {TIMEOUT_S} s") from error
    except OSError as error:
        raise EdgeError(f"cannot start {command[0]}: {error.strerror}") from error
    if ended.returncode != 0:
        # A native library may go on talking after the error: the last line that names one.
        said = ended.stderr.strip().splitlines()
        named = [line for line in said if "rror" in line or "No module" in line] or said
        why = f": {named[-1].strip()}" if named else ""
        raise EdgeError(f"its process {_end(ended.returncode)}{why}")
    return ended.stdout


def _complete(
    command: Sequence[str], stdout: int, variables: Mapping[str, str]
) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end; whatever happens, it and its own children end with this call.

    Raises:
        subprocess.TimeoutExpired: it took longer than `TIMEOUT_S`.
        OSError: it cannot be started.
    """
    # Deferred: an exception between the start and `try` would leave the program running.
    with interrupt.deferred():
        process = subprocess.Popen(
            command,
            env=environment() | variables,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # a process group of its own, so that its children end too
        )
        with process, interrupt.child(process.pid):
            try:
                with interrupt.immediate():
                    printed, said = process.communicate(timeout=TIMEOUT_S)
            except BaseException:  # Ctrl-C too; raised again below
                # Also if the program itself has ended: its children may go on.
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise
    return subprocess.CompletedProcess(command, process.returncode, printed, said)


def environment() -> dict[str, str]:
    """This process's environment, in which a Python elsewhere finds the packages beside this."""
    root = str(Path(__file__).resolve().parents[2])
    inherited = os.environ.get("PYTHONPATH")
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (root, inherited)))}


def _stage(folder: Path) -> str:
    file = folder / STAGE_FILE
    return file.read_text("utf-8") if file.exists() else "starting"


def _end(status: int) -> str:
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"
