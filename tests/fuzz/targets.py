"""The programs that the fuzzer feeds, and the promises that it checks.

Each target makes an input from a seed and tries it. `try_input` returns a `Trial`. Its `fault` is
empty if all promises hold.
"""

import multiprocessing
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from runtime import Classifier, EdgeError
from runtime.model import artifact
from runtime.model.default_model import PRETRAINED
from runtime.selftest import selftest
from runtime.system.host import IMAGE_BYTES, limit_memory, return_freed_memory
from tests.fuzz import images, mutate
from tests.fuzz.meter import Meter

ROOT = Path(__file__).parents[2]

# The promises, see docs/reliability.md.
MAX_CPU_S = 2.0  # processor seconds for one file
MAX_MB = 260  # peak of the resident memory, summed over the processes
_DEADLINE_S = 90  # a process that needs longer hangs
_RETRIES = 2  # a try that was too slow is repeated: on a busy machine the times vary
_EXPENSIVE_SHARE = 0.5  # of the images are hand-built expensive ones


@dataclass(frozen=True)
class Trial:
    """What an input did.

    Attributes:
        outcome: "done", "refused", or the fault in one line.
        fault: whether a promise is broken.
        cpu_s: processor seconds.
        mb: peak of the memory in megabytes.
    """

    outcome: str
    fault: bool = False
    cpu_s: float = 0.0
    mb: float = 0.0


class Target:
    """A program under test.

    Attributes:
        name: its name in `--targets`.
        suffix: of files with its inputs.
    """

    name = ""
    suffix = ".bin"

    def make(self, rng: random.Random) -> bytes:
        """Make an input."""
        raise NotImplementedError

    def try_input(self, data: bytes) -> Trial:
        """Try an input."""
        raise NotImplementedError

    def close(self) -> None:
        """End the program."""


class _ProcessTarget(Target):
    """Calls a function in a second process, which may crash or hang."""

    def __init__(self) -> None:
        self._process: Any = None

    def call(self, data: bytes) -> str:
        """Process an input in the second process; return "done" or "refused".

        Raises:
            Exception: any other exception is a fault.
        """
        raise NotImplementedError

    def prepare(self) -> None:
        """Prepare the second process."""

    def try_input(self, data: bytes) -> Trial:
        trial = self._once(data)
        for _ in range(_RETRIES):
            if trial.fault or (trial.cpu_s <= MAX_CPU_S and trial.mb <= MAX_MB):
                return trial
            # In a new process, because memory that was freed may not be returned to the system.
            self.close()
            trial = self._once(data)
        if trial.cpu_s <= MAX_CPU_S and trial.mb <= MAX_MB:
            return trial
        return Trial("too expensive", True, trial.cpu_s, trial.mb)

    def _once(self, data: bytes) -> Trial:
        if self._process is None:
            context = multiprocessing.get_context("spawn")
            self._connection, end = context.Pipe()
            self._process = context.Process(target=_run, args=(type(self), end), daemon=True)
            self._process.start()
            end.close()
        try:
            self._connection.send_bytes(data)
            if not self._connection.poll(_DEADLINE_S):
                self.close()
                return Trial(f"hangs for {_DEADLINE_S} s", True, _DEADLINE_S)
            trial: Trial = self._connection.recv()
        except (EOFError, OSError):
            self._process.join(_DEADLINE_S)
            code = self._process.exitcode
            self.close()
            return Trial(f"the process ended with status {code}", True)
        return trial

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
            self._process = None


def _run(kind: type[_ProcessTarget], connection: Connection) -> None:
    """Process inputs in the second process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return_freed_memory()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff and libjpeg write warnings
    target = kind()
    target.prepare()
    limit_memory(IMAGE_BYTES)  # as the commands do
    meter = Meter(os.getpid())
    with suppress(EOFError):
        while True:
            data = connection.recv_bytes()
            meter.start()
            start = time.process_time()
            try:
                outcome, fault = target.call(data), False
            except Exception:
                lines = traceback.format_exc().splitlines()
                outcome, fault = f"{lines[-1]} (at {lines[-3].strip()})", True
            connection.send(Trial(outcome, fault, time.process_time() - start, meter.peak_mb()))


class Classifying(_ProcessTarget):
    """`Classifier.classify` of an image."""

    name = "classify"
    suffix = ".img"

    def make(self, rng: random.Random) -> bytes:
        return make_image(rng)

    def prepare(self) -> None:
        classifier = Classifier.load()
        classifier.read(images.ordinary()["page.png"])  # opens the line reader
        self._function: Callable[[bytes], Any] = getattr(classifier, self.name)

    def call(self, data: bytes) -> str:
        return _outcome(lambda: self._function(data))


class Reading(Classifying):
    """`Classifier.read` of an image."""

    name = "read"


def _outcome(work: Callable[[], Any]) -> str:
    """Return "done", or "refused" if an error of one line is raised."""
    try:
        return "refused" if work() is False else "done"
    except EdgeError as error:
        if "\n" in str(error):
            raise ValueError(f"the message has several lines: {error}") from error
        return "refused"


def make_image(rng: random.Random) -> bytes:
    """Make an image: an expensive one, or an ordinary one with mutations."""
    if rng.random() < _EXPENSIVE_SHARE:
        data = images.expensive(rng)[1]
        return data if rng.random() < 0.7 else mutate.mutate_image(rng, data, b"")
    files = list(images.ordinary().values())
    return mutate.mutate_image(rng, rng.choice(files), rng.choice(files))


_MODELS = ("digits.tflite", "digits-int8.tflite", "digits.onnx", "digits-int8.onnx")


class Artifacts(_ProcessTarget):
    """Opening a damaged model: it is refused, or predicts what the model predicts.

    The first byte of an input is the number of the model; the file follows.
    """

    name = "artifacts"

    def make(self, rng: random.Random) -> bytes:
        number = rng.randrange(len(_MODELS))
        path = PRETRAINED / _MODELS[number]
        return bytes([number]) + mutate.mutate_artifact(
            rng, path.read_bytes(), path.suffix, forge=False
        )

    def prepare(self) -> None:
        self._folder = Path(tempfile.mkdtemp())
        self._pixels = artifact.read(PRETRAINED / _MODELS[0]).spec.golden.pixels
        self._scores = [Classifier.load(PRETRAINED / name).scores(self._pixels) for name in _MODELS]

    def call(self, data: bytes) -> str:
        path = self._folder / _MODELS[data[0]]
        path.write_bytes(data[1:])

        def predict() -> None:
            scores = Classifier.load(path).scores(self._pixels)
            assert np.array_equal(scores, self._scores[data[0]]), (
                "a damaged model predicts nonsense"
            )

        return _outcome(predict)


class Forged(Artifacts):
    """The self-test of a changed model whose digest is right: it ends, in any way."""

    name = "forged"

    def make(self, rng: random.Random) -> bytes:
        number = rng.randrange(len(_MODELS))
        path = PRETRAINED / _MODELS[number]
        return bytes([number]) + mutate.mutate_artifact(
            rng, path.read_bytes(), path.suffix, forge=True
        )

    def call(self, data: bytes) -> str:
        return _self_test(self._folder / _MODELS[data[0]], data[1:])


class Specs(Artifacts):
    """The self-test of a model with a changed spec whose digest is right."""

    name = "specs"

    def make(self, rng: random.Random) -> bytes:
        number = rng.randrange(len(_MODELS))
        path = PRETRAINED / _MODELS[number]
        whole = artifact.read(path)
        text = mutate.mutate_spec(rng, whole.spec.to_json()).encode("utf-8", "surrogatepass")
        return bytes([number]) + _with_spec(path, text)

    def call(self, data: bytes) -> str:
        return _self_test(self._folder / _MODELS[data[0]], data[1:])


def _with_spec(path: Path, text: bytes) -> bytes:
    """Return an artifact with another text as its spec, and the right digest."""

    class Spec:
        labels = ("0",)

        @staticmethod
        def to_json() -> str:
            return text.decode("utf-8", "surrogatepass")

    data = path.read_bytes()
    if path.suffix == ".onnx":
        # Before the entry's content are its tag and its length, of one to three bytes.
        bare = data[: data.rindex(b"\x72", 0, data.index(b"\x0a\x0fmodel_spec.json"))]
    else:
        bare = data[: data.index(b"PK\x03\x04")]
    return artifact.embed(path.suffix, bare, Spec())  # type: ignore[arg-type]


def _self_test(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return _outcome(lambda: bool(selftest(path)))


class Requests(Target):
    """HTTP requests to a real server, one connection each."""

    name = "requests"
    suffix = ".http"

    def __init__(self) -> None:
        self._server: Any = None

    def make(self, rng: random.Random) -> bytes:
        if rng.random() < 0.4:
            image = make_image(rng)
            kind = rng.choice((b"classify", b"read", b"numbers"))
            head = b"POST /v1/%s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n"
            return head % (kind, len(image)) + image
        files = list(images.ordinary().values())
        image = rng.choice(files)
        if rng.random() < 0.3:
            image = mutate.mutate_image(rng, image, rng.choice(files))
        return mutate.request(rng, image)

    def _start(self) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  # closed in `close`
        self._server = subprocess.Popen(
            [
                *(sys.executable, "-m", "runtime.serve", "--port", "0", "--timeout", "20"),
                *("--read", "--region", "10%,10%,80%,80%", "--region", "3,3,9,9"),
            ],
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            cwd=ROOT,
            text=True,
        )
        self._port = int(re.search(r":(\d+)/", self._server.stdout.readline())[1])  # type: ignore
        self._send(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")

    def _worker(self) -> int:
        tasks = Path(f"/proc/{self._server.pid}/task").glob("*/children")
        (child,) = "".join(task.read_text() for task in tasks).split()
        return int(child)

    def try_input(self, data: bytes) -> Trial:
        for retry in range(1 + _RETRIES):
            trial = self._once(data)
            if trial.fault or (trial.cpu_s <= MAX_CPU_S and trial.mb <= MAX_MB):
                return trial
            if retry < _RETRIES:
                self.close()
        return Trial("too expensive", True, trial.cpu_s, trial.mb)

    def _once(self, data: bytes) -> Trial:
        if self._server is None:
            self._start()
        self._stderr.seek(0, os.SEEK_END)
        worker = self._worker()
        meter = Meter(self._server.pid, worker)
        reply = self._send(data)
        health = self._send(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        status = int(reply[9:12]) if reply[9:12].isdigit() else 0
        fault = ""
        if not health.startswith(b"HTTP/1.1 200"):
            fault = f"the server does not respond any more: {health[:80]!r}"
        elif status == 500 or (status and not 100 <= status < 600):
            fault = f"status {status}: {reply[-300:]!r}"
        self._stderr.seek(0)
        printed = self._stderr.read().decode("utf-8", "replace")
        if "Traceback" in printed or "Exception" in printed:
            fault = f"stderr: {printed.splitlines()[-1]}"
        elif not fault and self._worker() != worker:
            fault = f"the worker was replaced: {printed.splitlines()[-1:]}"
        if fault:
            self.close()
            return Trial(fault, True)
        outcome = "done" if status == 200 else "refused"
        return Trial(outcome, False, meter.cpu_s(), meter.peak_mb())

    def _send(self, data: bytes) -> bytes:
        """Send a request, close the sending side, and return the reply."""
        reply = bytearray()
        with socket.create_connection(("127.0.0.1", self._port), timeout=_DEADLINE_S) as connection:
            with suppress(OSError):
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
            with suppress(OSError):
                while part := connection.recv(1 << 16):
                    reply += part
        return bytes(reply)

    def close(self) -> None:
        if self._server is not None:
            self._server.terminate()
            try:
                self._server.wait(15)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
            self._server.stdout.close()
            self._stderr.close()
            self._server = None


TARGETS: tuple[Callable[[], Target], ...] = (
    Classifying, Reading, Requests, Artifacts, Specs, Forged,
)  # fmt: skip
