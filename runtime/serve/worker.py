"""The worker: decodes and classifies images in a process of its own, which the server can kill.

It reads messages from a socket that it inherits, see `runtime.serve.wire`, and exits when the
server closes it. A header holds `id` and `task`:

    ping      answered at once by the thread that reads the messages
    model     the answer's header holds `model`, the description of the open artifact
    classify  the body is an image; `drawing` as in POST /v1/classify
    read      the body is an image

The answer's header holds the same `id`, and `digits`, one [label, accepted, inference seconds or
None] for each digit that was classified, or `problem`, an HTTP status and its detail. The answer's
body is that of the HTTP response.
"""

import logging
import os
import signal
import socket
import sys
import threading
import traceback
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from runtime.errors import EdgeError, ImageError
from runtime.reload import ReloadingClassifier
from runtime.serve import bodies, responses, wire
from runtime.serve.images import check_size
from runtime.serve.limits import DecodeBudget, Limits
from runtime.serve.problem_details import HttpProblem
from runtime.system.host import data_bytes, return_freed_memory

# Threads take turns holding Python's lock; with the default of 5 ms, short requests wait.
_SWITCH_INTERVAL_S = 0.0005
_STACK_BYTES = 8 << 20  # of a thread
_SLACK_BYTES = 10_000_000  # for what a heap keeps between two used blocks


class _Worker:
    def __init__(
        self, connection: socket.socket, model: ReloadingClassifier, limits: Limits
    ) -> None:
        self._connection, self._model, self._limits = connection, model, limits
        self._room = DecodeBudget(limits)
        self._sending = threading.Lock()

    def run(self) -> None:
        """Answer messages until the server closes the connection."""
        self._describe(wire.READY)
        pool = ThreadPoolExecutor(self._limits.workers, thread_name_prefix="classify")
        with self._connection.makefile("rb") as messages:
            while (message := wire.receive(messages)) is not None:
                header, image = message
                if header["task"] == "ping":
                    self._send({"id": header["id"]})
                elif header["task"] == "model":
                    # Not by this thread: a model that was replaced is opened first.
                    pool.submit(self._describe, header["id"])
                else:
                    job = pool.submit(self._work, header, image)
                    job.add_done_callback(partial(self._answer, header["id"]))
                    del image, message, job  # they would hold an image until the next one comes

    def _describe(self, number: int) -> None:
        model = responses.describe(self._model.classifier, self._limits)
        self._send({"id": number, "model": vars(model)})

    def _work(self, header: wire.Header, image: bytes) -> tuple[list[responses.Counted], bytes]:
        classifier, task = self._model.classifier, header["task"]
        with self._room.lease(check_size(image, self._limits, page=task == "read")):
            if task == "read":
                recognition, digits = responses.read(classifier, image)
                return digits, bodies.encode(recognition)
            classification, digits = responses.classify(classifier, image, header["drawing"])
            return digits, bodies.encode(classification)

    def _answer(self, number: int, job: "Future[tuple[list[responses.Counted], bytes]]") -> None:
        error = job.exception()
        if error is None:
            digits, body = job.result()
            self._send({"id": number, "digits": digits}, body)
            return
        if isinstance(error, HttpProblem):
            problem = error.status, error.detail
        elif isinstance(error, EdgeError):
            # An unreadable image is the client's fault, all else the server's.
            detail = str(error).removeprefix("<bytes>: ")
            problem = 422 if isinstance(error, ImageError) else 500, detail
        elif isinstance(error, MemoryError):
            problem = 503, "the server is out of memory: try again, or send a smaller image"
        else:
            traceback.print_exception(error)
            problem = 500, "a bug in the server; its log has the traceback"
        self._send({"id": number, "problem": problem})

    def _send(self, header: wire.Header, body: bytes = b"") -> None:
        with self._sending:
            wire.send(self._connection, header, body)


def main() -> None:
    """Open the model, say so or why not, and answer until the server ends."""
    # The server ends this process; signals sent to the whole group are for the server.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    return_freed_memory()
    _keep_decoders_quiet()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    warnings.simplefilter("ignore")  # Pillow warns of each damaged tag of a file
    connection = socket.socket(fileno=int(sys.argv[1]))
    chosen, limits = wire.unpack_options(sys.argv[2])
    try:
        model = ReloadingClassifier(
            chosen.path, backend=chosen.backend, threads=chosen.threads, device=chosen.device
        )
    except EdgeError as error:
        wire.send(connection, {"id": wire.READY, "refused": str(error)})
    else:
        _limit_memory(limits)
        try:
            _Worker(connection, model, limits).run()
        except OSError:
            pass  # the server is gone
    # Without waiting for threads that still decode.
    os._exit(0)


def _keep_decoders_quiet() -> None:
    """Send what decoders print of damaged files to nowhere; this program's own lines stay."""
    sys.stderr = open(os.dup(2), "w", buffering=1, errors="backslashreplace")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    logging.getLogger("PIL").propagate = False


def _limit_memory(limits: Limits) -> None:
    """Have the system refuse what a decoder takes beyond its estimate: the image is refused."""
    allowed = data_bytes() + limits.work_bytes + limits.memory_bytes + _SLACK_BYTES
    allowed += (limits.workers + 1) * _STACK_BYTES
    # Not on macOS; and the unit for systemd forbids it, but has a limit of its own.
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (allowed, resource.RLIM_INFINITY))
