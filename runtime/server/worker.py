"""The worker: decodes and classifies images in a process of its own, which the server can kill.

It reads messages from a socket that it inherits, see `runtime.server.wire`, and ends with the
socket's other side. A header holds `id` and `task`:

    ping      answered at once by the thread that reads the messages
    model     the description of the open artifact
    classify  the body is an image; `drawing` as in POST /v1/classify
    read      the body is an image

The answer's header holds the same `id`, and `digits`, one [label, accepted, inference seconds or
None] for each digit that was classified, or `problem`, an HTTP status and its detail. The answer's
body is that of the HTTP response.
"""

import json
import os
import signal
import socket
import sys
import threading
import traceback
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from runtime.errors import EdgeError, ImageError
from runtime.reload import Reloading
from runtime.server import answers, wire
from runtime.server.images import check_size
from runtime.server.limits import Limits, Room
from runtime.server.problems import Problem

# Threads take turns holding Python's lock; with the default of 5 ms, short requests wait.
_SWITCH_INTERVAL_S = 0.0005


class _Worker:
    def __init__(self, connection: socket.socket, model: Reloading, limits: Limits) -> None:
        self._connection, self._model, self._limits = connection, model, limits
        self._room = Room(limits)
        self._sending = threading.Lock()

    def run(self) -> None:
        """Answer messages until the server closes the connection."""
        description = answers.describe(self._model.classifier)
        self._send({"id": wire.READY, "model": description})
        pool = ThreadPoolExecutor(self._limits.workers, thread_name_prefix="classify")
        with self._connection.makefile("rb") as messages:
            while (message := wire.receive(messages)) is not None:
                header, image = message
                if header["task"] == "ping":
                    self._send({"id": header["id"]})
                else:
                    job = pool.submit(self._work, header, image)
                    job.add_done_callback(partial(self._answer, header["id"]))
                    del image, message, job  # they would hold an image until the next one comes

    def _work(self, header: wire.Header, image: bytes) -> tuple[list[answers.Counted], bytes]:
        classifier, task = self._model.classifier, header["task"]
        if task == "model":
            return [], _encoded(answers.describe(classifier))
        with self._room.lease(check_size(image, self._limits, page=task == "read")):
            if task == "read":
                record, digits = answers.read(classifier, image)
            else:
                record, digits = answers.classify(classifier, image, header["drawing"])
            return digits, _encoded(record)

    def _answer(self, number: int, job: "Future[tuple[list[answers.Counted], bytes]]") -> None:
        error = job.exception()
        if error is None:
            digits, body = job.result()
            self._send({"id": number, "digits": digits}, body)
            return
        if isinstance(error, Problem):
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
    # A signal to the whole process group or unit is for the server, which ends this process.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    warnings.simplefilter("ignore")  # Pillow warns of each damaged tag of a file
    connection = socket.socket(fileno=int(sys.argv[1]))
    chosen, limits = wire.unpack_options(sys.argv[2])
    try:
        model = Reloading(
            chosen.path, backend=chosen.backend, threads=chosen.threads, device=chosen.device
        )
    except EdgeError as error:
        wire.send(connection, {"id": wire.READY, "refused": str(error)})
    else:
        try:
            _Worker(connection, model, limits).run()
        except OSError:
            pass  # the server is gone
    # Without waiting for threads that still decode.
    os._exit(0)


def _encoded(record: dict[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
