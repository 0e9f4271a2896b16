"""Hostile HTTP clients for the load test: slow, half-closed, reset, oversized and malformed.

`abuse` runs all of them at once, while `benchmarks.serve.run` checks that ordinary clients are
still served.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

_SLOW_CLIENTS = 100  # simultaneous clients of each slow kind
_SLOW_INTERVAL_S = 1  # time between two pieces of a slow request
_SLOW_BODY_BYTES = 1 << 20  # announced length of a slow body
_OVERSIZED_BYTES = 1 << 30  # announced length of an oversized body
_OVERSIZED_CHUNK = b"x" * 65536  # sent at once
_OVERSIZED_INTERVAL_S = 0.01  # time between two chunks of an oversized body
_RECONNECT_INTERVAL_S = 0.02  # time between two connections of one client

# Connects to the server at a port and misbehaves once.
Kind = Callable[[int], Awaitable[None]]


async def slow_headers(port: int) -> None:
    """Send one header per second and never end them (Slowloris)."""
    async with _connect(port) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        while not reader.at_eof():
            writer.write(b"X-a: b\r\n")
            await writer.drain()
            await asyncio.sleep(_SLOW_INTERVAL_S)


async def slow_body(port: int) -> None:
    """Announce a body of a megabyte and send one byte per second."""
    async with _connect(port) as (reader, writer):
        writer.write(_head(_SLOW_BODY_BYTES))
        while not reader.at_eof():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(_SLOW_INTERVAL_S)


async def half_closed(port: int) -> None:
    """Close the sending side in the middle of a body, and wait for a response."""
    async with _connect(port) as (reader, writer):
        writer.write(_head(1000) + b"x" * 500)
        writer.write_eof()
        await reader.read()


async def vanished(port: int) -> None:
    """Reset the connection in the middle of a request."""
    async with _connect(port) as (_, writer):
        writer.write(_head(1000) + b"x" * 500)
        await writer.drain()
        writer.transport.abort()


async def oversized(port: int) -> None:
    """Send a body of a gigabyte until the server closes the connection."""
    async with _connect(port) as (_, writer):
        writer.write(_head(_OVERSIZED_BYTES))
        for _ in range(_OVERSIZED_BYTES // len(_OVERSIZED_CHUNK)):
            writer.write(_OVERSIZED_CHUNK)
            await writer.drain()
            await asyncio.sleep(_OVERSIZED_INTERVAL_S)


async def malformed(port: int) -> None:
    """Send requests that are invalid HTTP, invalid images or invalid forms, one after the other."""
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
            await reader.read(65536)


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
    """Run all hostile clients at once; each reconnects repeatedly until this is canceled."""

    async def repeat(kind: Kind) -> None:
        while True:
            with contextlib.suppress(OSError, EOFError):
                await kind(port)
            await asyncio.sleep(_RECONNECT_INTERVAL_S)

    await asyncio.gather(*(repeat(kind) for kind, count in KINDS for _ in range(count)))


def _head(length_bytes: int, content_type: str = "image/png") -> bytes:
    return (
        "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {length_bytes}\r\n\r\n"
    ).encode()


@asynccontextmanager
async def _connect(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
