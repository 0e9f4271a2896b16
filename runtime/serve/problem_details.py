"""Error responses as problem documents: application/problem+json, RFC 9457.

Code that handles a request of `digit-edge serve` or of the camera preview raises `HttpProblem`.
`runtime.serve.app` sends the problem document to the client. Below /v2, the Open Inference Protocol
prescribes another form: {"error": "the detail"}.
"""

import http
import json
from typing import TYPE_CHECKING

from runtime.serve import bodies

if TYPE_CHECKING:
    from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"  # content type of a problem document


class HttpProblem(Exception):
    """A request is rejected.

    Attributes:
        status: the HTTP status. detail: one line: the cause and the remedy. headers: additional
        headers of the response. With status 503, the header Retry-After: 1 (second)
            is added unless another value was passed.
    """

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        if status == 503:
            self.headers.setdefault("Retry-After", "1")

    def response(self, path: str) -> "Response":
        """Return the problem as a response.

        Args:
            path: the path of the request.
        """
        from starlette.responses import Response  # late: the worker process must not load Starlette

        if path == "/v2" or path.startswith("/v2/"):
            error = vars(bodies.InferenceError(self.detail))
            return Response(
                json.dumps(error), self.status, media_type="application/json", headers=self.headers
            )
        return Response(
            body(self.status, self.detail),
            self.status,
            media_type=MEDIA_TYPE,
            headers=self.headers,
        )


def body(status: int, detail: str) -> bytes:
    """Return the JSON of a problem document.

    Args:
        status: an HTTP status.
        detail: one line: the cause and the remedy.
    """
    problem = bodies.Problem("about:blank", http.HTTPStatus(status).phrase, status, detail)
    return json.dumps(vars(problem), ensure_ascii=False).encode("utf-8", "replace")
