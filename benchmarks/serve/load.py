"""A small HTTP/1.1 client for load: many connections on one event loop, little work a request."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

TIMEOUT_S = 60.0


@dataclass(frozen=True)
class HttpResponse:
    """One answer: its status, its body, and how long it took from the request's first byte."""

    status: int
    body: bytes
    latency_ns: int


@dataclass(frozen=True)
class Load:
    """What a number of clients got: latencies of the answers with status 200, and how many
    requests got another status or none.
    """

    latencies_ns: tuple[int, ...]
    failed: int
    seconds: float

    @property
    def per_second(self) -> float:
        """Answers a second, of all clients together."""
        return len(self.latencies_ns) / self.seconds


class ClientConnection:
    """One keep-alive connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, request: bytes) -> HttpResponse:
        """Send a request and read its answer.

        Raises:
            OSError, EOFError, TimeoutError: there is none.
        """
        start = time.perf_counter_ns()
        self.writer.write(request)
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), TIMEOUT_S)
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        body = await asyncio.wait_for(self.reader.readexactly(length), TIMEOUT_S)
        return HttpResponse(int(head.split(b" ", 2)[1]), body, time.perf_counter_ns() - start)


@asynccontextmanager
async def connect(port: int) -> AsyncIterator[ClientConnection]:
    """A connection to this machine's `port`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield ClientConnection(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def post(path: str, body: bytes, kind: str) -> bytes:
    """The bytes of a POST request."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def get(path: str) -> bytes:
    """The bytes of a GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


async def load(port: int, requests: Sequence[bytes], clients: int, count: int) -> Load:
    """Send `count` requests, the given ones in turn, over `clients` connections at once."""
    latencies: list[int] = []
    failed = 0
    numbers = iter(range(count))

    async def client(numbers: Iterator[int]) -> None:
        nonlocal failed
        number = next(numbers, None)
        while number is not None:
            try:
                async with connect(port) as connection:
                    while number is not None:
                        answer = await connection.ask(requests[number % len(requests)])
                        if answer.status == 200:
                            latencies.append(answer.latency_ns)
                        else:
                            failed += 1
                        number = next(numbers, None)
            except (OSError, EOFError, TimeoutError, asyncio.TimeoutError):
                failed += 1
                number = next(numbers, None)

    start = time.perf_counter()
    await asyncio.gather(*(client(numbers) for _ in range(clients)))
    return Load(tuple(latencies), failed, time.perf_counter() - start)
