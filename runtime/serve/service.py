"""Run an ASGI application with uvicorn: bind the socket, handle signals, notify systemd.

`runtime.serve.run` calls `serve`, which returns after SIGTERM or SIGINT. The camera preview uses
`BackgroundServer`, which runs in a thread.
"""

import asyncio
import contextlib
import functools
import ipaddress
import logging
import signal
import socket
import ssl
import threading
from asyncio import sslproto
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import uvicorn
from starlette.types import ASGIApp

from runtime.errors import EdgeError
from runtime.serve.addresses import join_address
from runtime.serve.connection import HttpProtocol
from runtime.serve.limits import Limits
from runtime.system.host import raise_open_file_limit
from runtime.system.sd_notify import notify, watchdog_interval_s

# An entry of `socket.getaddrinfo`: family, type, protocol, canonical name, and socket address.
_Address: TypeAlias = (
    "tuple[socket.AddressFamily, socket.SocketKind, int, str, "
    "tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]"
)
_BACKLOG = 1024  # connections that the system queues until the server accepts them
# Address family → address that is reserved for documentation (RFC 5737, RFC 3849). Such an address
# is outside of every local network.
_DOCUMENTATION_ADDRESS = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
_DISCARD_PORT = 9  # port of the discard protocol (RFC 863), used with a documentation address
_GRACE_S = 5  # requests that are still in flight at this time after SIGTERM are canceled
# An idle connection is closed after `Limits.seconds`, but not before this time.
_MIN_KEEP_ALIVE_S = 5
_MAX_HEADER_BYTES = 16_384  # size of the headers of a request; a larger request gets 400

# Checks per interval, which is half of the timeout of systemd's watchdog. systemd restarts the
# service if ten checks in a row fail.
_CHECKS_PER_INTERVAL = 5
_TLS_BUFFER_BYTES = 16 << 10  # of each TLS connection; the size of a TLS record
_POLL_S = 0.01  # interval at which the server's start is polled


@dataclass(frozen=True)
class Certificate:
    """Paths of PEM files for HTTPS.

    Attributes:
        chain: path of the certificate, with its chain.
        key: path of the private key; None if the file of the certificate contains the key.
    """

    chain: str
    key: str | None


def is_loopback(host: str, option: str = "--host") -> bool:
    """Return whether only this machine can reach `host`.

    Args:
        host: an address or a name.
        option: name of the option that contains the host, for error messages.

    Raises:
        EdgeError: the host is unknown.
    """
    addresses = [info[4][0] for info in _resolve(host, 0, option)]
    return all(ipaddress.ip_address(str(address)).is_loopback for address in addresses)


def bind(host: str, port: int, options: Sequence[str] = ("--host", "--port")) -> socket.socket:
    """Return a listening socket, and raise this process's limit on open files.

    Args:
        host: the address or name to listen on.
        port: the port to listen on; 0 chooses a free port.
        options: names of the options that contain the host and the port, for error messages.

    Raises:
        EdgeError: the address is in use, not an address of this machine, or not permitted.
    """
    raise_open_file_limit()
    family, kind, protocol, _, address = _resolve(host, port, options[0])[0]
    # With an explicit protocol asyncio sets TCP_NODELAY, which avoids Nagle's delay of 40 ms.
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
    """Return the `host:port` at which a browser reaches a listening socket.

    If the socket listens on all addresses, the host is this machine's address on its network.
    """
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        with socket.socket(listener.family, socket.SOCK_DGRAM) as probe:
            try:
                # Connecting a UDP socket sends no packet; it selects the local address.
                probe.connect((_DOCUMENTATION_ADDRESS[listener.family], _DISCARD_PORT))
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
    """Serve until SIGTERM or SIGINT; then requests in flight get 5 s to complete.

    Args:
        app: the application.
        listener: a listening socket.
        limits: `seconds` is the time limit of a connection; `connections` limits their number.
        certificate: the certificate for HTTPS; None serves HTTP.
        on_ready: called once requests are accepted.
        is_progressing: returns whether the application works. systemd's watchdog, which restarts a
            service that hangs, is notified only if it does. None notifies the watchdog always.

    Raises:
        EdgeError: the certificate cannot be used.
        KeyboardInterrupt: SIGINT ended the server.
    """
    config = _config(app, limits, certificate)
    # Malformed forms get an error response; clients must not be able to fill the log.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    server = _Server(config)
    # After the shutdown, uvicorn raises the signal again; with this handler SIGTERM then exits with
    # status 0. The handler also covers a SIGTERM that arrives before uvicorn has started.
    signal.signal(signal.SIGTERM, server.handle_exit)
    try:
        asyncio.run(_run(server, listener, on_ready, is_progressing, limits.seconds))
    finally:
        # Shutdown is already in progress; ignore further SIGTERMs.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


class BackgroundServer:
    """Runs an application in a daemon thread, beside the program's own work.

    The connection of a client that closes its sending side is closed, even without a response.

    Args:
        app: the application.
        listener: a listening socket.
        limits: `seconds` is the time limit of a connection; `connections` limits their number.
        name: name of the thread.
    """

    def __init__(self, app: ASGIApp, listener: socket.socket, limits: Limits, name: str) -> None:
        self._server = _AbortingServer(_config(app, limits, answers_half_closed=False))
        self._listener = listener
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening; started responses get 5 s to complete if the client reads."""
        self._server.should_exit = True
        self._thread.join(_GRACE_S + 1)

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._listener]))


class _AbortingServer(uvicorn.Server):
    """Closes connections whose clients do not read at shutdown, instead of waiting for them."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, HttpProtocol) and connection.flow.write_paused:
                connection.transport.abort()
        await super().shutdown(sockets)


def _config(
    app: ASGIApp,
    limits: Limits,
    certificate: Certificate | None = None,
    answers_half_closed: bool = True,
) -> uvicorn.Config:
    """Return uvicorn's configuration.

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
        timeout_keep_alive=max(_MIN_KEEP_ALIVE_S, int(limits.seconds)),
        timeout_graceful_shutdown=_GRACE_S,
        h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
        ssl_certfile=None if certificate is None else certificate.chain,
        ssl_keyfile=None if certificate is None else certificate.key,
    )
    try:
        config.load()
    except OSError as error:  # ssl.SSLError is a subclass
        if certificate is None:
            raise
        raise EdgeError(_certificate_problem(certificate, error)) from error
    return config


class _Server(uvicorn.Server):
    """Notifies systemd of the shutdown, before it waits for requests in flight."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        notify("STOPPING=1")
        await super().shutdown(sockets)


async def _run(
    server: uvicorn.Server,
    listener: socket.socket,
    on_ready: Callable[[], None],
    is_progressing: Callable[[], Awaitable[bool]] | None,
    handshake_s: float,
) -> None:
    if server.config.is_ssl:
        _limit_handshakes(handshake_s)
    notifier = asyncio.create_task(_notify_systemd(server, on_ready, is_progressing))
    try:
        await server.serve(sockets=[listener])
    finally:
        notifier.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await notifier


def _limit_handshakes(seconds: float) -> None:
    """Limit time and memory of connections that have not finished their TLS handshake.

    These connections are not counted yet, and uvicorn has no option for them: asyncio would wait
    60 s for each, and reserve 256 KiB.
    """
    loop = asyncio.get_running_loop()
    create = functools.partial(loop.create_server, ssl_handshake_timeout=seconds)
    loop.create_server = create  # type: ignore[method-assign]  # no option for it
    protocol: Any = sslproto.SSLProtocol
    if hasattr(protocol, "max_size"):  # Python 3.10 reserves nothing
        protocol.max_size = _TLS_BUFFER_BYTES


async def _notify_systemd(
    server: uvicorn.Server,
    on_ready: Callable[[], None],
    is_progressing: Callable[[], Awaitable[bool]] | None,
) -> None:
    """Notify systemd of the start, and then its watchdog while the application works."""
    while not server.started:
        await asyncio.sleep(_POLL_S)
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
        raise EdgeError(
            f"{option} {host}: unknown host; pass an IP address or a name that this machine can "
            "resolve"
        ) from error


def _certificate_problem(certificate: Certificate, error: OSError) -> str:
    """Return the message for a certificate that cannot be loaded."""
    reason = "it is not a PEM file with a certificate and its private key"
    if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
        reason = "the private key belongs to another certificate"
    for path in filter(None, (certificate.key, certificate.chain)):
        try:
            open(path, "rb").close()
        except OSError as unreadable:  # the error of the ssl module does not name the file
            reason = f"cannot read {path}: {unreadable.strerror}"
    return (
        f"cannot use the certificate {certificate.chain}: {reason}; check --certificate and --key"
    )
