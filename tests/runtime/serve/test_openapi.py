"""The OpenAPI document: the server conforms to it (schemathesis), and its schemas are complete."""

import base64
import dataclasses
import inspect
from typing import Annotated, Literal

import jsonschema
import pytest

from runtime.serve import bodies
from runtime.serve.access import AccessPolicy
from runtime.serve.limits import Limits
from runtime.serve.openapi import document as openapi
from runtime.serve.openapi.json_schema import Keywords, schema_of

TENSOR = {"name": "pixels", "datatype": "UINT8", "shape": [1, 28, 28, 1], "data": 784 * [0]}
EXAMPLES = 25  # generated requests per POST operation


@pytest.fixture(scope="session")
def document(server):
    """The document, as the server returns it."""
    return server.client.get("/openapi.json").json()


# Of schemathesis; without `positive_data_acceptance`: generated bodies are rarely images, so most
# are rejected.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
OPERATIONS = [
    ("POST", "/v1/classify"),
    ("POST", "/v1/feature-maps"),
    ("POST", "/v1/read"),
    ("POST", "/v1/numbers"),
    ("POST", "/v1/labels"),
    ("GET", "/v1/model"),
    ("GET", "/v2"),
    ("GET", "/v2/health/live"),
    ("GET", "/v2/health/ready"),
    ("GET", "/v2/models/{name}"),
    ("GET", "/v2/models/{name}/ready"),
    ("POST", "/v2/models/{name}/infer"),
    ("GET", "/healthz"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
]


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_responses_conform_to_the_document(server, photo, method, path):
    # Imported here: they take two seconds, which each worker of a parallel run would spend.
    import schemathesis
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    checks = [getattr(schemathesis.checks, name) for name in CHECKS]
    images = st.one_of(st.just(photo), st.binary(max_size=200))
    for kind in ("image/png", "image/jpeg", "application/octet-stream"):
        schemathesis.openapi.media_type(kind, images)
    schema = schemathesis.openapi.from_url(f"{server.url}openapi.json")
    modes = list(schemathesis.GenerationMode)
    cases = st.one_of([schema[path][method].as_strategy(generation_mode=mode) for mode in modes])

    @given(case=cases)
    @settings(
        max_examples=EXAMPLES if method == "POST" else 5,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def send(case):
        case.call_and_validate(checks=checks)

    send()


def test_document_describes_exactly_the_existing_operations(server, document):
    assert document["openapi"].startswith("3.1")
    for path, methods in document["paths"].items():
        for method in methods:
            response = server.client.request(method, path.replace("{name}", "digits"))
            if path == "/v1/labels":
                assert "--collect" in response.json()["detail"]
            else:
                # A path or method that does not exist would give 404 or 405.
                assert response.status_code in (200, 400)
    described = {(m.upper(), path) for path, methods in document["paths"].items() for m in methods}
    assert described == set(OPERATIONS)


@pytest.mark.parametrize(
    ("method", "path", "sent", "status"),
    [
        ("POST", "/v1/classify", {"content": "photo"}, 200),
        ("POST", "/v1/classify?drawing=true", {"content": "photo"}, 200),
        ("POST", "/v1/classify", {"files": {"image": "photo"}}, 200),
        ("POST", "/v1/feature-maps", {"content": "photo"}, 200),
        ("POST", "/v1/feature-maps?drawing=true", {"content": "photo"}, 200),
        ("POST", "/v1/feature-maps", {"content": b"no image"}, 422),
        ("POST", "/v1/read", {"content": "photo"}, 200),
        ("POST", "/v1/read", {"files": {"image": "photo"}}, 200),
        ("POST", "/v1/labels?label=3", {"content": "photo"}, 404),
        ("GET", "/v1/model", {}, 200),
        ("POST", "/v1/classify", {"json": {"image": "base64"}}, 200),
        ("GET", "/v2", {}, 200),
        ("GET", "/v2/health/live", {}, 200),
        ("GET", "/v2/health/ready", {}, 200),
        ("GET", "/v2/models/{name}", {}, 200),
        ("GET", "/v2/models/{name}/ready", {}, 200),
        ("POST", "/v2/models/{name}/infer", {"json": {"inputs": [TENSOR], "id": "7"}}, 200),
        ("POST", "/v2/models/{name}/infer", {"json": {}}, 400),
        ("GET", "/healthz", {}, 200),
        ("GET", "/openapi.json", {}, 200),
        ("POST", "/v1/classify?drawing=perhaps", {"content": "photo"}, 400),
        ("POST", "/v1/read", {"content": b""}, 400),
        ("POST", "/v1/read", {"content": "photo", "headers": {"Origin": "http://a.example"}}, 403),
        ("POST", "/v1/classify", {"content": bytes(17 << 20)}, 413),
        ("POST", "/v1/read", {"data": {"image": "text"}}, 415),
        ("GET", "/v1/model", {"headers": {"Host": "evil.example"}}, 421),
        ("POST", "/v1/classify", {"content": b"no image"}, 422),
    ],
)
def test_response_body_has_exactly_the_described_fields(
    server, document, photo, method, path, sent, status
):
    def filled(value):
        if isinstance(value, dict):
            return {key: filled(inner) for key, inner in value.items()}
        special = {"photo": photo, "base64": base64.b64encode(photo).decode()}
        return special.get(value, value) if isinstance(value, str) else value

    response = server.client.request(method, path.replace("{name}", "digits"), **filled(sent))
    assert response.status_code == status
    described = document["paths"][path.partition("?")[0]][method.lower()]["responses"]
    schema = described[str(status)]["content"][response.headers["content-type"]]["schema"]
    closed = {
        name: {**each, "additionalProperties": False}
        for name, each in document["components"]["schemas"].items()
    }
    jsonschema.validate(response.json(), {**schema, "components": {"schemas": closed}})


def test_exactly_the_protected_operations_return_401_without_a_token(serve):
    server = serve(DIGIT_EDGE_TOKEN="correct-horse-battery-staple")
    document = server.client.get("/openapi.json").json()
    public = {
        path for path, methods in document["paths"].items() if "security" in str(methods.values())
    }
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            response = server.client.request(method, path)
            assert (response.status_code == 401) == ("401" in described["responses"])
            assert (response.status_code == 401) == (path not in public)
            if response.status_code == 401:
                content = described["responses"]["401"]["content"]
                schema = content[response.headers["content-type"]]["schema"]
                jsonschema.validate(
                    response.json(), {**schema, "components": document["components"]}
                )


def test_new_field_of_a_body_appears_in_the_document(monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class Signed(bodies.Reading):
        """A reading with a signature.

        Attributes:
            signature: of the text, in two
                lines.
        """

        signature: str | None

    read = next(each for each in openapi.OPERATIONS if each.name == "read")
    monkeypatch.setattr(openapi, "OPERATIONS", [dataclasses.replace(read, body=Signed)])
    document = openapi.document(Limits(), AccessPolicy(), "1")
    schema = document["components"]["schemas"]["Signed"]
    assert schema["properties"]["signature"] == {
        "type": ["string", "null"],
        "description": "of the text, in two lines.",
    }
    assert schema["description"] == "A reading with a signature."
    assert schema["required"][-1] == "signature"
    # Fields of the base class are included with their descriptions.
    assert schema["properties"]["text"]["description"].startswith("all lines")


def test_every_schema_and_field_has_a_description():
    schemas = openapi.document(Limits(), AccessPolicy(), "1")["components"]["schemas"]
    assert set(schemas) == {
        name
        for name, each in inspect.getmembers(bodies, dataclasses.is_dataclass)
        if not name.startswith("_") and name not in ("Keywords", "Prediction")
    }
    for name, schema in schemas.items():
        assert schema["description"], name
        for field, described in schema["properties"].items():
            assert described["description"], f"{name}.{field}"


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (str, {"type": "string"}),
        (bool, {"type": "boolean"}),
        (float | None, {"type": ["number", "null"]}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (tuple[str, ...], {"type": "array", "items": {"type": "string"}}),
        (
            tuple[int, int],
            {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
        ),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (Literal["a"], {"const": "a"}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (Annotated[int, Keywords({"minimum": 1})], {"type": "integer", "minimum": 1}),
        (
            bodies.Score | None,
            {"anyOf": [{"$ref": "#/components/schemas/Score"}, {"type": "null"}]},
        ),
    ],
)
def test_type_is_converted_to_its_json_schema(hint, schema):
    assert schema_of(hint, {}) == schema


@pytest.mark.parametrize("hint", [bytes, set[str], dict[int, str], tuple[int, str]])
def test_type_without_a_json_schema_is_rejected(hint):
    with pytest.raises(TypeError, match="no JSON schema"):
        schema_of(hint, {})
