"""Hostile HTTP clients for the load test: slow, half-closed, reset, oversized and malformed.

`benchmarks.serve.run` calls `abuse`, which runs all hostile clients at once, and checks meanwhile
that an ordinary client is served. Each public function takes a port of this machine and misbehaves
once. The function raises OSError or EOFError if the server closes the connection early.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

_SLOW_CLIENTS = 100  # simultaneous clients of `slow_headers`, and the same number of `slow_body`
_SLOW_INTERVAL_S = 1  # pause of a slow client after each header or byte
_SLOW_BODY_BYTES = 1 << 20  # length that `slow_body` announces; a body is never completed
_OVERSIZED_BYTES = 1 << 30  # length that `oversized` announces and sends, unless the server closes
_OVERSIZED_CHUNK = b"x" * 65536  # the bytes that `oversized` sends at once
_OVERSIZED_INTERVAL_S = 0.01  # pause of `oversized` after each chunk
_RECONNECT_INTERVAL_S = 0.02  # pause of a client between two connections
_HALF_BODY_BYTES = 1000  # length that `half_closed` and `vanished` announce; they send half of it
_MAX_RESPONSE_BYTES = 65536  # `malformed` reads at most this much of each response

# A client: it connects to the server at a port of this machine and misbehaves once.
Kind = Callable[[int], Awaitable[None]]


async def slow_headers(port: int) -> None:
    """Send one header per second, but never the empty line that ends the headers (Slowloris)."""
    async with _connect(port) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        while not reader.at_eof():
            writer.write(b"X-a: b\r\n")
            await writer.drain()
            await asyncio.sleep(_SLOW_INTERVAL_S)


async def slow_body(port: int) -> None:
    """Announce a body of one mebibyte and send one byte per second."""
    async with _connect(port) as (reader, writer):
        writer.write(_head(_SLOW_BODY_BYTES))
        while not reader.at_eof():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(_SLOW_INTERVAL_S)


async def half_closed(port: int) -> None:
    """Close the sending side in the middle of a body, and wait for a response."""
    async with _connect(port) as (reader, writer):
        writer.write(_head(_HALF_BODY_BYTES) + b"x" * (_HALF_BODY_BYTES // 2))
        writer.write_eof()
        await reader.read()


async def vanished(port: int) -> None:
    """Reset the connection in the middle of a body."""
    async with _connect(port) as (_, writer):
        writer.write(_head(_HALF_BODY_BYTES) + b"x" * (_HALF_BODY_BYTES // 2))
        await writer.drain()
        writer.transport.abort()


async def oversized(port: int) -> None:
    """Send a body of one gibibyte until the server closes the connection."""
    async with _connect(port) as (_, writer):
        writer.write(_head(_OVERSIZED_BYTES))
        for _ in range(_OVERSIZED_BYTES // len(_OVERSIZED_CHUNK)):
            writer.write(_OVERSIZED_CHUNK)
            await writer.drain()
            await asyncio.sleep(_OVERSIZED_INTERVAL_S)


async def malformed(port: int) -> None:
    """Send requests that are invalid HTTP, an invalid image or an invalid form, one by one."""
    for request in (
        # A TLS handshake.
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300),
        # An unknown version of HTTP.
        b"GET / HTTP/9.9\r\n\r\n",
        # A negative length.
        b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        # A chunk size that is not a hexadecimal number.
        b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
        # A request line without an end.
        b"A" * 100_000,
        # A PNG signature followed by garbage.
        _head(300) + b"\x89PNG\r\n\x1a\n" + b"\xff" * 292,
        # A form without a part.
        _head(40, "multipart/form-data; boundary=x") + b"-" * 40,
    ):
        async with _connect(port) as (reader, writer):
            writer.write(request)
            writer.write_eof()
            await reader.read(_MAX_RESPONSE_BYTES)


# Each kind with the number of its simultaneous clients.
KINDS: tuple[tuple[Kind, int], ...] = (
    (slow_headers, _SLOW_CLIENTS),
    (slow_body, _SLOW_CLIENTS),
    (half_closed, 4),
    (vanished, 4),
    (oversized, 2),
    (malformed, 4),
)


async def abuse(port: int) -> None:
    """Run all hostile clients at once; each reconnects repeatedly until `abuse` is canceled.

    Errors of connections are ignored.

    Args:
        port: the port of the server on this machine.
    """

    async def repeat(kind: Kind) -> None:
        """Run one client again and again, without an end."""
        while True:
            with contextlib.suppress(OSError, EOFError):
                await kind(port)
            await asyncio.sleep(_RECONNECT_INTERVAL_S)

    await asyncio.gather(*(repeat(kind) for kind, count in KINDS for _ in range(count)))


def _head(length_bytes: int, content_type: str = "image/png") -> bytes:
    """Return the head of a POST request with a body of `length_bytes`."""
    return (
        "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {length_bytes}\r\n\r\n"
    ).encode()


@asynccontextmanager
async def _connect(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to a port of this machine; close the connection at the end of the block."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
