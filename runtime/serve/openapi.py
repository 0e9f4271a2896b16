"""The API's operations and its description, OpenAPI 3.1: https://spec.openapis.org/oas/v3.1.1"""

from dataclasses import dataclass
from typing import Any

from runtime.serve import bodies
from runtime.serve.access import AccessPolicy
from runtime.serve.json_schema import Schema, schema_of
from runtime.serve.limits import Limits
from runtime.serve.problem_details import MEDIA_TYPE as PROBLEM

# The paths below which a request needs the token, if there is one, and may not come from a page of
# another site. The page itself contains nothing worth hiding.
PROTECTED = ("/v1/", "/metrics")

_PROBLEMS = {
    400: "no image, a form that cannot be read, or an invalid parameter",
    401: "the token is missing or wrong",
    403: "sent by a page of another site",
    408: "the body took too long to arrive",
    413: "the body or the image is too large",
    415: "not a content type that carries an image",
    421: "the Host header is not a name of this server",
    422: "not an image, or a damaged one",
    500: "a bug in the server, which its log describes",
    503: "too many requests at once: try again in a second",
}
_OF_IMAGES = (400, 408, 413, 415, 422, 503)
_DRAWING: Schema = {
    "name": "drawing",
    "in": "query",
    "description": "The image is a drawing, dark on white: every mark is ink, none a shadow, "
    "a ruled line or a speck.",
    "schema": {"type": "boolean", "default": False},
}


@dataclass(frozen=True)
class Operation:
    """One operation of the API.

    Attributes:
        method: the HTTP method.
        path: the path.
        name: the method of the application that handles it, and its operationId.
        summary: one line for the document.
        body: of the response: a dataclass or dict for JSON, str for plain text.
        problems: HTTP statuses of problems besides those that every operation has.
        parameters: of the query.
        takes_image: whether the request carries an image.
    """

    method: str
    path: str
    name: str
    summary: str
    body: type
    problems: tuple[int, ...] = ()
    parameters: tuple[Schema, ...] = ()
    takes_image: bool = False


OPERATIONS = (
    Operation(
        "POST",
        "/v1/classify",
        "classify",
        "Classify the digit that an image shows",
        bodies.Classification,
        _OF_IMAGES,
        (_DRAWING,),
        takes_image=True,
    ),
    Operation(
        "POST",
        "/v1/read",
        "read",
        "Read the numbers on a page, several digits and lines",
        bodies.Reading,
        _OF_IMAGES,
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
    Operation("GET", "/healthz", "healthz", "Check that the server answers", bodies.Health, (503,)),
    Operation("GET", "/metrics", "metrics", "Return the counters for Prometheus", str, (503,)),
    Operation("GET", "/openapi.json", "openapi", "Return this document", dict),
)


def document(limits: Limits, access: AccessPolicy, version: str) -> Schema:
    """Return the document of a server with these limits; it requires a token if there is one."""
    description = (
        "Reads handwritten digits. An image is a PNG, JPEG, WebP, TIFF, BMP, GIF or PPM of at most "
        f"{limits.body_bytes:,} bytes and {limits.pixels:,} pixels (a JPEG four times as many) "
        f"that takes no more than {limits.work_bytes // 1_000_000} MB to decode."
    )
    schemas: dict[str, Schema] = {}
    paths = {each.path: {each.method.lower(): _described(each, schemas)} for each in OPERATIONS}
    components: Schema = {"schemas": schemas}
    made: Schema = {
        "openapi": "3.1.0",
        "info": {"title": "digit-edge", "version": version, "description": description},
        "paths": paths,
        "components": components,
    }
    if access.token is not None:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        made["security"] = [{"token": []}]
    return made


def _described(operation: Operation, schemas: dict[str, Schema]) -> Schema:
    protected = operation.path.startswith(PROTECTED)
    media_type = "text/plain" if operation.body is str else "application/json"
    done = {media_type: {"schema": schema_of(operation.body, schemas)}}
    problem = {PROBLEM: {"schema": schema_of(bodies.Problem, schemas)}}
    statuses = {421, 500, *operation.problems, *((401, 403) if protected else ())}
    described: dict[str, Any] = {"operationId": operation.name, "summary": operation.summary}
    if not protected:
        described["security"] = []
    if operation.parameters:
        described["parameters"] = list(operation.parameters)
    if operation.takes_image:
        described["requestBody"] = _image()
    described["responses"] = {
        "200": {"description": "done", "content": done},
        **{
            str(status): {"description": _PROBLEMS[status], "content": problem}
            for status in sorted(statuses)
        },
    }
    return described


def _image() -> Schema:
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
