"""The operations of the API, and the OpenAPI 3.1 document that describes the operations.

`runtime.serve.app` creates its routes from `OPERATIONS`. The schemas of responses are generated
from the dataclasses in `runtime.serve.bodies`. Specification: https://spec.openapis.org/oas/v3.1.1
"""

from dataclasses import dataclass
from typing import Any

from runtime.serve import bodies
from runtime.serve.access import AccessPolicy
from runtime.serve.json_schema import Schema, schema_of
from runtime.serve.limits import Limits
from runtime.serve.problem_details import MEDIA_TYPE as PROBLEM

# Path prefixes with access control: requests need the token if the server has one, and pages of
# other sites are rejected. The drawing page needs no token, because it contains no secrets.
PROTECTED = ("/v1/", "/metrics")

# HTTP status → description of the error response.
_PROBLEMS = {
    400: "no image, a form that cannot be read, or an invalid parameter",
    401: "the token is missing or wrong",
    403: "the request comes from a page of another site",
    408: "the body took too long to arrive",
    413: "the body or the image is too large",
    415: "the content type is not that of an image or a form",
    421: "the Host header is not a name of this server",
    422: "the body is not an image, the image is damaged, or it takes too long to process",
    500: "internal error; the server's log has the traceback",
    501: "the network has no feature maps to show",
    503: "too many requests at once, or the worker is being replaced: try again in a second",
}
_IMAGE_PROBLEMS = (400, 408, 413, 415, 422, 503)  # error statuses of operations with an image
# The query parameter of /v1/classify and /v1/feature-maps.
_DRAWING: Schema = {
    "name": "drawing",
    "in": "query",
    "description": "Whether the image is a drawing, dark on white: every mark is then ink. "
    "Shadows, ruled lines and specks are not removed.",
    "schema": {"type": "boolean", "default": False},
}


@dataclass(frozen=True)
class Operation:
    """One operation of the API.

    Attributes:
        method: the HTTP method.
        path: the URL path, such as "/v1/classify".
        name: the operationId, and the name of the handler method in `runtime.serve.app`.
        summary: one line for the document.
        body: type of the response body: a dataclass or dict for JSON, str for plain text.
        problems: HTTP statuses of errors. Every operation can also respond with 421 and 500, and a
            protected operation with 401 and 403.
        parameters: OpenAPI objects of the query parameters.
        takes_image: whether the body of the request is an image.
    """

    method: str
    path: str
    name: str
    summary: str
    body: type
    problems: tuple[int, ...] = ()
    parameters: tuple[Schema, ...] = ()
    takes_image: bool = False


OPERATIONS = (  # all operations of the API
    Operation(
        "POST",
        "/v1/classify",
        "classify",
        "Classify the digit in an image",
        bodies.Classification,
        _IMAGE_PROBLEMS,
        (_DRAWING,),
        takes_image=True,
    ),
    Operation(
        "POST",
        "/v1/feature-maps",
        "feature_maps",
        "Show what the network computes between the digit in an image and its scores",
        bodies.FeatureMaps,
        (*_IMAGE_PROBLEMS, 501),
        (_DRAWING,),
        takes_image=True,
    ),
    Operation(
        "POST",
        "/v1/read",
        "read",
        "Read the numbers on a page, several digits and lines",
        bodies.Reading,
        _IMAGE_PROBLEMS,
        takes_image=True,
    ),
    Operation(
        "GET",
        "/v1/model",
        "model",
        "Describe the artifact, the engine and the limits on images",
        bodies.ModelDescription,
        (503,),
    ),
    Operation("GET", "/healthz", "healthz", "Check that the server works", bodies.Health, (503,)),
    Operation("GET", "/metrics", "metrics", "Return the counters for Prometheus", str, (503,)),
    Operation("GET", "/openapi.json", "openapi", "Return this document", dict),
)


def document(limits: Limits, access: AccessPolicy, version: str) -> Schema:
    """Return the OpenAPI document of a server.

    Args:
        limits: the limits that the description states.
        access: the access policy. With a token, the document requires bearer authentication.
        version: the version of digit-edge.

    Returns:
        The document as a JSON object.
    """
    description = (
        "Reads handwritten digits. An image is a PNG, JPEG, WebP, TIFF, BMP, GIF or PPM of at most "
        f"{limits.body_bytes:,} bytes and {limits.pixels:,} pixels (JPEG: {4 * limits.pixels:,}) "
        f"that takes at most {limits.work_bytes // 1_000_000} MB to decode."
    )
    schemas: dict[str, Schema] = {}
    paths = {each.path: {each.method.lower(): _describe(each, schemas)} for each in OPERATIONS}
    components: Schema = {"schemas": schemas}
    openapi: Schema = {
        "openapi": "3.1.0",
        "info": {"title": "digit-edge", "version": version, "description": description},
        "paths": paths,
        "components": components,
    }
    if access.token is not None:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        openapi["security"] = [{"token": []}]
    return openapi


def _describe(operation: Operation, schemas: dict[str, Schema]) -> Schema:
    """Return the operation object; add the schemas of its bodies to `schemas`."""
    protected = operation.path.startswith(PROTECTED)
    media_type = "text/plain" if operation.body is str else "application/json"
    success = {media_type: {"schema": schema_of(operation.body, schemas)}}
    problem = {PROBLEM: {"schema": schema_of(bodies.Problem, schemas)}}
    statuses = {421, 500, *operation.problems, *((401, 403) if protected else ())}
    description: dict[str, Any] = {"operationId": operation.name, "summary": operation.summary}
    if not protected:
        description["security"] = []
    if operation.parameters:
        description["parameters"] = list(operation.parameters)
    if operation.takes_image:
        description["requestBody"] = _image_body()
    description["responses"] = {
        "200": {"description": "success", "content": success},
        **{
            str(status): {"description": _PROBLEMS[status], "content": problem}
            for status in sorted(statuses)
        },
    }
    return description


def _image_body() -> Schema:
    """Return the request body object of an image: the bytes of a file, or a form with a file."""
    image = {"type": "string", "contentMediaType": "application/octet-stream"}
    form = {"type": "object", "required": ["image"], "properties": {"image": image}}
    return {
        "required": True,
        "content": {
            "image/png": {},
            "image/jpeg": {},
            "application/octet-stream": {},
            "multipart/form-data": {"schema": form},
        },
    }
