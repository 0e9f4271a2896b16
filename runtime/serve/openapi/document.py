"""The operations of the API, and the OpenAPI 3.1 document that describes the operations.

`runtime.serve.app` creates its routes from `OPERATIONS`. The schemas of responses are generated
from the dataclasses in `runtime.serve.bodies`. Specification: https://spec.openapis.org/oas/v3.1.1
"""

from dataclasses import dataclass
from typing import Any

from runtime.serve import bodies
from runtime.serve.access import AccessPolicy
from runtime.serve.limits import Limits
from runtime.serve.openapi.json_schema import Schema, schema_of
from runtime.serve.problem_details import MEDIA_TYPE as PROBLEM

# Path prefixes with access control: requests need the token if the server has one, and pages of
# other sites are rejected. The drawing page needs no token, because it contains no secrets.
# Nor do health checks: orchestrators send them without a token.
PROTECTED = ("/v1/", "/v2/models/", "/metrics")

# Header of the Open Inference Protocol: size of the JSON before binary tensors, in bytes.
JSON_BYTES_HEADER = "Inference-Header-Content-Length"

# HTTP status → description of the error response.
_PROBLEMS = {
    400: "no image, a form or JSON that cannot be read, or an invalid parameter",
    401: "the token is missing or wrong",
    403: "the request comes from a page of another site",
    404: "unknown model, or this server keeps no images",
    408: "the body took too long to arrive",
    413: "the body or the image is too large",
    415: "the content type is not that of an image, a form or JSON, or the body is compressed",
    421: "the Host header is not a name of this server",
    422: "the body is not an image, the image is damaged, or it takes too long to process",
    500: "internal error; the server's log has the traceback",
    501: "the network has no feature maps to show",
    503: "too many requests at once, or the worker is being replaced: try again in a second",
    507: "the folder of labeled images is full or cannot be written",
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
# The query parameter of /v1/labels.
_LABEL: Schema = {
    "name": "label",
    "in": "query",
    "required": True,
    "description": "The true label of the image, one of the model's labels.",
    "schema": {"type": "string"},
}
# The path parameter of /v2/models/{name}, and a header of its infer operation.
_NAME: Schema = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "The model's name.",
    "schema": {"type": "string"},
}
_JSON_BYTES: Schema = {
    "name": JSON_BYTES_HEADER,
    "in": "header",
    "description": "Size of the JSON in the body, in bytes; binary tensors follow it. Without the "
    "header, the whole body is JSON.",
    "schema": {"type": "integer", "minimum": 0},
}


@dataclass(frozen=True)
class Operation:
    """One operation of the API.

    The errors of a path below /v2 have the form of the Open Inference Protocol.

    Attributes:
        method: the HTTP method.
        path: the URL path, such as "/v1/classify".
        name: the operationId, and the name of the handler method in `runtime.serve.app`.
        summary: one line for the document.
        body: type of the response body: a dataclass or dict for JSON, str for plain text.
        problems: HTTP statuses of errors. Every operation can also respond with 421 and 500, and a
            protected operation with 401 and 403.
        parameters: OpenAPI objects of the parameters.
        takes_image: whether the body of the request is an image.
        takes_tensors: whether the body of the request is an inference request.
    """

    method: str
    path: str
    name: str
    summary: str
    body: type
    problems: tuple[int, ...] = ()
    parameters: tuple[Schema, ...] = ()
    takes_image: bool = False
    takes_tensors: bool = False


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
        "POST",
        "/v1/numbers",
        "numbers",
        "Read the number in each region of an image, and compare it with the last one",
        bodies.Numbers,
        _IMAGE_PROBLEMS,
        takes_image=True,
    ),
    Operation(
        "POST",
        "/v1/labels",
        "label",
        "Keep an image and its true label for training; the server must run with --collect",
        bodies.Kept,
        (*_IMAGE_PROBLEMS, 404, 507),
        (_LABEL,),
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
    Operation(
        "GET",
        "/v2",
        "inference_server",
        "Open Inference Protocol: describe the server",
        bodies.InferenceServer,
    ),
    Operation(
        "GET",
        "/v2/health/live",
        "live",
        "Open Inference Protocol: check that the server responds",
        bodies.Live,
    ),
    Operation(
        "GET",
        "/v2/health/ready",
        "ready",
        "Open Inference Protocol: check that the server works",
        bodies.Ready,
        (503,),
    ),
    Operation(
        "GET",
        "/v2/models/{name}",
        "inference_model",
        "Open Inference Protocol: describe the model and its tensors",
        bodies.InferenceModel,
        (404, 503),
        (_NAME,),
    ),
    Operation(
        "GET",
        "/v2/models/{name}/ready",
        "inference_model_ready",
        "Open Inference Protocol: check that the model works",
        bodies.ModelReady,
        (404, 503),
        (_NAME,),
    ),
    Operation(
        "POST",
        "/v2/models/{name}/infer",
        "infer",
        "Open Inference Protocol: classify pixels, JSON or binary tensors",
        bodies.Inference,
        (400, 404, 408, 413, 415, 422, 503),
        (_NAME, _JSON_BYTES),
        takes_tensors=True,
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
    if operation.takes_tensors:
        success["application/octet-stream"] = {}
    problem = {PROBLEM: {"schema": schema_of(bodies.Problem, schemas)}}
    if operation.path.startswith("/v2"):
        error = schema_of(bodies.InferenceError, schemas)
        problem = {"application/json": {"schema": error}}
    statuses = {421, 500, *operation.problems, *((401, 403) if protected else ())}
    description: dict[str, Any] = {"operationId": operation.name, "summary": operation.summary}
    if not protected:
        description["security"] = []
    if operation.parameters:
        description["parameters"] = list(operation.parameters)
    if operation.takes_image:
        description["requestBody"] = _image_body(schemas)
    if operation.takes_tensors:
        tensors = {"schema": schema_of(bodies.InferenceRequest, schemas)}
        content: Schema = {"application/json": tensors, "application/octet-stream": {}}
        description["requestBody"] = {"required": True, "content": content}
    description["responses"] = {
        "200": {"description": "success", "content": success},
        **{
            str(status): {"description": _PROBLEMS[status], "content": problem}
            for status in sorted(statuses)
        },
    }
    return description


def _image_body(schemas: dict[str, Schema]) -> Schema:
    """Return the request body object of an image: a file, a form with a file, or JSON."""
    image = {"type": "string", "contentMediaType": "application/octet-stream"}
    form = {"type": "object", "required": ["image"], "properties": {"image": image}}
    return {
        "required": True,
        "content": {
            "image/png": {},
            "image/jpeg": {},
            "application/octet-stream": {},
            "multipart/form-data": {"schema": form},
            "application/json": {"schema": schema_of(bodies.EncodedImage, schemas)},
        },
    }
