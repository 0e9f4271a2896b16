"""One connection: uvicorn's HTTP/1.1, made safe from clients that never finish a request."""

import asyncio
from typing import ClassVar, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from runtime.serve import problem_details


class HttpProtocol(H11Protocol):
    """Closes a connection on which no request gets complete, or no response is read, in time.

    uvicorn waits forever for the headers of a request, for a body that nobody reads, and for a
    client that does not read its response.
    """

    # All four are set by `limited`.
    seconds: ClassVar[float]
    most: ClassVar[int]
    answers_half_closed: ClassVar[bool]
    # Those that are waiting for a request, the longest waiting one first, and what ends the wait;
    # None after an answer, where uvicorn's own timer does.
    _idle: "ClassVar[dict[HttpProtocol, asyncio.TimerHandle | None]]"
    # Ends a connection whose client does not read; None while it does.
    _unread: asyncio.TimerHandle | None = None

    @classmethod
    def limited(
        cls, seconds: float, most: int, answers_half_closed: bool = True
    ) -> "type[HttpProtocol]":
        """A class of connections that share these limits.

        Args:
            seconds: for the headers to arrive, and for the rest of a body that was refused.
            most: connections at once; for one more, the one that has waited longest is closed.
            answers_half_closed: whether a client that has sent all it will gets its response. A
                client that has left looks the same until it is sent something.
        """
        shared = {
            "seconds": seconds,
            "most": most,
            "answers_half_closed": answers_half_closed,
            "_idle": {},
        }
        return cast("type[HttpProtocol]", type("Limited", (cls,), shared))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to wait for a request, or refuse where all connections are busy."""
        transport = cast(asyncio.Transport, transport)
        super().connection_made(transport)
        if len(self.connections) > self.most:
            if not self._idle:
                transport.abort()
                return
            longest = next(iter(self._idle))
            longest._wait_no_more()
            longest.transport.abort()
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._wait_no_more()
        self._unread_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass on what arrived; the first byte of another request starts the clock again."""
        if not self._busy() and self._idle.get(self) is None:
            self._wait()
        super().data_received(data)
        if self._busy():
            self._wait_no_more()

    # asyncio lets this answer True, to keep the connection.
    def eof_received(self) -> bool | None:  # type: ignore[override]  # uvicorn annotates None
        """Answer a client that has sent all it will, as `nc -N` does, or take it to have left."""
        if self.answers_half_closed and self._busy() and not self.cycle.more_body:
            self.cycle.keep_alive = False
            return True
        return None

    def on_response_complete(self) -> None:
        """Be idle again; the rest of a body that was refused gets some time to arrive."""
        unread = self.cycle.more_body
        super().on_response_complete()
        if self._busy() or self.transport.is_closing() or self in self._idle:
            return
        if unread:
            self._wait()
        else:
            self._idle[self] = None

    def pause_writing(self) -> None:
        """Close the connection if the client does not read its response in time."""
        super().pause_writing()
        self._unread = self.loop.call_later(self.seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        super().resume_writing()
        self._unread_no_more()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, as everything else is refused."""
        body = problem_details.body(400, "this is not HTTP/1.1 as RFC 9112 describes it")
        headers = [
            (b"content-type", problem_details.MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        response = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
        try:
            parts = [self.conn.send(event) for event in (response, h11.Data(data=body))]
        except h11.LocalProtocolError:
            pass  # an answer has begun already
        else:
            self.transport.write(b"".join(part or b"" for part in parts))
        if self._busy():  # with a request whose body is broken: its own response is not sent
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()

    def _unread_no_more(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        self._idle.pop(self, None)
        self._idle[self] = self.loop.call_later(self.seconds, self.transport.abort)

    def _wait_no_more(self) -> None:
        timer = self._idle.pop(self, None)
        if timer is not None:
            timer.cancel()
