"""Access control of the HTTP servers, as ASGI middleware.

`digit-edge serve` and the camera preview use this module. `AccessMiddleware` rejects a request if
its Host header is not a name of this machine (DNS rebinding). On protected paths it also rejects
requests from pages of other sites and, if a token is set, requests without it. It adds security
headers to every response.
`find_access` makes an `AccessPolicy` from the command-line options.
"""

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

# Header for browsers: a page may load files from this server only, and no other page may show it in
# a frame.
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
# Headers that are added to a response unless the response has them already.
_SECURITY_HEADERS = tuple(
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
# Sent if a request is canceled because the server ends.
_SHUTTING_DOWN = HttpProblem(
    503, "the server is shutting down: try again in a minute", {"Connection": "close"}
)


@dataclass(frozen=True)
class AccessPolicy:
    """The rules that a request must satisfy.

    Attributes:
        token: the bearer token that the Authorization header must contain; None if no token is
            needed.
        loopback: whether only this machine can reach the server. The Host header may then contain
            only localhost, a loopback address, or a name of `hosts`.
        hosts: further host names that the Host header may contain, in lower case.
    """

    token: str | None = None
    loopback: bool = True
    hosts: tuple[str, ...] = ()

    def allows_host(self, header: str) -> bool:
        """Return whether a Host header, such as "localhost:8080", is a name of this machine.

        This check stops DNS rebinding. In this attack, the owner of a web site lets the site's host
        name resolve to the address of this server. For the browser, the page of the attacker and
        this server then have the same origin. But the Host header still contains the name of the
        attacker's site.
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
        """Return whether an Authorization header contains the token.

        The comparison takes constant time. Always False if the policy has no token.
        """
        scheme, _, token = header.partition(" ")
        expected = (self.token or "").encode()
        equal = hmac.compare_digest(token.strip().encode("utf-8", "surrogateescape"), expected)
        return equal and scheme.lower() == "bearer" and self.token is not None


def own_names() -> tuple[str, ...]:
    """Return this machine's names on its network, such as raspberrypi and raspberrypi.local."""
    name = socket.gethostname().lower()
    return (name, f"{name.partition('.')[0]}.local")


def find_access(
    host: str, options: AccessOptions, option: str, port: int | None = None
) -> AccessPolicy:
    """Return the access policy of a server that listens on `host`.

    Args:
        host: the address or name to listen on.
        options: the access options of the command line.
        option: name of the option that contains the host, for error messages.
        port: the port for error messages, if `option` contains host and port; None otherwise.

    Raises:
        EdgeError: the host is unknown, or the token is invalid. Or other machines can reach the
            host, and neither a token nor --no-auth was passed.
    """
    loopback = service.is_loopback(host, option)
    token = find_token(options)
    if not loopback and token is None and not options.no_auth:
        address = host if port is None else join_address(host, port)
        raise EdgeError(
            f"{option} {address} accepts connections from other machines: pass --token-file FILE, "
            f"or set {TOKEN_VARIABLE}; to allow everybody, pass --no-auth"
        )
    names = () if loopback else own_names()
    return AccessPolicy(token, loopback, (*names, *(name.lower() for name in options.allow_hosts)))


class AccessMiddleware:
    """ASGI middleware that rejects requests without access and adds the security headers.

    Args:
        app: the application to guard.
        access: the rules for all requests.
        protected: path prefixes. A request with such a prefix needs the token if the policy has a
            token. It must not come from a page of another site.
    """

    def __init__(self, app: ASGIApp, access: AccessPolicy, protected: tuple[str, ...]) -> None:
        self._app, self._access, self._protected = app, access, protected

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request; pass it to the application, or send the reason of its rejection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        response_started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal response_started
            if message["type"] == "http.response.start":
                response_started = True
                present = {name for name, _ in message["headers"]}
                message["headers"] += [pair for pair in _SECURITY_HEADERS if pair[0] not in present]
                if b"cache-control" not in present:
                    message["headers"].append((b"cache-control", b"no-store"))
            await send(message)

        try:
            problem = self._check(scope)
            app = self._app if problem is None else problem.response(scope["path"])
            await app(scope, receive, send_with_headers)
        except asyncio.CancelledError:
            # uvicorn cancels requests that are still in flight at the end of the grace period.
            if not response_started:
                shutting_down = _SHUTTING_DOWN.response(scope["path"])
                await shutting_down(scope, receive, send_with_headers)

    def _check(self, scope: Scope) -> HttpProblem | None:
        """Return the reason for which a request is rejected; None if the request is allowed."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        if not self._access.allows_host(host):
            return HttpProblem(
                421,
                f"unknown host {_host_name(host)!r}: use the server's address, or start the "
                "server with --allow-host NAME",
            )
        if not scope["path"].startswith(self._protected):
            return None
        # A page of another site can send requests (CSRF), although it cannot read the responses.
        origin = headers.get(b"origin")
        if origin is not None and origin.partition("://")[2] != host:
            return HttpProblem(403, "requests from pages of other sites are rejected")
        if headers.get(b"sec-fetch-site") in ("cross-site", "same-site"):
            return HttpProblem(403, "requests from pages of other sites are rejected")
        if self._access.token is not None and not self._access.knows_token(
            headers.get(b"authorization", "")
        ):
            return HttpProblem(
                401,
                "the token is missing or wrong: send the header Authorization: Bearer TOKEN",
                {"WWW-Authenticate": 'Bearer realm="digit-edge"'},
            )
        return None


def _host_name(header: str) -> str:
    """Return the name in a Host header, without port and without the brackets of IPv6."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()
