"""A small HTTP/1.1 client for load tests: many keep-alive connections on one event loop.

`benchmarks.serve.run` calls `load`. Client and server share one machine. The client therefore does
little work per request, to leave the CPU time to the server.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

# Time limit of the head of a response, and again of its body. A slower response counts as a failed
# request.
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class HttpResponse:
    """A response.

    Attributes:
        status: the HTTP status code.
        body: the body.
        latency_ns: time from the start of sending the request to the end of the body.
    """

    status: int
    body: bytes
    latency_ns: int


@dataclass(frozen=True)
class Load:
    """The result of a load test.

    Attributes:
        latencies_ns: latencies of the responses with status 200, in the order of their arrival.
        failed: number of requests with another status or without a response.
        seconds: duration of the test; greater than 0.
    """

    latencies_ns: tuple[int, ...]
    failed: int
    seconds: float

    @property
    def per_second(self) -> float:
        """The number of responses with status 200 per second, of all clients together."""
        return len(self.latencies_ns) / self.seconds


class ClientConnection:
    """A keep-alive connection to the server, for one request at a time.

    Args:
        reader: receives from the server.
        writer: sends to the server.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, request: bytes) -> HttpResponse:
        """Send a request and return the response.

        A response without Content-Length counts as one without a body.

        Args:
            request: the bytes of the request, from `get` or `post`.

        Raises:
            OSError: the connection broke.
            EOFError: the server closed the connection.
            TimeoutError: the head or the body took longer than `TIMEOUT_S`. Python 3.10
                raises `asyncio.TimeoutError`.
        """
        start = time.perf_counter_ns()
        self.writer.write(request)
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), TIMEOUT_S)
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        body = await asyncio.wait_for(self.reader.readexactly(length), TIMEOUT_S)
        return HttpResponse(int(head.split(b" ", 2)[1]), body, time.perf_counter_ns() - start)


@asynccontextmanager
async def connect(port: int) -> AsyncIterator[ClientConnection]:
    """Connect to a port of this machine; close the connection at the end of the block.

    Raises:
        OSError: nothing listens on the port.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield ClientConnection(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def post(path: str, body: bytes, content_type: str) -> bytes:
    """Return the bytes of a POST request.

    Args:
        path: such as "/v1/classify".
        body: the body.
        content_type: the media type of the body, such as "image/png".
    """
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def get(path: str) -> bytes:
    """Return the bytes of a GET request for a path such as "/metrics"."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


async def load(port: int, requests: Sequence[bytes], clients: int, count: int) -> Load:
    """Send requests from simultaneous clients; return when all requests have ended.

    A client sends its next request after the response to its previous request. It reconnects
    after a broken connection; the broken request counts as failed and is not repeated.

    Args:
        port: the port of the server on this machine.
        requests: the bytes of at least one request; repeated from the first if `count` is larger.
        clients: number of simultaneous connections.
        count: number of requests of all clients together.
    """
    latencies_ns: list[int] = []
    failed = 0
    numbers = iter(range(count))

    async def client(numbers: Iterator[int]) -> None:
        """Send requests, each with the next number that no client has taken, until none is left."""
        nonlocal failed
        number = next(numbers, None)
        while number is not None:
            try:
                async with connect(port) as connection:
                    while number is not None:
                        response = await connection.ask(requests[number % len(requests)])
                        if response.status == 200:
                            latencies_ns.append(response.latency_ns)
                        else:
                            failed += 1
                        number = next(numbers, None)
            except (OSError, EOFError, TimeoutError, asyncio.TimeoutError):
                failed += 1
                number = next(numbers, None)

    start = time.perf_counter()
    await asyncio.gather(*(client(numbers) for _ in range(clients)))
    return Load(tuple(latencies_ns), failed, time.perf_counter() - start)
