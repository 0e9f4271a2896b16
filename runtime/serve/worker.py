"""The worker process: decode and classify images in a process that the server can kill.

`runtime.serve.supervisor` starts this process. The process reads messages (`runtime.serve.wire`)
from an inherited socket, and exits when the server closes the socket. The header of a message has
an `id` and one of these values of `task`:

- `ping`: The worker replies at once, even if all its threads are busy.
- `model`: The header of the reply has `model`, the description of the open artifact.
- `classify`: The body is an image. The header has `drawing`, see POST /v1/classify.
- `feature-maps`: The same for POST /v1/feature-maps; the reply has no digits.
- `read`: The body is an image of a page.
- `numbers`: The body is the image of POST /v1/numbers.
- `to-png`: The body is an image. The body of the reply is the image as a PNG, not JSON, and the
  reply has no digits.
- `infer`: The body is that of POST /v2/models/{name}/infer. The header has `name` and `json_bytes`,
  the size of the JSON in the body, or None.

With an image, the header also has `is_json`: whether the body is JSON that contains
the image.

The header of a reply has the `id` of the message. The reply to an image also has either `digits` or
`problem`. `digits` has the fields of a `responses.Counted` for each classified digit. With
`digits`, the body of the reply is the body of the HTTP response, and `json_bytes` is the size of
the JSON in it, or None. `problem` is (HTTP status, detail).
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
from runtime.numbers.options import NumberOptions
from runtime.numbers.read_regions import NumberReader
from runtime.reload import ReloadingClassifier
from runtime.serve import responses, wire
from runtime.serve.images import check_json_size, check_size, image_in_json
from runtime.serve.limits import DecodeBudget, Limits
from runtime.serve.open_inference.infer import infer
from runtime.serve.problem_details import HttpProblem
from runtime.system.host import limit_memory, return_freed_memory

# A thread that holds Python's global lock longer than this must hand the lock over if another
# thread waits. With Python's default of 5 ms, short requests would wait long for long requests.
_SWITCH_INTERVAL_S = 0.0005
# Added to the memory limit of this process, beyond which an image is rejected with status 503.
_STACK_BYTES = 8 << 20  # for the stack of each thread
_SLACK_BYTES = 10_000_000  # for the fragmentation of the heap
_STDERR_FILENO = 2  # file descriptor of stderr


class _Worker:
    def __init__(
        self,
        connection: socket.socket,
        model: ReloadingClassifier,
        limits: Limits,
        numbers: NumberReader | None,
    ) -> None:
        self._connection, self._model, self._limits = connection, model, limits
        self._numbers = numbers
        self._checking = threading.Lock()  # one request at a time is compared with the last values
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
                    # Run this in the pool, because a replaced model may have to be opened first.
                    pool.submit(self._describe, header["id"])
                else:
                    job = pool.submit(self._process, header, image)
                    job.add_done_callback(partial(self._reply, header["id"]))
                    del image, message, job  # do not keep the image while waiting for the next

    def _describe(self, number: int) -> None:
        reads_numbers = self._numbers is not None
        model = responses.describe(self._model.classifier, self._limits, reads_numbers)
        self._send({"id": number, "model": vars(model)})

    def _process(self, header: wire.Header, body: bytes) -> responses.WorkerBody:
        """Return the body of the HTTP response, and the digits for the metrics.

        Raises:
            HttpProblem: 400 or 404 if the request is invalid, 413 if it is too large, 501 if the
                network has no feature maps, 503 if memory does not become free in time.
            ImageError: the image cannot be decoded.
        """
        task = header["task"]
        if task == "infer":
            json_bytes = header["json_bytes"]
            with self._budget.lease(check_json_size(body[:json_bytes], self._limits)):
                return self._model.run(lambda c: infer(c, body, header["name"], json_bytes))
        if header["is_json"]:
            with self._budget.lease(check_json_size(body, self._limits)):
                body = image_in_json(body)
        image = body
        is_page = task in ("read", "numbers")
        with self._budget.lease(check_size(image, self._limits, page=is_page)):
            if task == "numbers":
                # Without --read, requests do not know each other.
                reader = self._numbers or NumberReader(NumberOptions())
                checking = self._checking
                return self._model.run(lambda c: responses.numbers(c, image, reader, checking))
            if task == "read":
                return self._model.run(lambda c: responses.read(c, image))
            if task == "to-png":
                return responses.to_png(image)
            drawing = header["drawing"]
            if task == "feature-maps":
                return self._model.run(lambda c: responses.feature_maps(c, image, drawing))
            return self._model.run(lambda c: responses.classify(c, image, drawing))

    def _reply(self, number: int, job: "Future[responses.WorkerBody]") -> None:
        error = job.exception()
        if error is None:
            body = job.result()
            header = {"id": number, "digits": body.digits, "json_bytes": body.json_bytes}
            self._send(header, body.content)
            return
        if isinstance(error, HttpProblem):
            problem = error.status, error.detail
        elif isinstance(error, EdgeError):
            # An image that cannot be read is an error of the client; others are the server's.
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
    """Open the model, send its description or the error, and process messages.

    The arguments in sys.argv are the file descriptor of the socket, and the options from
    `wire.pack_options`. The function does not return; it ends the process.
    """
    # Only the server may stop this process; ignore signals to the process group.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    return_freed_memory()
    _silence_decoders()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    warnings.simplefilter("ignore")  # Pillow warns about every damaged tag of a file
    connection = socket.socket(fileno=int(sys.argv[1]))
    options, limits, numbers = wire.unpack_options(sys.argv[2])
    try:
        reader = None if numbers is None else NumberReader(numbers)
        model = ReloadingClassifier(
            options.path, backend=options.backend, threads=options.threads, device=options.device
        )
    except EdgeError as error:
        wire.send(connection, {"id": wire.READY, "refused": str(error)})
    else:
        _limit_memory(limits)
        with suppress(OSError):  # the server has ended
            _Worker(connection, model, limits, reader).run()
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
    """Limit the memory of this process.

    An image that needs much more memory than estimated is then rejected with status 503.
    """
    allowed = limits.work_bytes + limits.memory_bytes + _SLACK_BYTES
    limit_memory(allowed + (limits.workers + 1) * _STACK_BYTES)


if __name__ == "__main__":
    main()
