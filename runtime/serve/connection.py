"""An HTTP/1.1 connection with time limits, against slow clients (Slowloris attacks).

`HttpProtocol` extends the protocol class of uvicorn, the HTTP server of `runtime.serve.service`. In
a Slowloris attack, a client opens many connections and sends its requests extremely slowly.
"""

import asyncio
from typing import ClassVar, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from runtime.serve import problem_details

_LENGTHS = {b"content-length", b"transfer-encoding"}  # headers that say where a request ends


class HttpProtocol(H11Protocol):
    """Closes a connection if a request does not arrive in time, or a response is not read in time.

    uvicorn's own class would wait forever for the headers of a request, and for the rest of a
    rejected body. It would also wait forever for a client that does not read its response.

    Do not use this class itself, but a subclass made by `limited`.
    """

    seconds: ClassVar[float]  # after this time without progress, the connection is closed
    max_connections: ClassVar[int]  # beyond it, the longest idle connection is closed
    # Whether a client that has closed its sending side gets the response. Otherwise the connection
    # is closed.
    answers_half_closed: ClassVar[bool]
    # Idle connection → timer that closes the connection. An idle connection waits for a request;
    # the longest idle connection comes first. After a response the timer is None, because uvicorn's
    # keep-alive timer closes the connection.
    _idle: "ClassVar[dict[HttpProtocol, asyncio.TimerHandle | None]]"
    # Timer that closes the connection; None while the client reads the response.
    _write_timer: asyncio.TimerHandle | None = None

    @classmethod
    def limited(
        cls, seconds: float, max_connections: int, answers_half_closed: bool = True
    ) -> "type[HttpProtocol]":
        """Return a subclass whose connections share these limits.

        Args:
            seconds: time limit for the headers to arrive, for the rest of a rejected body to
                arrive, and for a client to continue reading.
            max_connections: number of open connections. A further connection closes the longest
                idle connection; if no connection is idle, the further one is closed.
            answers_half_closed: whether a client that has closed its sending side (`nc -N`) gets
                its response. The server cannot distinguish this client from a client that has left.
        """
        shared = {
            "seconds": seconds,
            "max_connections": max_connections,
            "answers_half_closed": answers_half_closed,
            "_idle": {},
        }
        return cast("type[HttpProtocol]", type("Limited", (cls,), shared))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the timer for the first request, or close this connection if all are busy."""
        transport = cast(asyncio.Transport, transport)
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            if not self._idle:
                transport.abort()
                return
            longest_idle = next(iter(self._idle))
            longest_idle._stop_request_timer()
            longest_idle.transport.abort()
        self._start_request_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        self._stop_request_timer()
        self._stop_write_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse received bytes; the first byte of a further request starts the timer again."""
        if not self._busy() and self._idle.get(self) is None:
            self._start_request_timer()
        super().data_received(data)
        if self._busy():
            self._stop_request_timer()

    def handle_events(self) -> None:
        """Process parsed events; close the connection after a request with two lengths.

        With both Content-Length and Transfer-Encoding, a proxy in front of the server may see
        another end of the request, and take the rest for the start of the next one (request
        smuggling). RFC 9112, section 6.1, demands that the connection is closed.
        """
        super().handle_events()
        if self._busy() and {name for name, _ in self.headers} >= _LENGTHS:
            self.cycle.keep_alive = False

    # In asyncio, returning True keeps the transport open.
    def eof_received(self) -> bool | None:  # type: ignore[override]  # uvicorn annotates None
        """Keep a half-closed connection open for its response, or close the connection.

        Returns:
            True if asyncio is to keep the connection open; None if asyncio is to close it.
        """
        if self.answers_half_closed and self._busy() and not self.cycle.more_body:
            self.cycle.keep_alive = False
            return True
        return None

    def on_response_complete(self) -> None:
        """Mark the connection as idle, or start a timer for the rest of a rejected body."""
        body_pending = self.cycle.more_body
        super().on_response_complete()
        if self._busy() or self.transport.is_closing() or self in self._idle:
            return
        if body_pending:
            self._start_request_timer()
        else:
            self._idle[self] = None

    def pause_writing(self) -> None:
        """Close the connection if the client does not read its response in time."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the timer of `pause_writing`: the client has read."""
        super().resume_writing()
        self._stop_write_timer()

    def send_400_response(self, msg: str) -> None:
        """Send a problem document to a client that does not speak HTTP/1.1."""
        body = problem_details.body(400, "invalid HTTP request: send HTTP/1.1 (RFC 9112)")
        headers = [
            (b"content-type", problem_details.MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        response = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
        try:
            parts = [self.conn.send(event) for event in (response, h11.Data(data=body))]
        except h11.LocalProtocolError:
            pass  # a response has already started
        else:
            self.transport.write(b"".join(part or b"" for part in parts))
        if self._busy():  # the body of this request is malformed: drop its own response
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()

    def _busy(self) -> bool:
        """Return whether a request is being processed."""
        return self.cycle is not None and not self.cycle.response_complete

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _start_request_timer(self) -> None:
        self._idle.pop(self, None)
        self._idle[self] = self.loop.call_later(self.seconds, self.transport.abort)

    def _stop_request_timer(self) -> None:
        timer = self._idle.pop(self, None)
        if timer is not None:
            timer.cancel()
