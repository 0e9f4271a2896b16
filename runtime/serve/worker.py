"""The worker process: decode and classify images in a process that the server can kill.

`runtime.serve.supervisor` starts it. It reads messages (`runtime.serve.wire`) from an inherited
socket and exits when the server closes the socket. The header of a message has `id` and `task`:

    ping      the thread that reads messages replies at once
    model     the reply's header has `model`, the description of the open artifact
    classify  the body is an image; the header has `drawing`, see POST /v1/classify
    read      the body is an image

The header of a reply has the same `id` and either `digits` or `problem`. `digits` has a list
[label, accepted, inference seconds or None] for each classified digit; `problem` is an HTTP status
and its detail. The body of a reply is the body of the HTTP response.
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

# Threads hold Python's global lock for this long at a time. Python's default of 5 ms delays short
# requests behind long ones.
_SWITCH_INTERVAL_S = 0.0005
_STACK_BYTES = 8 << 20  # memory for the stack of a thread
_SLACK_BYTES = 10_000_000  # memory for the fragmentation of the heap
_STDERR_FILENO = 2  # file descriptor of stderr


class _Worker:
    def __init__(
        self, connection: socket.socket, model: ReloadingClassifier, limits: Limits
    ) -> None:
        self._connection, self._model, self._limits = connection, model, limits
        self._budget = DecodeBudget(limits)
        self._sending = threading.Lock()

    def run(self) -> None:
        """Process messages until the server closes the connection."""
        self._describe(wire.READY)
        pool = ThreadPoolExecutor(self._limits.workers, thread_name_prefix="classify")
        with self._connection.makefile("rb") as messages:
            while (message := wire.receive(messages)) is not None:
                header, image = message
                if header["task"] == "ping":
                    self._send({"id": header["id"]})
                elif header["task"] == "model":
                    # In the pool: it may first have to open a replaced model.
                    pool.submit(self._describe, header["id"])
                else:
                    job = pool.submit(self._process, header, image)
                    job.add_done_callback(partial(self._reply, header["id"]))
                    del image, message, job  # do not keep the image while waiting for the next

    def _describe(self, number: int) -> None:
        model = responses.describe(self._model.classifier, self._limits)
        self._send({"id": number, "model": vars(model)})

    def _process(self, header: wire.Header, image: bytes) -> tuple[list[responses.Counted], bytes]:
        """Return the digits for the metrics and the body of the HTTP response."""
        classifier, task = self._model.classifier, header["task"]
        with self._budget.lease(check_size(image, self._limits, page=task == "read")):
            if task == "read":
                recognition, digits = responses.read(classifier, image)
                return digits, bodies.encode(recognition)
            classification, digits = responses.classify(classifier, image, header["drawing"])
            return digits, bodies.encode(classification)

    def _reply(self, number: int, job: "Future[tuple[list[responses.Counted], bytes]]") -> None:
        error = job.exception()
        if error is None:
            digits, body = job.result()
            self._send({"id": number, "digits": digits}, body)
            return
        if isinstance(error, HttpProblem):
            problem = error.status, error.detail
        elif isinstance(error, EdgeError):
            # An unreadable image is the client's error, any other error the server's.
            detail = str(error).removeprefix("<bytes>: ")
            problem = 422 if isinstance(error, ImageError) else 500, detail
        elif isinstance(error, MemoryError):
            problem = 503, "the server is out of memory: try again, or send a smaller image"
        else:
            traceback.print_exception(error)
            problem = 500, "internal error: the server's log has the traceback"
        self._send({"id": number, "problem": problem})

    def _send(self, header: wire.Header, body: bytes = b"") -> None:
        with self._sending:
            wire.send(self._connection, header, body)


def main() -> None:
    """Open the model, send its description or the error, and process messages."""
    # Only the server stops this process; ignore signals sent to the process group.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    return_freed_memory()
    _silence_decoders()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    warnings.simplefilter("ignore")  # Pillow warns about every damaged tag of a file
    connection = socket.socket(fileno=int(sys.argv[1]))
    options, limits = wire.unpack_options(sys.argv[2])
    try:
        model = ReloadingClassifier(
            options.path, backend=options.backend, threads=options.threads, device=options.device
        )
    except EdgeError as error:
        wire.send(connection, {"id": wire.READY, "refused": str(error)})
    else:
        _limit_memory(limits)
        with suppress(OSError):  # the server has ended
            _Worker(connection, model, limits).run()
    # Do not wait for threads that still decode.
    os._exit(0)


def _silence_decoders() -> None:
    """Discard the C libraries' output about damaged files; keep Python's stderr."""
    stderr = os.dup(_STDERR_FILENO)
    sys.stderr = open(stderr, "w", buffering=1, errors="backslashreplace")  # noqa: SIM115
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, _STDERR_FILENO)
    os.close(devnull)
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    logging.getLogger("PIL").propagate = False


def _limit_memory(limits: Limits) -> None:
    """Limit the memory of this process, so that an image that exceeds its estimate is rejected."""
    allowed = data_bytes() + limits.work_bytes + limits.memory_bytes + _SLACK_BYTES
    allowed += (limits.workers + 1) * _STACK_BYTES
    # macOS does not support it; the systemd unit forbids the call but sets its own limit.
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (allowed, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main()
