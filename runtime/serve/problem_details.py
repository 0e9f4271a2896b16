"""Problem documents: how a request is refused (RFC 9457, application/problem+json)."""

import http
import json
from typing import TYPE_CHECKING

from runtime.serve import bodies

if TYPE_CHECKING:
    from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


class HttpProblem(Exception):
    """A refusal.

    Attributes:
        status: the HTTP status.
        detail: one line: what was wrong and what to do next.
        headers: of the response.
    """

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        if status == 503:
            self.headers.setdefault("Retry-After", "1")

    def response(self) -> "Response":
        """Return the problem document."""
        from starlette.responses import Response  # the worker process has no use for Starlette

        return Response(
            body(self.status, self.detail),
            self.status,
            media_type=MEDIA_TYPE,
            headers=self.headers,
        )


def body(status: int, detail: str) -> bytes:
    """Return the JSON of a problem document."""
    problem = bodies.Problem("about:blank", http.HTTPStatus(status).phrase, status, detail)
    return json.dumps(vars(problem), ensure_ascii=False).encode("utf-8", "replace")
