"""The API's description, OpenAPI 3.1: https://spec.openapis.org/oas/v3.1.1"""

from typing import Any

from runtime.server.guard import Access
from runtime.server.limits import Limits
from runtime.server.problems import MEDIA_TYPE as PROBLEM

Schema = dict[str, Any]

_STRING: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "number", "minimum": 0}
_SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_BOX: Schema = {
    "type": "array",
    "items": {"type": "integer"},
    "minItems": 4,
    "maxItems": 4,
    "description": "left, top, right, bottom in pixels of the upright image; right and bottom "
    "exclusive",
}
_REFUSALS = {
    400: "no image, a form that cannot be read, or a parameter that is none",
    401: "the token is missing or wrong",
    403: "sent by a page of another site",
    408: "the body took too long to arrive",
    413: "the body or the image is too large",
    415: "not a content type that carries an image",
    421: "called by a name that is not this server's",
    422: "not an image, or a damaged one",
    500: "a fault of the server's, which its log describes",
    503: "too many requests at once: try again in a second",
}
_COMMON = (401, 403, 421, 500, 503)
_OF_IMAGES = (400, 408, 413, 415, 422, *_COMMON)


def document(limits: Limits, access: Access, version: str) -> Schema:
    """The document for a server with these limits; a token is asked for where there is one."""
    description = (
        "Reads handwritten digits. An image is a PNG, JPEG, WebP, TIFF, BMP, GIF or PPM of at most "
        f"{limits.body_bytes:,} bytes and {limits.pixels:,} pixels (a JPEG four times as many) "
        f"that takes no more than {limits.work_bytes // 1_000_000} MB to decode."
    )
    drawing = {
        "name": "drawing",
        "in": "query",
        "description": "The image is a drawing, dark on white: every mark is ink, none a shadow, "
        "a ruled line or a speck.",
        "schema": {"type": "boolean", "default": False},
    }
    secured = access.token is not None
    paths = {
        "/v1/classify": {
            "post": {
                "operationId": "classify",
                "summary": "Which digit an image shows",
                "parameters": [drawing],
                "requestBody": _image(),
                "responses": _responses(_ref("Classification"), _OF_IMAGES),
            }
        },
        "/v1/read": {
            "post": {
                "operationId": "read",
                "summary": "The numbers on a page, several digits and lines",
                "requestBody": _image(),
                "responses": _responses(_ref("Reading"), _OF_IMAGES),
            }
        },
        "/v1/model": {
            "get": {
                "operationId": "model",
                "summary": "Which artefact and engine answer, and what they take",
                "responses": _responses(_ref("ModelDescription"), _COMMON),
            }
        },
        "/healthz": {
            "get": {
                "operationId": "healthz",
                "summary": "Whether the server answers",
                "security": [],
                "responses": _responses(_object({"status": {"const": "ok"}}), (421, 500, 503)),
            }
        },
        "/metrics": {
            "get": {
                "operationId": "metrics",
                "summary": "Counters for Prometheus",
                "responses": {
                    "200": {"description": "done", "content": {"text/plain": {"schema": _STRING}}},
                    **_refusals(_COMMON),
                },
            }
        },
        "/openapi.json": {
            "get": {
                "operationId": "openapi",
                "summary": "This document",
                "security": [],
                "responses": _responses({"type": "object"}, (421, 500)),
            }
        },
    }
    made: Schema = {
        "openapi": "3.1.0",
        "info": {"title": "digit-edge", "version": version, "description": description},
        "paths": paths,
        "components": {"schemas": _schemas()},
    }
    if secured:
        made["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        made["security"] = [{"token": []}]
    return made


def _schemas() -> dict[str, Schema]:
    identity = {
        "name": _STRING,
        "precision": {"enum": ["float32", "int8"]},
        "digest": {"type": "string", "description": "SHA-256 of the artefact"},
        "backend": _STRING,
        "backend_version": _STRING,
        "device": _STRING,
    }
    prediction = {
        "label": _STRING,
        "confidence": _SHARE,
        "accepted": {"type": "boolean", "description": "false: probably none of the labels"},
    }
    view = {
        "pixels": {
            "type": "string",
            "contentEncoding": "base64",
            "description": "what the network saw: 28 x 28 bytes, row by row, 0 ground to 255 ink",
        },
        "box": _BOX,
        "polarity": {"enum": ["dark on light", "light on dark"]},
        "method": _STRING,
    }
    model = {
        **identity,
        "labels": {"type": "array", "items": _STRING},
        "input_shape": {"type": "array", "items": {"type": "integer"}},
        "dataset": _STRING,
        "test_accuracy": {"type": ["number", "null"]},
        "n_test": {"type": ["integer", "null"]},
        "provenance": {"type": "object", "additionalProperties": _STRING},
        "max_body_bytes": {"type": "integer"},
        "max_pixels": {"type": "integer"},
    }
    return {
        "Model": _object(identity),
        "ModelDescription": _object(model),
        "Classification": _object(
            {
                **prediction,
                "scores": {
                    "type": "array",
                    "items": _object({"label": _STRING, "score": _SHARE}),
                    "description": "of every label, in the model's order",
                },
                "view": _object(view),
                "preprocess_ms": _NUMBER,
                "inference_ms": _NUMBER,
                "model": _ref("Model"),
            }
        ),
        "Reading": _object(
            {
                "text": _STRING,
                "lines": {"type": "array", "items": _STRING},
                "digits": {"type": "array", "items": _object({"box": _BOX, **prediction})},
                "total_ms": _NUMBER,
                "model": _ref("Model"),
            }
        ),
        "Problem": _object(
            {
                "type": _STRING,
                "title": _STRING,
                "status": {"type": "integer"},
                "detail": _STRING,
            }
        ),
    }


def _object(properties: dict[str, Schema]) -> Schema:
    return {"type": "object", "required": list(properties), "properties": properties}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _image() -> Schema:
    form = _object({"image": {"type": "string", "contentMediaType": "application/octet-stream"}})
    return {
        "required": True,
        "content": {
            "image/png": {},
            "image/jpeg": {},
            "application/octet-stream": {},
            "multipart/form-data": {"schema": form},
        },
    }


def _responses(schema: Schema, refusals: tuple[int, ...]) -> Schema:
    done = {"description": "done", "content": {"application/json": {"schema": schema}}}
    return {"200": done, **_refusals(refusals)}


def _refusals(statuses: tuple[int, ...]) -> Schema:
    content = {PROBLEM: {"schema": _ref("Problem")}}
    return {
        str(status): {"description": _REFUSALS[status], "content": content}
        for status in sorted(statuses)
    }
