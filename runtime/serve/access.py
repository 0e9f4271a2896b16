"""Access control: the token, allowed hosts, cross-site requests, security headers."""

import asyncio
import hmac
import ipaddress
import socket
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime.errors import EdgeError
from runtime.serve import service
from runtime.serve.access_options import TOKEN_VARIABLE, AccessOptions, find_token
from runtime.serve.addresses import join_address
from runtime.serve.problem_details import HttpProblem

# The page brings all it needs with it, and nothing may frame it or be loaded from elsewhere.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = tuple(
    (name.encode(), value.encode())
    for name, value in (
        ("content-security-policy", CONTENT_SECURITY_POLICY),
        ("permissions-policy", "camera=(self), microphone=(), geolocation=()"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    )
)
_ENDING = HttpProblem(
    503, "the server is shutting down: try again in a minute", {"Connection": "close"}
)


@dataclass(frozen=True)
class AccessPolicy:
    """Who may ask.

    Attributes:
        token: what a request must carry as `Authorization: Bearer …`; None for no token.
        loopback: whether only this machine can reach the server.
        hosts: names besides addresses that a request may call this machine by, lower case.
    """

    token: str | None = None
    loopback: bool = True
    hosts: tuple[str, ...] = ()

    def allows_host(self, header: str) -> bool:
        """Whether a Host header is this machine's.

        A page elsewhere can point its own name at this address (DNS rebinding) and would then
        share our origin; it cannot make the browser send an address or a name of ours.
        """
        name = _host_name(header)
        if name == "localhost" or name in self.hosts:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self.loopback

    def knows_token(self, header: str) -> bool:
        """Whether an Authorization header carries the token; the time taken tells nothing."""
        scheme, _, given = header.partition(" ")
        expected = (self.token or "").encode()
        same = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), expected)
        return same and scheme.lower() == "bearer" and self.token is not None


def own_names() -> tuple[str, ...]:
    """What this machine is called on its network: raspberrypi, raspberrypi.local."""
    name = socket.gethostname().lower()
    return (name, f"{name.partition('.')[0]}.local")


def find_access(
    host: str, options: AccessOptions, option: str, port: int | None = None
) -> AccessPolicy:
    """Return who may send requests to a server that listens on `host`.

    Args:
        option: the option that named the host, for messages.
        port: the port, if that option named it too.

    Raises:
        EdgeError: others can reach the host and there is no token, the token is invalid, or the
            host is unknown.
    """
    loopback = service.is_loopback(host, option)
    token = find_token(options)
    if not loopback and token is None and not options.no_auth:
        shown = host if port is None else join_address(host, port)
        raise EdgeError(
            f"{option} {shown} lets others in: give --token-file FILE, or set {TOKEN_VARIABLE}; "
            "or, where all may ask, --no-auth"
        )
    names = () if loopback else own_names()
    return AccessPolicy(token, loopback, (*names, *(name.lower() for name in options.allow_hosts)))


class AccessMiddleware:
    """ASGI middleware that rejects requests without access and adds the security headers.

    Below the `protected` paths a request needs the token, if there is one, and may not come from a
    page of another site.
    """

    def __init__(self, app: ASGIApp, access: AccessPolicy, protected: tuple[str, ...]) -> None:
        self._app, self._access, self._protected = app, access, protected

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request and pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answering = False

        async def send_guarded(message: Message) -> None:
            nonlocal answering
            if message["type"] == "http.response.start":
                answering = True
                given = {name for name, _ in message["headers"]}
                message["headers"] += [pair for pair in _HEADERS if pair[0] not in given]
                if b"cache-control" not in given:
                    message["headers"].append((b"cache-control", b"no-store"))
            await send(message)

        try:
            problem = self._refusal(scope)
            app = self._app if problem is None else problem.response()
            await app(scope, receive, send_guarded)
        except asyncio.CancelledError:
            # The server ends and has waited for this request for as long as it may.
            if not answering:
                await _ENDING.response()(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> HttpProblem | None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        if not self._access.allows_host(host):
            return HttpProblem(
                421,
                f"{_host_name(host) or 'no host'} is not a name of this server: use its address, "
                "or start it with --allow-host",
            )
        if not scope["path"].startswith(self._protected):
            return None
        # A page of another site may send a request, though it cannot read the answer.
        origin = headers.get(b"origin")
        if origin is not None and origin.partition("://")[2] != host:
            return HttpProblem(403, "requests from pages of other sites are refused")
        if headers.get(b"sec-fetch-site") in ("cross-site", "same-site"):
            return HttpProblem(403, "requests from pages of other sites are refused")
        if self._access.token is not None and not self._access.knows_token(
            headers.get(b"authorization", "")
        ):
            return HttpProblem(
                401,
                "send the server's token: Authorization: Bearer TOKEN",
                {"WWW-Authenticate": 'Bearer realm="digit-edge"'},
            )
        return None


def _host_name(header: str) -> str:
    """The name in a Host header, without its port and without the brackets of IPv6."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()
