"""The Open Inference Protocol (/v2): tritonclient's HTTP client, binary tensors and errors."""

import json
import subprocess
import sys

import numpy as np
import pytest

INFER = "/v2/models/digits/infer"
SIZE_HEADER = "Inference-Header-Content-Length"
# tritonclient loads gevent, which must not change the process of the other tests.
CLIENT = """
import json, sys
import numpy as np
import tritonclient.http as triton

url, token, images = sys.argv[1], sys.argv[2], np.load(sys.argv[3])
headers = {"Authorization": f"Bearer {token}"} if token else {}
client = triton.InferenceServerClient(url)
report = {
    "live": client.is_server_live(),
    "ready": client.is_server_ready(),
    "model ready": client.is_model_ready("digits", headers=headers),
    "other ready": client.is_model_ready("letters", headers=headers),
    "server": client.get_server_metadata(),
    "model": client.get_model_metadata("digits", headers=headers),
}
for binary_input in (True, False):
    tensor = triton.InferInput("pixels", images.shape, "UINT8")
    tensor.set_data_from_numpy(images, binary_data=binary_input)
    for binary_output in (True, False):
        names = ("scores", "label", "accepted")
        outputs = [triton.InferRequestedOutput(n, binary_data=binary_output) for n in names]
        for requested in (outputs, None):
            result = client.infer(
                "digits", [tensor], outputs=requested, request_id="7", headers=dict(headers)
            )
            assert result.get_response()["id"] == "7"
            report.setdefault("results", []).append([
                result.as_numpy("scores").tolist(),
                [each if isinstance(each, str) else each.decode()
                 for each in result.as_numpy("label").tolist()],
                result.as_numpy("accepted").tolist(),
            ])
bad = triton.InferInput("pixels", images.shape, "FP32")
bad.set_data_from_numpy(images.astype(np.float32))
try:
    client.infer("digits", [bad], headers=dict(headers))
except triton.InferenceServerException as error:
    report["error"] = [error.status(), error.message()]
print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def pixels(classifier):
    """Three golden digits and a blank image, uint8 (4, 28, 28, 1)."""
    golden = classifier.spec.golden.pixels[:3]
    return np.concatenate([golden, np.zeros_like(golden[:1])])


def run_client(server, pixels, folder, token=""):
    path = folder / "pixels.npy"
    np.save(path, pixels)
    address = server.url.split("//")[1].rstrip("/")
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, address, token, path], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check_report(report, pixels, classifier):
    predictions = classifier.classify_batch(pixels)
    assert len(report["results"]) == 8
    for scores, labels, accepted in report["results"]:
        np.testing.assert_array_equal(np.float32(scores), [each.scores for each in predictions])
        assert labels == [each.label for each in predictions]
        assert accepted == [each.accepted for each in predictions]
    assert report["results"][0][2][-1] is False  # the blank image


def test_tritonclient_gets_the_predictions_of_the_classifier(server, pixels, classifier, tmp_path):
    report = run_client(server, pixels, tmp_path)
    check_report(report, pixels, classifier)
    assert [report[key] for key in ("live", "ready", "model ready")] == [True] * 3
    assert report["other ready"] is False
    assert report["server"]["extensions"] == ["binary_tensor_data"]
    assert report["model"] == {
        "name": "digits",
        "platform": "litert_tflite",
        "inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [-1, 28, 28, 1]}],
        "outputs": [
            {"name": "scores", "datatype": "FP32", "shape": [-1, 10]},
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "accepted", "datatype": "BOOL", "shape": [-1]},
        ],
    }
    assert report["error"][0] == "400"
    assert "UINT8" in report["error"][1]


def test_token_is_needed_for_the_model_but_not_for_health_checks(
    serve, pixels, classifier, tmp_path
):
    token = "correct-horse-battery-staple"
    server = serve(DIGIT_EDGE_TOKEN=token)
    check_report(run_client(server, pixels, tmp_path, token), pixels, classifier)
    for path in ("/v2/models/digits", "/v2/models/digits/ready"):
        response = server.client.get(path)
        assert (response.status_code, list(response.json())) == (401, ["error"])
    assert server.client.post(INFER, content=b"{}").status_code == 401
    for path in ("/v2", "/v2/health/live", "/v2/health/ready"):
        assert server.client.get(path).status_code == 200


def request(pixels, **changes):
    """Return an inference request with JSON data; `changes` are changed fields of the input."""
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": list(pixels.shape)}
    tensor["data"] = pixels.ravel().tolist()
    return {"inputs": [{k: v for k, v in {**tensor, **changes}.items() if v is not None}]}


def test_nested_data_and_a_choice_of_outputs_are_allowed(server, pixels, classifier):
    sent = {**request(pixels, data=pixels.tolist()), "outputs": [{"name": "label"}], "id": "\ud800"}
    response = server.client.post(INFER, content=json.dumps(sent))
    labels = [each.label for each in classifier.classify_batch(pixels)]
    assert response.json() == {
        "model_name": "digits",
        "id": "\ud800",
        "outputs": [{"name": "label", "datatype": "BYTES", "shape": [4], "data": labels}],
    }


def test_classified_pixels_are_counted(server, pixels):
    name = 'digit_edge_requests_total{path="/v2/models/{name}/infer",status="200"}'
    server.client.post(INFER, json=request(pixels))
    before = server.metric(name), server.metric("digit_edge_confidence_count")
    server.client.post(INFER, json=request(pixels))
    assert server.metric(name) == before[0] + 1
    assert server.metric("digit_edge_confidence_count") == before[1] + len(pixels)


ONE = np.zeros((1, 28, 28, 1), np.uint8)
DEEP = "[" * 100_000 + "]" * 100_000
OUTPUT = {"name": "label"}


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        ("", "not JSON"),
        ("[]", "not a JSON object"),
        (DEEP, "not JSON"),
        ("\xff", "not JSON"),
        ({}, "inputs must be"),
        ({"inputs": [1]}, "inputs must be"),
        ({"inputs": 2 * request(ONE)["inputs"]}, "inputs must be"),
        ({**request(ONE), "id": 7}, "id is not a text"),
        ({**request(ONE), "parameters": 7}, "parameters is not an object"),
        ({**request(ONE), "parameters": {"binary_data_output": 1}}, "pass true or false"),
        ({**request(ONE), "outputs": {}}, "outputs is not a list"),
        ({**request(ONE), "outputs": [{"name": "logits"}]}, "unknown output"),
        ({**request(ONE), "outputs": [{"name": ["label"]}]}, "unknown output"),
        ({**request(ONE), "outputs": [OUTPUT, OUTPUT]}, "twice"),
        (
            {**request(ONE), "outputs": [{"name": "scores", "parameters": {"classification": 3}}]},
            "classification is not supported",
        ),
        (request(ONE, name="image"), "unknown input"),
        (request(ONE, datatype="FP32"), "send UINT8"),
        (request(ONE, shape=[1, 28, 28]), "send [N, 28, 28, 1]"),
        (request(ONE, shape=[0, 28, 28, 1], data=[]), "N ≥ 1"),
        (request(ONE, shape=[True, 28, 28, 1]), "N ≥ 1"),
        (request(ONE, shape=[10**4000, 28, 28, 1]), "784 values"),
        (request(ONE, data=None), "whole numbers"),
        (request(ONE, data=784 * [0.5]), "whole numbers"),
        (request(ONE, data=784 * [True]), "whole numbers"),
        (request(ONE, data=784 * [256]), "whole numbers"),
        (request(ONE, data=[[1], 2]), "whole numbers"),
        (request(ONE, data=783 * [0]), "783 values"),
        (request(ONE, parameters={"binary_data_size": 784}), "0 bytes follow"),
        (request(ONE, data=None, parameters={"binary_data_size": 783}), "0 bytes follow"),
    ],
)
def test_invalid_request_gets_an_error_of_the_protocol(server, sent, error):
    body = sent if isinstance(sent, str) else json.dumps(sent)
    response = server.client.post(INFER, content=body.encode("latin-1"))
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/json"
    assert list(response.json()) == ["error"]
    assert error in response.json()["error"]


@pytest.mark.parametrize(
    ("headers", "extra", "status", "error"),
    [
        ({SIZE_HEADER: "x"}, b"", 400, "pass a size"),
        ({SIZE_HEADER: "1" * 50}, b"", 400, "pass a size"),
        ({SIZE_HEADER: "99999999"}, b"", 400, "the body has"),
        ({SIZE_HEADER: "0"}, b"", 400, "not JSON"),
        ({"Content-Encoding": "gzip"}, b"", 415, "compressed"),
        ({"Origin": "http://a.example"}, b"", 403, "other sites"),
        ({"Host": "evil.example"}, b"", 421, "unknown host"),
        ({}, bytes(17 << 20), 413, "16,777,216 bytes"),
        ({}, b"[" * 2_000_000, 413, "binary data instead"),
    ],
)
def test_rejected_request_gets_an_error_of_the_protocol(server, headers, extra, status, error):
    body = json.dumps(request(ONE)).encode() + extra
    response = server.client.post(INFER, content=body, headers=headers)
    assert (response.status_code, list(response.json())) == (status, ["error"])
    assert error in response.json()["error"]


def test_binary_data_without_their_size_are_rejected(server):
    body = json.dumps(request(ONE)).encode()
    headers = {SIZE_HEADER: str(len(body))}
    response = server.client.post(INFER, content=body + b"1", headers=headers)
    assert (response.status_code, "binary_data_size" in response.json()["error"]) == (400, True)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/letters", 404),
        ("POST", "/v2/models/letters/infer", 404),
        ("GET", "/v2/models/digits/versions/1", 404),
        ("GET", "/v2/models/digits/config", 404),
        ("GET", "/v2/", 404),
    ],
)
def test_unknown_path_gets_an_error_of_the_protocol(server, method, path, status):
    response = server.client.request(method, path)
    assert (response.status_code, list(response.json())) == (status, ["error"])
    assert f'path="{path}"' not in server.client.get("/metrics").text


def test_wrong_method_gets_an_error_of_the_protocol(server):
    response = server.client.post("/v2")
    assert (response.status_code, list(response.json())) == (405, ["error"])


def test_batch_of_thousands_of_images_is_classified(server, pixels, classifier):
    batch = np.tile(pixels, (2000, 1, 1, 1))
    tensor = request(batch, data=None, parameters={"binary_data_size": batch.size})["inputs"][0]
    sent = {"inputs": [tensor], "outputs": [{"name": "accepted"}]}
    text = json.dumps(sent).encode()
    response = server.client.post(
        INFER, content=text + batch.tobytes(), headers={SIZE_HEADER: str(len(text))}
    )
    accepted = [each.accepted for each in classifier.classify_batch(pixels)]
    assert response.json()["outputs"][0]["data"] == 2000 * accepted
