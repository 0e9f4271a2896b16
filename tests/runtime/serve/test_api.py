"""What the API answers, and how it refuses."""

import base64
import io
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from runtime.preprocess.mnist_format import to_mnist_format
from runtime.preprocess.pipeline import preprocess

JPEG = {"Content-Type": "image/jpeg"}


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def test_an_image_gets_what_the_classifier_says(server, classifier, page, photo):
    answer = server.client.post("/v1/classify", content=photo, headers=JPEG)
    assert answer.status_code == 200
    record, expected, seen = answer.json(), classifier.classify(photo), preprocess(photo)
    assert (record["label"], record["accepted"]) == (page[1], True)
    assert record["confidence"] == pytest.approx(expected.confidence, abs=1e-6)
    assert [each["label"] for each in record["scores"]] == list(classifier.spec.labels)
    np.testing.assert_allclose([s["score"] for s in record["scores"]], expected.scores, atol=1e-6)
    assert base64.b64decode(record["view"]["pixels"]) == seen.pixels.tobytes()
    assert record["view"]["box"] == list(seen.box)
    assert record["view"]["polarity"] == "dark on light"
    assert record["model"]["digest"] == classifier.spec.digest
    assert record["model"]["backend"] == classifier.backend.name
    assert record["inference_ms"] > 0


def test_a_shape_that_no_digit_has_is_refused_here_too(server, classifier):
    y, x = np.mgrid[:300, :300] - 150
    radius = np.hypot(x, y)
    ring = (radius < 30) | (abs(radius - 100) < 10)
    shape = png(np.where(ring, 20, 235).astype(np.uint8))
    assert preprocess(shape).implausible
    assert not classifier.classify(shape).accepted
    assert server.client.post("/v1/classify", content=shape).json()["accepted"] is False


def test_a_form_gets_the_same_answer_as_a_body(server, photo):
    body = server.client.post("/v1/classify", content=photo, headers=JPEG).json()
    form = server.client.post("/v1/classify", files={"image": ("a.jpg", photo)}).json()
    assert (form["scores"], form["view"]) == (body["scores"], body["view"])
    bare = server.client.post("/v1/classify", content=photo).json()
    assert bare["scores"] == body["scores"]


def test_in_a_drawing_every_mark_is_ink(server, classifier):
    drawing = np.full((256, 256), 255, np.uint8)
    drawing[40:60, 60:190] = drawing[60:210, 170:190] = 0
    drawing[230:236, 20:26] = 128  # a speck: in a photograph it would be none of the digit
    answer = server.client.post("/v1/classify?drawing=true", content=png(drawing)).json()
    pixels = to_mnist_format(255 - drawing)
    assert base64.b64decode(answer["view"]["pixels"]) == pixels.tobytes()
    assert (answer["view"]["box"], answer["view"]["method"]) == ([20, 40, 190, 236], "drawing")
    assert answer["label"] == classifier.classify(pixels).label
    plain = server.client.post("/v1/classify", content=png(drawing)).json()
    assert plain["view"]["pixels"] != answer["view"]["pixels"]


def test_a_blank_page_is_no_digit(server):
    blank = png(np.full((50, 60), 255, np.uint8))
    for query in ("", "?drawing=true"):
        answer = server.client.post(f"/v1/classify{query}", content=blank).json()
        assert (answer["accepted"], answer["view"]["method"]) == (False, "blank")
        assert answer["view"]["box"] == [0, 0, 60, 50]


def test_several_digits_are_read_as_the_classifier_reads_them(server, classifier, page):
    paper = np.concatenate([page[0], page[0]], axis=1)
    answer = server.client.post("/v1/read", content=png(paper)).json()
    expected = classifier.read(png(paper))
    assert answer["text"] == expected.text == 2 * page[1]
    assert answer["lines"] == list(expected.lines)
    assert [digit["box"] for digit in answer["digits"]] == [list(d.box) for d in expected.digits]
    assert {digit["label"] for digit in answer["digits"] if digit["accepted"]} == {page[1]}


def test_the_model_explains_itself(server, classifier):
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
    # A reading is decoding and layout as well: its digits are counted, not timed.
    timed = server.metric("digit_edge_inference_duration_seconds_count")
    server.client.post("/v1/read", content=photo, headers=JPEG)
    assert server.metric(answers) == before[1] + 4
    assert server.metric("digit_edge_inference_duration_seconds_count") == timed
    # What a client makes up makes no series of its own.
    server.client.get("/made-up")
    answer = server.client.get("/metrics")
    assert "made-up" not in answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    for line in answer.text.splitlines():
        assert re.fullmatch(
            r'# (HELP|TYPE) .+|[a-z_]+(\{[a-z_]+="[^"]*"(,[^}]*)?\})? [\d.e+-]+', line
        )
    buckets = re.findall(
        r'request_duration_seconds_bucket\{path="/v1/classify".*\} (\d+)', answer.text
    )
    assert sorted(map(int, buckets)) == list(map(int, buckets))


def test_it_is_well(server):
    assert server.client.get("/healthz").json() == {"status": "ok"}


def huge_png(side):
    """A PNG that says it is side x side, in a hundred bytes."""

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
    ("sent", "status", "named"),
    [
        ({"content": b""}, 400, "no image was sent"),
        ({"content": b"hello"}, 422, "not an image"),
        ({"content": huge_png(100)}, 422, "damaged"),
        ({"content": huge_png(6000)}, 413, "24,000,000 pixels"),
        ({"content": huge_png(10_000)}, 413, "24,000,000 pixels"),
        ({"content": huge_png(60_000)}, 413, "decoding would take too long"),
        ({"content": bytes(17 << 20)}, 413, "16,777,216 bytes"),
        ({"content": b"{}", "headers": {"Content-Type": "application/json"}}, 415, "image/*"),
        ({"data": {"image": "text"}}, 415, "x-www-form-urlencoded"),
        ({"content": b"garbage", "headers": BROKEN_FORM}, 400, "form"),
        ({"content": b"--x--\r\n", "headers": BROKEN_FORM}, 400, "no file"),
        ({"content": b"a", "headers": {"Content-Type": "multipart/form-data"}}, 400, "form"),
        ({"files": {"image": ("a.png", b"")}}, 400, "no image was sent"),
        ({"files": {"a": ("a.png", b"1"), "b": ("b.png", b"2")}}, 400, "form"),
    ],
)
def test_bad_input_gets_a_problem_document(server, path, sent, status, named):
    answer = server.client.post(path, **sent)
    check_problem(answer, status)
    assert named in answer.json()["detail"]


def test_a_damaged_photograph_is_named_damaged(server, photo):
    answer = server.client.post("/v1/classify", content=photo[: len(photo) // 3], headers=JPEG)
    check_problem(answer, 422)
    assert "damaged" in answer.json()["detail"]


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
def test_what_is_not_there_gets_a_problem_document(server, method, path, status):
    answer = server.client.request(method, path)
    check_problem(answer, status)
    if status == 405:
        assert answer.headers["allow"]


def check_problem(answer, status):
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    record = answer.json()
    assert (record["type"], record["status"]) == ("about:blank", status)
    assert record["title"]
    assert record["detail"]
    assert "Traceback" not in answer.text
    assert "/" not in record["detail"].replace("image/*", "").replace("application/", "").replace(
        "multipart/", ""
    ).replace("/openapi.json", "")


@pytest.mark.parametrize("path", ["/", "/app.js", "/v1/model", "/nothing", "/openapi.json"])
def test_every_answer_carries_the_security_headers(server, path):
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


def test_the_page_is_fetched_again_only_when_it_changed(server):
    first = server.client.get("/app.js")
    assert first.headers["content-type"].startswith("text/javascript")
    again = server.client.get("/app.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = server.client.get("/app.js", headers={"If-None-Match": '"0"'})
    assert other.status_code == 200
