"""Clients that a server on a network meets: slow ones, half-closed, oversized, malformed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

_SLOW, _OVERSIZED_BYTES = 100, 1 << 30
_PIECE = b"x" * 65536

Kind = Callable[[int], Awaitable[None]]


async def slow_headers(port: int) -> None:
    """Slowloris: a header every second, and never the end of them."""
    async with _connect(port) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        while not reader.at_eof():
            writer.write(b"X-a: b\r\n")
            await writer.drain()
            await asyncio.sleep(1)


async def slow_body(port: int) -> None:
    """A body that says it has a megabyte and sends a byte a second."""
    async with _connect(port) as (reader, writer):
        writer.write(_head(1 << 20))
        while not reader.at_eof():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(1)


async def half_closed(port: int) -> None:
    """A client that stops sending in the middle of a body, and waits."""
    async with _connect(port) as (reader, writer):
        writer.write(_head(1000) + b"x" * 500)
        writer.write_eof()
        await reader.read()


async def vanished(port: int) -> None:
    """A client that resets its connection in the middle of a request."""
    async with _connect(port) as (_, writer):
        writer.write(_head(1000) + b"x" * 500)
        await writer.drain()
        writer.transport.abort()


async def oversized(port: int) -> None:
    """A body of a gigabyte, sent for as long as the server takes it."""
    async with _connect(port) as (_, writer):
        writer.write(_head(_OVERSIZED_BYTES))
        for _ in range(_OVERSIZED_BYTES // len(_PIECE)):
            writer.write(_PIECE)
            await writer.drain()
            await asyncio.sleep(0.01)


async def malformed(port: int) -> None:
    """What is no HTTP, no image, and no form."""
    for request in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300),
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
        b"A" * 100_000,
        _head(300) + b"\x89PNG\r\n\x1a\n" + b"\xff" * 292,
        _head(40, "multipart/form-data; boundary=x") + b"-" * 40,
    ):
        async with _connect(port) as (reader, writer):
            writer.write(request)
            writer.write_eof()
            await reader.read(65536)


KINDS: tuple[tuple[Kind, int], ...] = (
    (slow_headers, _SLOW),
    (slow_body, _SLOW),
    (half_closed, 4),
    (vanished, 4),
    (oversized, 2),
    (malformed, 4),
)


async def abuse(port: int) -> None:
    """All of it at once, again and again, until canceled."""

    async def again(kind: Kind) -> None:
        while True:
            with contextlib.suppress(OSError, EOFError):
                await kind(port)
            await asyncio.sleep(0.02)

    await asyncio.gather(*(again(kind) for kind, count in KINDS for _ in range(count)))


def _head(length: int, kind: str = "image/png") -> bytes:
    return (
        "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


@asynccontextmanager
async def _connect(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
