"""Keeps the worker process: hands it requests, kills it at a request's deadline, replaces it."""

import asyncio
import contextlib
import itertools
import socket
import subprocess
import sys
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from runtime.errors import EdgeError, report
from runtime.serve import bodies, wire
from runtime.serve.limits import Limits
from runtime.serve.problem_details import HttpProblem

START_TIMEOUT_S = 60.0  # a start takes 0.3 s on a server, some 5 s on a Raspberry Pi Zero 2
_RETRY_START_S = 1.0  # from a start that failed until the next one is tried
_REPLY_TIMEOUT_S = 0.7  # for a message without an image; /healthz answers within a second
_END_TIMEOUT_S = 1.0  # a worker whose connection is closed is killed after this
_POLL_S = 0.005  # between two looks at whether a process has ended
_RECEIVE_BYTES = 1 << 16
# Imports the worker from the folder of this package, whatever the working directory holds.
_PROGRAM = (
    "import sys; sys.path[:] = [sys.argv.pop(1), *filter(None, sys.path)]; "
    "from runtime.serve import worker; worker.main()"
)
_ROOT = str(Path(__file__).resolve().parents[2])


@dataclass(frozen=True)
class WorkerResponse:
    """A worker's answer: the body of the HTTP response, and its digits for the metrics."""

    body: bytes
    digits: list[tuple[str, bool, float | None]]


_Reply: TypeAlias = "asyncio.Future[tuple[wire.Header, bytes]]"


class _StartInterrupted(EdgeError):
    """The worker process ended before its model was open; another one may not."""


class _WorkerLost(Exception):
    """The worker process ended before it answered this request."""


@dataclass(eq=False)
class _Worker:
    """A running worker process.

    Attributes:
        process: its handle.
        connection: the socket to it, which does not block.
        replies: pending messages by number.
        requests: pending messages that are images.
        sending: held while one message is written.
        in_use: whether requests were sent to it; not before its model is open.
        ended: whether it was killed, or its connection has ended.
    """

    process: "subprocess.Popen[bytes]"
    connection: socket.socket
    replies: dict[int, _Reply] = field(default_factory=dict)
    requests: int = 0
    sending: asyncio.Lock = field(default_factory=asyncio.Lock)
    in_use: bool = False
    ended: bool = False


class Supervisor:
    """Keeps one worker process running and has it answer requests.

    At most `limits.workers` requests run at a time; others queue in order of arrival, so that
    `limits.waiting` are there in all. If a request runs longer than `limits.seconds`, the worker is
    killed and the request gets 422. Requests that ran beside it get 503: their clients try again.

    Call `start` before the event loop runs, then `open`, `ask` and `close` on the loop.
    """

    def __init__(self, model: wire.ModelOptions, limits: Limits) -> None:
        self._options = wire.pack_options(model, limits)
        self._limits = limits
        self._worker: _Worker | None = None
        self._started: tuple[subprocess.Popen[bytes], socket.socket] | None = None
        self._model: bodies.ModelDescription  # the last one that a worker sent
        self._refusal = ""
        self._next_start_s = 0.0
        self._numbers = itertools.count()
        self._answered = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._living: set[_Worker] = set()  # whose processes have not ended
        self._slots = asyncio.Semaphore(limits.workers)
        self._starting = asyncio.Lock()
        self.waiting = 0
        self.restarts = 0

    def start(self) -> bodies.ModelDescription:
        """Start the process, wait until its model is open, and return the model's description.

        Raises:
            EdgeError: the model cannot be opened, or no process can be started.
        """
        process, connection = _launch(self._options)
        connection.settimeout(START_TIMEOUT_S)
        message = None
        try:
            with contextlib.suppress(OSError), connection.makefile("rb") as file:
                message = wire.receive(file)
            self._model = _model_of(message)
        except BaseException:  # Ctrl-C too; raised again below
            connection.close()
            process.kill()
            process.wait()
            raise
        connection.setblocking(False)
        self._started = process, connection
        return self._model

    async def open(self) -> None:
        """Begin to read the worker's answers."""
        assert self._started is not None, "start() comes first"
        self._worker = _Worker(*self._started, in_use=True)
        self._living.add(self._worker)
        self._spawn(self._read(self._worker))

    async def close(self) -> None:
        """End the worker, whatever it is doing."""
        self._worker = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for worker in self._living:
            worker.connection.close()
            await _end(worker.process, _END_TIMEOUT_S)

    @property
    def pid(self) -> int | None:
        """The worker's process ID; None while it is being replaced."""
        return None if self._worker is None else self._worker.process.pid

    async def ask(self, task: str, image: bytes | bytearray, **options: Any) -> WorkerResponse:
        """Have the worker do a task with an image; `runtime.serve.worker` lists them.

        Raises:
            HttpProblem: the image is refused (413, 422) or takes longer than `limits.seconds`
                (422); too much is asked at once, the worker ended, or none can be started (503).
        """
        limits = self._limits
        if self.waiting >= limits.waiting:
            raise HttpProblem(503, f"{self.waiting} requests wait already: try again in a second")
        self.waiting += 1
        try:
            await asyncio.wait_for(self._slots.acquire(), limits.seconds)
            try:
                header, body = await self._request({"task": task, **options}, image)
            finally:
                self._slots.release()
        except _WorkerLost:
            raise HttpProblem(
                503, "the process that decodes images was replaced: try again in a second"
            ) from None
        except (TimeoutError, asyncio.TimeoutError) as error:
            raise HttpProblem(
                503, f"no turn within {limits.seconds:g} s: try again, or send less at once"
            ) from error
        finally:
            self.waiting -= 1
        self._answered += 1
        if "problem" in header:
            raise HttpProblem(*header["problem"])
        return WorkerResponse(body, header["digits"])

    async def describe(self) -> bodies.ModelDescription:
        """Return the description of the open artifact; the last known if no worker answers."""
        message = None if self._worker is None else await self._message(self._worker, "model")
        if message is not None:
            self._model = bodies.ModelDescription(**message[0]["model"])
        return self._model

    async def is_healthy(self) -> bool:
        """Return within a second whether requests are answered.

        They are if the worker replies to a ping, has requests, which end at their deadlines, or is
        being replaced.
        """
        worker = self._worker
        if worker is None:
            return not self._refusal
        if await self._message(worker, "ping") is not None:
            return True
        return worker.requests > 0 or self._worker is not worker

    async def is_progressing(self) -> bool:
        """Return whether requests complete.

        They do if one was answered since the last call, or if none is pending and the worker
        replies to a ping.
        """
        answered, self._answered = self._answered, 0
        if answered:
            return True
        worker = self._worker
        if worker is None or worker.requests:
            return False
        return await self._message(worker, "ping") is not None

    async def _request(
        self, header: wire.Header, image: bytes | bytearray
    ) -> tuple[wire.Header, bytes]:
        worker = await self._running_worker()
        loop, seconds = asyncio.get_running_loop(), self._limits.seconds
        number = next(self._numbers)
        reply: _Reply = loop.create_future()
        worker.replies[number] = reply

        def kill() -> None:
            # Only the request that ran longest is refused: it may have held up the others.
            if not worker.ended and not reply.done():
                reply.set_exception(
                    HttpProblem(422, f"the image takes longer than {seconds:g} s: scale it down")
                )
            worker.ended = True
            worker.process.kill()

        deadline = loop.call_later(seconds, kill)
        worker.requests += 1
        try:
            # In a task of its own: canceled while it sends, it would leave half a message.
            self._spawn(self._send(worker, {**header, "id": number}, image))
            return await reply
        finally:
            deadline.cancel()
            worker.requests -= 1
            worker.replies.pop(number, None)

    async def _message(self, worker: _Worker, task: str) -> tuple[wire.Header, bytes] | None:
        """Send a message without an image; return the reply, or None if there is none in time."""
        number = next(self._numbers)
        reply: _Reply = asyncio.get_running_loop().create_future()
        worker.replies[number] = reply
        self._spawn(self._send(worker, {"task": task, "id": number}))
        answered, _ = await asyncio.wait({reply}, timeout=_REPLY_TIMEOUT_S)
        worker.replies.pop(number, None)
        return reply.result() if answered and reply.exception() is None else None

    async def _send(
        self, worker: _Worker, header: wire.Header, image: bytes | bytearray = b""
    ) -> None:
        loop = asyncio.get_running_loop()
        # If the worker has ended, `_read` finds that out and tells those who wait.
        async with worker.sending:
            with contextlib.suppress(OSError):
                await loop.sock_sendall(worker.connection, wire.pack(header, len(image)))
                await loop.sock_sendall(worker.connection, image)

    async def _running_worker(self) -> _Worker:
        """Return the worker; start one if there is none.

        Raises:
            HttpProblem: 503 if none can be started.
        """
        async with self._starting:
            if self._worker is not None and not self._worker.ended:
                return self._worker
            if time.monotonic() >= self._next_start_s:
                try:
                    try:
                        self._worker = await self._start_another()
                    except _StartInterrupted:
                        self._worker = await self._start_another()
                except EdgeError as error:
                    self._refusal = str(error)
                    self._next_start_s = time.monotonic() + _RETRY_START_S
                    report(error)
                else:
                    self._refusal = ""
                    self.restarts += 1
                    self._worker.in_use = True
                    return self._worker
            raise HttpProblem(503, f"no model is open: {self._refusal}")

    async def _start_another(self) -> _Worker:
        worker = _Worker(*_launch(self._options))
        worker.connection.setblocking(False)
        self._living.add(worker)
        ready: _Reply = asyncio.get_running_loop().create_future()
        worker.replies[wire.READY] = ready
        self._spawn(self._read(worker))
        message, started = None, False
        try:
            with contextlib.suppress(TimeoutError, asyncio.TimeoutError, _WorkerLost):
                message = await asyncio.wait_for(ready, START_TIMEOUT_S)
            self._model = _model_of(message)
            if worker.ended:
                raise _StartInterrupted("the process that decodes images ended after its start")
            started = True
        finally:
            if not started:
                await _end(worker.process, 0)
        return worker

    async def _read(self, worker: _Worker) -> None:
        """Pass the worker's answers on; when it has ended, start another one."""
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
        async with worker.sending:  # what is being sent fails first
            worker.connection.close()
        status = await _end(worker.process, 0)
        self._living.discard(worker)
        if worker.in_use:
            report(EdgeError(f"the process that decodes images {status}; another one is started"))
            with contextlib.suppress(HttpProblem):
                await self._running_worker()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)  # the loop itself keeps no reference
        task.add_done_callback(self._tasks.discard)


def _launch(options: str) -> "tuple[subprocess.Popen[bytes], socket.socket]":
    """Start a worker; return its process and the socket to it.

    Raises:
        EdgeError: no process can be started.
    """
    try:
        ours, theirs = socket.socketpair()
    except OSError as error:
        raise EdgeError(f"no process can be started: {error.strerror}") from error
    with theirs:
        command = [sys.executable, "-c", _PROGRAM, _ROOT, str(theirs.fileno()), options]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                # Ctrl-C in a terminal is for the server, which ends the worker.
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise EdgeError(
                f"cannot start {sys.executable}: {error.strerror}; end other programs"
            ) from error
    return process, ours


def _model_of(message: tuple[wire.Header, bytes] | None) -> bodies.ModelDescription:
    """Return the description of the artifact in a worker's first message.

    Raises:
        EdgeError: it says why the model cannot be opened; or there was no message.
    """
    if message is None:
        raise _StartInterrupted(
            f"the process that decodes images ended, or did not start in {START_TIMEOUT_S:g} s"
        )
    header, _ = message
    if "refused" in header:
        raise EdgeError(header["refused"])
    return bodies.ModelDescription(**header["model"])


async def _end(process: "subprocess.Popen[bytes]", timeout_s: float) -> str:
    """Wait for a process to end, kill it after `timeout_s`, and say how it ended."""
    end = time.monotonic() + timeout_s
    while process.poll() is None:
        if time.monotonic() >= end:
            process.kill()
        await asyncio.sleep(_POLL_S)
    if process.returncode < 0:
        return f"was ended by signal {-process.returncode}"
    return f"ended with status {process.returncode}"
