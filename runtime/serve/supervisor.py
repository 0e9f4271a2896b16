"""Supervise the worker process: send it requests, kill it at a deadline, replace it.

Image decoders can hang or crash on malicious files. Therefore images are decoded in a second
process, the worker (`runtime.serve.worker`). A `Supervisor` kills and replaces the worker while the
server continues to run. `runtime.serve.app` sends images to the worker with `Supervisor.ask`.
"""

import asyncio
import contextlib
import itertools
import socket
import subprocess
import sys
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from runtime.errors import EdgeError, report
from runtime.numbers.options import NumberOptions
from runtime.serve import bodies, wire
from runtime.serve.limits import Limits
from runtime.serve.problem_details import HttpProblem
from runtime.system.own_modules import module_command, own_name

# A worker that has not opened its model within this time is killed. Opening takes 0.3 s on a server
# and about 5 s on a Raspberry Pi Zero 2.
START_TIMEOUT_S = 60.0
_RETRY_START_S = 1.0  # after a failed start, no worker is started for this time; requests get 503

# Time limit for the worker's reply to a message without an image. After this time, the worker
# counts as unresponsive. The limit is below 1 s, because /healthz must respond within 1 s.
_REPLY_TIMEOUT_S = 0.7
_EXIT_TIMEOUT_S = 1.0  # a worker that still runs this long after the shutdown is killed
_POLL_S = 0.005  # interval at which an ending process is polled
_RECEIVE_BYTES = 1 << 16  # bytes read from the worker's socket at a time


@dataclass(frozen=True)
class WorkerResponse:
    """A worker's response.

    Attributes:
        body: the body of the HTTP response.
        digits: the classified digits for the metrics: (label, accepted, confidence, inference time
            in seconds). The time is None if it was not measured.
        json_bytes: size of the JSON before binary tensors; None if the body is JSON only.
    """

    body: bytes
    digits: list[tuple[str, bool, float, float | None]]
    json_bytes: int | None


# Header and body of a message from the worker.
_Reply: TypeAlias = "asyncio.Future[tuple[wire.Header, bytes]]"


class _StartInterrupted(EdgeError):
    """The worker process ended before its model was open; a second attempt may succeed."""


class _WorkerLost(Exception):
    """The worker process ended before its reply to this request."""


@dataclass(eq=False)
class _Worker:
    """A running worker process.

    Attributes:
        process: handle of the process.
        connection: non-blocking socket to the process.
        replies: number of a message → future of the pending reply.
        requests: number of pending requests with an image.
        sending: lock that is held while a message is written.
        in_use: whether the worker gets requests, which is the case once its model is open.
        ended: whether the worker was killed, or has closed its connection.
    """

    process: "subprocess.Popen[bytes]"
    connection: socket.socket
    replies: dict[int, _Reply] = field(default_factory=dict)
    requests: int = 0
    sending: asyncio.Lock = field(default_factory=asyncio.Lock)
    in_use: bool = False
    ended: bool = False


class Supervisor:
    """Keeps one worker process running and sends requests to this process.

    At most `limits.workers` requests run in parallel; further requests queue in order of arrival.
    Running and queued requests together are at most `limits.waiting`. If a request runs longer than
    `limits.seconds`, the worker is killed and the request gets 422. The other requests in the same
    worker get 503, so that their clients retry.

    Call `start` before the event loop runs, and then `open`, `ask` and `close` on the loop.

    Args:
        model: the artifact that the worker opens.
        limits: the limits on requests.
        numbers: the options of POST /v1/numbers; None reads the whole image without checks.

    Attributes:
        waiting: number of requests in the queue or in the worker.
        restarts: number of times that the worker was replaced.
    """

    def __init__(
        self, model: wire.ModelOptions, limits: Limits, numbers: NumberOptions | None = None
    ) -> None:
        self._options = wire.pack_options(model, limits, numbers)
        self._limits = limits
        self._worker: _Worker | None = None
        self._started: tuple[subprocess.Popen[bytes], socket.socket] | None = None
        self._model: bodies.ModelDescription  # the latest one received from a worker
        self._start_error = ""  # of the last start; empty if it succeeded
        self._next_start_s = 0.0  # earliest time of the next start, on the monotonic clock
        self._numbers = itertools.count()
        self._completed = 0  # requests since the last call of `is_progressing`
        self._tasks: set[asyncio.Task[None]] = set()
        self._alive: set[_Worker] = set()  # workers whose processes have not ended
        self._slots = asyncio.Semaphore(limits.workers)
        self._starting = asyncio.Lock()
        self.waiting = 0
        self.restarts = 0

    def start(self) -> bodies.ModelDescription:
        """Start the worker, wait until its model is open, and return the model's description.

        Raises:
            EdgeError: the model cannot be opened, or the process cannot be started.
        """
        process, connection = _launch(self._options)
        connection.settimeout(START_TIMEOUT_S)
        message = None
        with contextlib.ExitStack() as failed:  # ends the worker, also after Ctrl-C
            failed.callback(process.wait)
            failed.callback(process.kill)
            failed.callback(connection.close)
            with contextlib.suppress(OSError), connection.makefile("rb") as file:
                message = wire.receive(file)
            self._model = _parse_ready(message)
            failed.pop_all()
        connection.setblocking(False)
        self._started = process, connection
        return self._model

    async def open(self) -> None:
        """Start to read the worker's replies; `start` must have been called before."""
        assert self._started is not None, "call start() first"
        self._worker = _Worker(*self._started, in_use=True)
        self._alive.add(self._worker)
        self._spawn(self._read(self._worker))

    async def close(self) -> None:
        """Stop the worker, even if it is busy."""
        self._worker = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for worker in self._alive:
            worker.connection.close()
            await _stop(worker.process, _EXIT_TIMEOUT_S)

    @property
    def pid(self) -> int | None:
        """Process ID of the worker; None while the worker is being replaced."""
        return None if self._worker is None else self._worker.process.pid

    async def ask(self, task: str, image: bytes | bytearray, **options: Any) -> WorkerResponse:
        """Send an image to the worker and return its response.

        Args:
            task: "classify" or "feature-maps" for an image of a single digit, "read" for a page,
                "to-png" to convert an image, "infer" for an inference request.
            image: the bytes of an image file, or the body of an inference request.
            options: further fields of the message's header; `runtime.serve.worker` lists them.

        Raises:
            HttpProblem: 400, 404, 413 or 422 if the request is rejected; 422 after
                `limits.seconds`. Status 503 if there are too many requests, the worker ended, or no
                worker can be started.
        """
        limits = self._limits
        if self.waiting >= limits.waiting:
            raise HttpProblem(
                503, f"{self.waiting} requests are waiting already: try again in a second"
            )
        self.waiting += 1
        try:
            await asyncio.wait_for(self._slots.acquire(), limits.seconds)
            try:
                header, body = await self._request({"task": task, **options}, image)
            finally:
                self._slots.release()
        except _WorkerLost:
            raise HttpProblem(
                503, "the worker process was replaced: try again in a second"
            ) from None
        except (TimeoutError, asyncio.TimeoutError) as error:
            raise HttpProblem(
                503,
                f"the request waited {limits.seconds:g} s in the queue: try again, or send fewer "
                "requests at once",
            ) from error
        finally:
            self.waiting -= 1
        self._completed += 1
        if "problem" in header:
            raise HttpProblem(*header["problem"])
        return WorkerResponse(body, header["digits"], header["json_bytes"])

    async def describe(self) -> bodies.ModelDescription:
        """Return the description of the open artifact; if no worker replies, the latest one."""
        message = None if self._worker is None else await self._message(self._worker, "model")
        if message is not None:
            self._model = bodies.ModelDescription(**message[0]["model"])
        return self._model

    async def is_healthy(self) -> bool:
        """Return within a second whether the server can process requests.

        The server can if the worker replies to a ping, is busy, or is being replaced. A busy worker
        counts as healthy, because its requests have deadlines.
        """
        worker = self._worker
        if worker is None:
            return not self._start_error
        if await self._message(worker, "ping") is not None:
            return True
        return worker.requests > 0 or self._worker is not worker

    async def is_progressing(self) -> bool:
        """Return whether requests complete, for systemd's watchdog.

        True if a request completed since the last call. Also True if no request is pending and the
        worker replies to a ping.
        """
        completed, self._completed = self._completed, 0
        if completed:
            return True
        worker = self._worker
        if worker is None or worker.requests:
            return False
        return await self._message(worker, "ping") is not None

    async def _request(
        self, header: wire.Header, image: bytes | bytearray
    ) -> tuple[wire.Header, bytes]:
        """Send a request with an image, and return (header, body) of the reply.

        If the worker does not reply within `limits.seconds`, it is killed.

        Raises:
            HttpProblem: 422 after the deadline; 503 if no worker can be started.
            _WorkerLost: the worker ended before its reply.
        """
        worker = await self._running_worker()
        loop, seconds = asyncio.get_running_loop(), self._limits.seconds
        number = next(self._numbers)
        reply: _Reply = loop.create_future()
        worker.replies[number] = reply

        def kill() -> None:
            # Reject only this request with 422, because it may have delayed the other requests.
            if not worker.ended and not reply.done():
                reply.set_exception(
                    HttpProblem(422, f"the image takes longer than {seconds:g} s: scale it down")
                )
            worker.ended = True
            worker.process.kill()

        deadline = loop.call_later(seconds, kill)
        worker.requests += 1
        try:
            # Send in a separate task: canceling this request must not truncate the message.
            self._spawn(self._send(worker, {**header, "id": number}, image))
            return await reply
        finally:
            deadline.cancel()
            worker.requests -= 1
            worker.replies.pop(number, None)

    async def _message(self, worker: _Worker, task: str) -> tuple[wire.Header, bytes] | None:
        """Send a message without an image, and return (header, body) of the reply.

        None if the worker ends, or does not reply within _REPLY_TIMEOUT_S.
        """
        number = next(self._numbers)
        reply: _Reply = asyncio.get_running_loop().create_future()
        worker.replies[number] = reply
        self._spawn(self._send(worker, {"task": task, "id": number}))
        done, _ = await asyncio.wait({reply}, timeout=_REPLY_TIMEOUT_S)
        worker.replies.pop(number, None)
        return reply.result() if done and reply.exception() is None else None

    async def _send(
        self, worker: _Worker, header: wire.Header, image: bytes | bytearray = b""
    ) -> None:
        loop = asyncio.get_running_loop()
        # If the worker has ended, `_read` detects it and fails the pending replies.
        async with worker.sending:
            with contextlib.suppress(OSError):
                await loop.sock_sendall(worker.connection, wire.pack(header, len(image)))
                await loop.sock_sendall(worker.connection, image)

    async def _running_worker(self) -> _Worker:
        """Return the worker; start a worker if none is running.

        Raises:
            HttpProblem: 503 if no worker can be started.
        """
        async with self._starting:
            if self._worker is not None and not self._worker.ended:
                return self._worker
            if time.monotonic() >= self._next_start_s:
                try:
                    try:
                        self._worker = await self._start_worker()
                    except _StartInterrupted:
                        self._worker = await self._start_worker()
                except EdgeError as error:
                    self._start_error = str(error)
                    self._next_start_s = time.monotonic() + _RETRY_START_S
                    report(error)
                else:
                    self._start_error = ""
                    self.restarts += 1
                    self._worker.in_use = True
                    return self._worker
            raise HttpProblem(503, f"no model is open: {self._start_error}")

    async def _start_worker(self) -> _Worker:
        """Start a worker and wait until its model is open.

        Raises:
            EdgeError: the model cannot be opened, or the process cannot be started.
        """
        worker = _Worker(*_launch(self._options))
        worker.connection.setblocking(False)
        self._alive.add(worker)
        ready: _Reply = asyncio.get_running_loop().create_future()
        worker.replies[wire.READY] = ready
        self._spawn(self._read(worker))
        message, started = None, False
        try:
            with contextlib.suppress(TimeoutError, asyncio.TimeoutError, _WorkerLost):
                message = await asyncio.wait_for(ready, START_TIMEOUT_S)
            self._model = _parse_ready(message)
            if worker.ended:
                raise _StartInterrupted("the worker process ended right after its start")
            started = True
        finally:
            if not started:
                await _stop(worker.process, 0)
        return worker

    async def _read(self, worker: _Worker) -> None:
        """Deliver the worker's replies. Once the worker has ended, replace it.

        The pending requests of a worker that has ended fail with _WorkerLost.
        """
        loop, received = asyncio.get_running_loop(), bytearray()
        with contextlib.suppress(OSError):
            while data := await loop.sock_recv(worker.connection, _RECEIVE_BYTES):
                received += data
                while (message := wire.unpack(received)) is not None:
                    reply = worker.replies.pop(message[0]["id"], None)
                    if reply is not None and not reply.done():
                        reply.set_result(message)
        worker.ended = True
        if self._worker is worker:
            self._worker = None
        for reply in worker.replies.values():
            if not reply.done():
                reply.set_exception(_WorkerLost())
        async with worker.sending:  # wait until a message that is being sent has failed
            worker.connection.close()
        status = await _stop(worker.process, 0)
        self._alive.discard(worker)
        if worker.in_use:
            report(EdgeError(f"the worker process {status}; starting a new one"))
            with contextlib.suppress(HttpProblem):
                await self._running_worker()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)  # the loop keeps only a weak reference
        task.add_done_callback(self._tasks.discard)


def _launch(options: str) -> "tuple[subprocess.Popen[bytes], socket.socket]":
    """Start a worker process; return (handle of the process, socket to the process).

    Args:
        options: from `wire.pack_options`.

    Raises:
        EdgeError: the process cannot be started.
    """
    try:
        server_end, worker_end = socket.socketpair()
    except OSError as error:
        raise EdgeError(
            f"cannot start the worker process: {error.strerror}; end other programs"
        ) from error
    with worker_end:
        command = module_command(
            own_name("runtime.serve.worker"), str(worker_end.fileno()), options
        )
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[worker_end.fileno()],
                # Ctrl-C in a terminal goes to the server only, which stops the worker.
                start_new_session=True,
            )
        except OSError as error:
            server_end.close()
            raise EdgeError(
                f"cannot start {sys.executable}: {error.strerror}; end other programs"
            ) from error
    return process, server_end


def _parse_ready(message: tuple[wire.Header, bytes] | None) -> bodies.ModelDescription:
    """Return the description of the artifact in a worker's first message.

    Raises:
        EdgeError: the message contains the error of a model that cannot be opened; or `message` is
            None, because the worker ended or took too long.
    """
    if message is None:
        raise _StartInterrupted(
            f"the worker process did not open its model within {START_TIMEOUT_S:g} s; start the "
            "server again"
        )
    header, _ = message
    if "refused" in header:
        raise EdgeError(header["refused"])
    return bodies.ModelDescription(**header["model"])


async def _stop(process: "subprocess.Popen[bytes]", timeout_s: float) -> str:
    """Wait for a process to end, and kill the process after `timeout_s` seconds.

    Returns:
        The exit status as text, such as "was ended by signal 9".
    """
    deadline = time.monotonic() + timeout_s
    while process.poll() is None:
        if time.monotonic() >= deadline:
            process.kill()
        await asyncio.sleep(_POLL_S)
    if process.returncode < 0:
        return f"was ended by signal {-process.returncode}"
    return f"ended with status {process.returncode}"
