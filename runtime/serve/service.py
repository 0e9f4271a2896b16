"""Runs the application until a signal ends it; notifies systemd."""

import asyncio
import contextlib
import ipaddress
import logging
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import uvicorn
from starlette.types import ASGIApp

from runtime.errors import EdgeError
from runtime.serve.addresses import join_address
from runtime.serve.connection import HttpProtocol
from runtime.serve.limits import Limits
from runtime.system.sd_notify import notify, watchdog_interval_s

# What `socket.getaddrinfo` gives: the last holds host and port, and of IPv6 more.
_Address: TypeAlias = (
    "tuple[socket.AddressFamily, socket.SocketKind, int, str, "
    "tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]"
)
_BACKLOG = 1024
# Addresses that are nobody's (RFC 5737, RFC 3849), by family.
_ELSEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
# SIGTERM ends the server within 10 s: requests in flight have this long to be answered.
_GRACE_S = 5
_MAX_HEADER_BYTES = 16_384  # of a request that is not complete, for each connection
_CHECKS_PER_INTERVAL = 5  # so that one failed check does not miss the watchdog


@dataclass(frozen=True)
class Certificate:
    """Files in PEM form, for HTTPS; the key may stand in the certificate's file."""

    chain: str
    key: str | None


def is_loopback(host: str, option: str = "--host") -> bool:
    """Return whether only this machine can reach `host`.

    Args:
        option: the option that named the host, for messages.

    Raises:
        EdgeError: the name is not known.
    """
    addresses = [info[4][0] for info in _resolve(host, 0, option)]
    return all(ipaddress.ip_address(str(address)).is_loopback for address in addresses)


def bind(host: str, port: int, options: Sequence[str] = ("--host", "--port")) -> socket.socket:
    """Return a socket that listens.

    Args:
        options: the options that named host and port, for messages.

    Raises:
        EdgeError: the address is taken, not this machine's, or not allowed.
    """
    family, kind, protocol, _, address = _resolve(host, port, options[0])[0]
    # asyncio turns Nagle's wait of 40 ms off where it sees that the protocol is TCP.
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise EdgeError(
            f"cannot listen on {join_address(host, port)}: {reason}; "
            f"choose another with {' or '.join(options)}"
        ) from error
    return listener


def address_of(listener: socket.socket) -> str:
    """Where a browser finds `listener`: host and port, as they stand in a URL.

    For one that listens on all addresses, that by which the network reaches this machine.
    """
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        with socket.socket(listener.family, socket.SOCK_DGRAM) as probe:
            try:
                # Sends nothing; the system says which of its addresses it would send from.
                probe.connect((_ELSEWHERE[listener.family], 9))
                host = probe.getsockname()[0]
            except OSError:
                host = "127.0.0.1" if listener.family == socket.AF_INET else "::1"  # no network
    return join_address(host, port)


def serve(
    app: ASGIApp,
    listener: socket.socket,
    limits: Limits,
    certificate: Certificate | None = None,
    on_ready: Callable[[], None] = lambda: None,
    is_progressing: Callable[[], Awaitable[bool]] | None = None,
) -> None:
    """Answer until SIGTERM or SIGINT; requests in flight have `_GRACE_S` to be answered first.

    Args:
        on_ready: called once requests are answered.
        is_progressing: tells whether requests are answered; systemd's watchdog is notified only
            if they are. Without it they always are.

    Raises:
        EdgeError: the certificate cannot be used.
        KeyboardInterrupt: after SIGINT.
    """
    config = _config(app, limits, certificate)
    # Clients that send nonsense are told so; they have no say in what the log holds.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    server = _Server(config)
    # uvicorn raises the signal that ended it once more; SIGTERM is then no failure. One that comes
    # before uvicorn listens for it ends it too.
    signal.signal(signal.SIGTERM, server.handle_exit)
    try:
        asyncio.run(_run(server, listener, on_ready, is_progressing))
    finally:
        # The process ends now; being told so again is no failure either.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


class BackgroundServer:
    """Runs an application in a thread of its own, beside the program's work.

    Its responses may wait long before they begin: a client that closes its side has left.
    """

    def __init__(self, app: ASGIApp, listener: socket.socket, limits: Limits, name: str) -> None:
        self._server = _UnwaitingServer(_config(app, limits, answers_half_closed=False))
        self._listener = listener
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening; responses that have begun get `_GRACE_S` to end if they are read."""
        self._server.should_exit = True
        self._thread.join(_GRACE_S + 1)

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._listener]))


class _UnwaitingServer(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, HttpProtocol) and connection.flow.write_paused:
                connection.transport.abort()  # its client does not read
        await super().shutdown(sockets)


def _config(
    app: ASGIApp,
    limits: Limits,
    certificate: Certificate | None = None,
    answers_half_closed: bool = True,
) -> uvicorn.Config:
    """Return the configuration of a server.

    Raises:
        EdgeError: the certificate cannot be used.
    """
    config = uvicorn.Config(
        app,
        http=HttpProtocol.limited(limits.seconds, limits.connections, answers_half_closed),
        ws="none",
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=max(5, int(limits.seconds)),
        timeout_graceful_shutdown=_GRACE_S,
        h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
        ssl_certfile=None if certificate is None else certificate.chain,
        ssl_keyfile=None if certificate is None else certificate.key,
    )
    try:
        config.load()
    except OSError as error:  # ssl.SSLError is one
        name = certificate.chain if certificate else "?"
        raise EdgeError(f"cannot use the certificate {name}: {error}") from error
    return config


class _Server(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        notify("STOPPING=1")  # before the requests in flight, which may take their time
        await super().shutdown(sockets)


async def _run(
    server: uvicorn.Server,
    listener: socket.socket,
    on_ready: Callable[[], None],
    is_progressing: Callable[[], Awaitable[bool]] | None,
) -> None:
    companion = asyncio.create_task(_tell_systemd(server, on_ready, is_progressing))
    try:
        await server.serve(sockets=[listener])
    finally:
        companion.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await companion


async def _tell_systemd(
    server: uvicorn.Server,
    on_ready: Callable[[], None],
    is_progressing: Callable[[], Awaitable[bool]] | None,
) -> None:
    while not server.started:
        await asyncio.sleep(0.01)
    on_ready()
    notify("READY=1")
    interval = watchdog_interval_s()
    while interval is not None:
        await asyncio.sleep(interval / _CHECKS_PER_INTERVAL)
        if is_progressing is None or await is_progressing():
            notify("WATCHDOG=1")


def _resolve(host: str, port: int, option: str) -> Sequence[_Address]:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise EdgeError(f"{option} {host} is no address or name that is known here") from error
