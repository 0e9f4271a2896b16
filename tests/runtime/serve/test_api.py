"""Responses of the HTTP API: predictions, problem documents, metrics and headers."""

import base64
import io
import platform
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from runtime import __version__
from runtime.preprocess.mnist_format import to_mnist_format
from runtime.preprocess.pipeline import preprocess

JPEG = {"Content-Type": "image/jpeg"}


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def test_classify_returns_the_prediction_of_the_classifier(server, classifier, page, photo):
    response = server.client.post("/v1/classify", content=photo, headers=JPEG)
    assert response.status_code == 200
    record, expected, preprocessed = response.json(), classifier.classify(photo), preprocess(photo)
    assert (record["label"], record["accepted"]) == (page[1], True)
    assert record["confidence"] == pytest.approx(expected.confidence, abs=1e-6)
    assert [each["label"] for each in record["scores"]] == list(classifier.spec.labels)
    np.testing.assert_allclose([s["score"] for s in record["scores"]], expected.scores, atol=1e-6)
    assert base64.b64decode(record["view"]["pixels"]) == preprocessed.pixels.tobytes()
    assert record["view"]["box"] == list(preprocessed.box)
    assert record["view"]["polarity"] == "dark on light"
    assert record["model"]["digest"] == classifier.spec.digest
    assert record["model"]["backend"] == classifier.backend.name
    assert record["inference_ms"] > 0


def test_feature_maps_are_those_of_the_classifier(server, classifier, photo):
    response = server.client.post("/v1/feature-maps", content=photo, headers=JPEG)
    assert response.status_code == 200
    expected = classifier.feature_maps(preprocess(photo).pixels)
    for block, maps in zip(response.json()["blocks"], expected, strict=True):
        shape = (block["channels"], block["height"], block["width"])
        assert shape == maps.shape
        assert block["peak"] == pytest.approx(maps.max())
        levels = np.frombuffer(base64.b64decode(block["maps"]), np.uint8).reshape(shape)
        assert (
            np.abs(levels * block["peak"] / 255 - np.maximum(maps, 0)).max() <= block["peak"] / 254
        )


def test_feature_maps_count_no_answers(server, page, photo):
    answers = f'digit_edge_answers_total{{label="{page[1]}",accepted="true"}}'
    server.client.post("/v1/classify", content=photo, headers=JPEG)
    before = server.metric(answers)
    server.client.post("/v1/feature-maps", content=photo, headers=JPEG)
    assert server.metric(answers) == before > 0


def test_feature_maps_of_a_blank_image_are_returned(server):
    blank = png(np.full((60, 60), 240, np.uint8))
    response = server.client.post("/v1/feature-maps", content=blank)
    assert response.status_code == 200
    assert len(response.json()["blocks"]) == 3


def test_implausible_shape_is_not_accepted(server, classifier):
    y, x = np.mgrid[:300, :300] - 150
    radius = np.hypot(x, y)
    ring = (radius < 30) | (abs(radius - 100) < 10)
    shape = png(np.where(ring, 20, 235).astype(np.uint8))
    assert preprocess(shape).implausible
    assert not classifier.classify(shape).accepted
    assert server.client.post("/v1/classify", content=shape).json()["accepted"] is False


def test_form_gives_the_same_result_as_a_raw_body(server, photo):
    body = server.client.post("/v1/classify", content=photo, headers=JPEG).json()
    form = server.client.post("/v1/classify", files={"image": ("a.jpg", photo)}).json()
    assert (form["scores"], form["view"]) == (body["scores"], body["view"])
    bare = server.client.post("/v1/classify", content=photo).json()
    assert bare["scores"] == body["scores"]


@pytest.mark.parametrize("prefix", ["", "data:image/jpeg;base64,", "DATA:;Base64,"])
def test_image_in_json_gives_the_same_result_as_a_raw_body(server, photo, prefix):
    text = prefix + base64.encodebytes(photo).decode()  # lines of 76 characters
    for path in ("/v1/classify", "/v1/read"):
        body = server.client.post(path, content=photo, headers=JPEG).json()
        sent = server.client.post(path, json={"image": text}).json()
        assert (sent.get("scores"), sent.get("digits")) == (body.get("scores"), body.get("digits"))
    drawing = server.client.post("/v1/classify?drawing=true", json={"image": text}).json()
    assert drawing["view"]["method"] == "drawing"


def test_every_mark_of_a_drawing_is_ink(server, classifier):
    drawing = np.full((256, 256), 255, np.uint8)
    drawing[40:60, 60:190] = drawing[60:210, 170:190] = 0
    drawing[230:236, 20:26] = 128  # a speck, which is removed from a photograph
    response = server.client.post("/v1/classify?drawing=true", content=png(drawing)).json()
    pixels = to_mnist_format(255 - drawing)
    assert base64.b64decode(response["view"]["pixels"]) == pixels.tobytes()
    assert (response["view"]["box"], response["view"]["method"]) == ([20, 40, 190, 236], "drawing")
    assert response["label"] == classifier.classify(pixels).label
    plain = server.client.post("/v1/classify", content=png(drawing)).json()
    assert plain["view"]["pixels"] != response["view"]["pixels"]


def test_blank_page_is_not_accepted(server):
    blank = png(np.full((50, 60), 255, np.uint8))
    for query in ("", "?drawing=true"):
        response = server.client.post(f"/v1/classify{query}", content=blank).json()
        assert (response["accepted"], response["view"]["method"]) == (False, "blank")
        assert response["view"]["box"] == [0, 0, 60, 50]


def test_read_returns_the_recognition_of_the_classifier(server, classifier, page):
    paper = np.concatenate([page[0], page[0]], axis=1)
    response = server.client.post("/v1/read", content=png(paper)).json()
    expected = classifier.read(png(paper))
    assert response["text"] == expected.text == 2 * page[1]
    assert response["lines"] == list(expected.lines)
    assert [digit["box"] for digit in response["digits"]] == [list(d.box) for d in expected.digits]
    assert {digit["label"] for digit in response["digits"] if digit["accepted"]} == {page[1]}


def test_model_endpoint_describes_the_artifact_and_the_limits(server, classifier):
    record = server.client.get("/v1/model").json()
    spec = classifier.spec
    assert (record["digest"], record["precision"]) == (spec.digest, spec.precision)
    assert record["labels"] == list(spec.labels)
    assert record["test_accuracy"] == spec.metrics.test_accuracy
    assert record["max_body_bytes"] == 16 << 20


def test_metrics_count_requests_and_answers(server, page, photo):
    name = 'digit_edge_requests_total{path="/v1/classify",status="200"}'
    answers = f'digit_edge_answers_total{{label="{page[1]}",accepted="true"}}'
    server.client.post("/v1/classify", content=photo, headers=JPEG)
    before = server.metric(name), server.metric(answers)
    for _ in range(3):
        server.client.post("/v1/classify", content=photo, headers=JPEG)
    assert server.metric(name) == before[0] + 3
    assert server.metric(answers) == before[1] + 3


def test_metrics_contain_confidences_the_rejected_share_and_the_build(serve, photo):
    server = serve()
    assert server.metric("digit_edge_rejected_share") == 0
    confidence = server.client.post("/v1/classify", content=photo).json()["confidence"]
    for _ in range(2):
        blank = png(np.full((50, 60), 255, np.uint8))
        confidence += server.client.post("/v1/classify", content=blank).json()["confidence"]
    assert server.metric("digit_edge_rejected_share") == pytest.approx(2 / 3)
    assert server.metric("digit_edge_confidence_count") == 3
    assert server.metric("digit_edge_confidence_sum") == pytest.approx(confidence, abs=1e-5)
    build = f'digit_edge_build_info{{version="{__version__}",python="{platform.python_version()}"}}'
    assert server.metric(build) == 1


def test_digits_of_a_reading_are_counted_but_not_timed(server, page, photo):
    answers = f'digit_edge_answers_total{{label="{page[1]}",accepted="true"}}'
    server.client.post("/v1/read", content=photo, headers=JPEG)
    before = server.metric(answers)
    timed = server.metric("digit_edge_inference_duration_seconds_count")
    server.client.post("/v1/read", content=photo, headers=JPEG)
    assert server.metric(answers) == before + 1
    assert server.metric("digit_edge_inference_duration_seconds_count") == timed


def test_unknown_path_does_not_create_a_time_series(server):
    server.client.get("/made-up")
    assert "made-up" not in server.client.get("/metrics").text


def test_metrics_are_in_prometheus_format(server, photo):
    server.client.post("/v1/classify", content=photo, headers=JPEG)
    response = server.client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    for line in response.text.splitlines():
        assert re.fullmatch(
            r'# (HELP|TYPE) .+|[a-z_]+(\{[a-z_]+="[^"]*"(,[^}]*)?\})? [\d.e+-]+', line
        )
    buckets = re.findall(
        r'request_duration_seconds_bucket\{path="/v1/classify".*\} (\d+)', response.text
    )
    assert buckets
    assert sorted(map(int, buckets)) == list(map(int, buckets))


def test_healthz_reports_ok(server):
    assert server.client.get("/healthz").json() == {"status": "ok"}


def huge_png(side):
    """A PNG of about 100 bytes whose header claims side x side pixels."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(100)))
        + chunk(b"IEND", b"")
    )


BROKEN_FORM = {"Content-Type": "multipart/form-data; boundary=x"}


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/read"])
@pytest.mark.parametrize(
    ("sent", "status", "detail"),
    [
        ({"content": b""}, 400, "no image was sent"),
        ({"content": b"hello"}, 422, "not an image"),
        ({"content": huge_png(100)}, 422, "damaged"),
        ({"content": huge_png(6000)}, 413, "24,000,000 pixels"),
        ({"content": huge_png(10_000)}, 413, "24,000,000 pixels"),
        ({"content": huge_png(60_000)}, 413, "decoding would take too long"),
        ({"content": bytes(17 << 20)}, 413, "16,777,216 bytes"),
        ({"content": b"hello", "headers": {"Content-Type": "application/xml"}}, 415, "image/*"),
        ({"json": {}}, 400, "no image was sent"),
        ({"json": []}, 400, "not a JSON object"),
        ({"json": {"image": 7}}, 400, "no image was sent"),
        ({"json": {"image": ""}}, 400, "image is empty"),
        ({"json": {"image": "a"}}, 400, "not base64"),
        ({"json": {"image": "é"}}, 400, "not base64"),
        ({"json": {"image": "aGVsbG8="}}, 422, "not an image"),
        ({"json": {"image": "data:image/png,%89PNG"}}, 400, "the data URL is not base64"),
        ({"json": {"image": "data:image/png;base64"}}, 400, "image is empty"),
        ({"json": {"image": "", "a": [[]] * 1_000_000}}, 413, "too many values"),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 400, "not JSON"),
        ({"data": {"image": "text"}}, 415, "x-www-form-urlencoded"),
        ({"content": b"garbage", "headers": BROKEN_FORM}, 400, "form"),
        ({"content": b"--x--\r\n", "headers": BROKEN_FORM}, 400, "no file"),
        ({"content": b"a", "headers": {"Content-Type": "multipart/form-data"}}, 400, "form"),
        ({"files": {"image": ("a.png", b"")}}, 400, "no image was sent"),
        ({"files": {"a": ("a.png", b"1"), "b": ("b.png", b"2")}}, 400, "form"),
    ],
)
def test_invalid_upload_gets_a_problem_document(server, path, sent, status, detail):
    response = server.client.post(path, **sent)
    check_problem(response, status)
    assert detail in response.json()["detail"]


def test_truncated_photo_is_reported_as_damaged(server, photo):
    response = server.client.post("/v1/classify", content=photo[: len(photo) // 3], headers=JPEG)
    check_problem(response, 422)
    assert "damaged" in response.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/classify", 405),
        ("DELETE", "/v1/model", 405),
        ("POST", "/", 405),
        ("GET", "/v1/", 404),
        ("GET", "/..%2fserve.py", 404),
        ("GET", "/app.js/", 404),
        ("GET", "/static.py", 404),
        ("POST", "/v1/classify?drawing=perhaps", 400),
    ],
)
def test_invalid_request_gets_a_problem_document(server, method, path, status):
    response = server.client.request(method, path)
    check_problem(response, status)
    if status == 405:
        assert response.headers["allow"]


def check_problem(response, status):
    """Assert a problem document with a detail that contains neither paths nor tracebacks."""
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    record = response.json()
    assert (record["type"], record["status"]) == ("about:blank", status)
    assert record["title"]
    assert record["detail"]
    assert "Traceback" not in response.text
    assert "/" not in record["detail"].replace("image/*", "").replace("application/", "").replace(
        "multipart/", ""
    ).replace("/openapi.json", "")


@pytest.mark.parametrize("path", ["/", "/app.js", "/v1/model", "/nothing", "/openapi.json"])
def test_every_response_has_the_security_headers(server, path):
    headers = server.client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


def test_unchanged_file_gets_304(server):
    first = server.client.get("/app.js")
    assert first.headers["content-type"].startswith("text/javascript")
    again = server.client.get("/app.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = server.client.get("/app.js", headers={"If-None-Match": '"0"'})
    assert other.status_code == 200
