"""The server against its own description, by schemathesis."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = 25


@pytest.fixture(scope="session")
def document(server):
    """The document, as the server gives it."""
    return server.client.get("/openapi.json").json()


# What is sent as an image is an image now and then only: that the rest is refused is right.
CHECKS = [
    schemathesis.checks.not_a_server_error,
    schemathesis.checks.status_code_conformance,
    schemathesis.checks.content_type_conformance,
    schemathesis.checks.response_headers_conformance,
    schemathesis.checks.response_schema_conformance,
]
OPERATIONS = [
    ("POST", "/v1/classify"),
    ("POST", "/v1/read"),
    ("GET", "/v1/model"),
    ("GET", "/healthz"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
]


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_the_server_does_as_it_says(server, photo, method, path):
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
        case.call_and_validate(checks=CHECKS)

    send()


def test_every_path_is_described(server, document):
    assert document["openapi"].startswith("3.1")
    for path, methods in document["paths"].items():
        for method in methods:
            # Described, and there: 405 and 404 would say otherwise.
            assert server.client.request(method, path).status_code in (200, 400)
    described = {(m.upper(), path) for path, methods in document["paths"].items() for m in methods}
    assert described == set(OPERATIONS)


def test_answers_have_all_that_is_described_and_nothing_else(server, document, photo):
    schemas = document["components"]["schemas"]
    for path, name in (("/v1/classify", "Classification"), ("/v1/read", "Reading")):
        answer = server.client.post(path, content=photo).json()
        assert set(answer) == set(schemas[name]["properties"])
    assert set(server.client.get("/v1/model").json()) == set(
        schemas["ModelDescription"]["properties"]
    )
