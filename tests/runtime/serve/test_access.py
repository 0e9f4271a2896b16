"""Access control: tokens, Host headers, requests of other sites, and invalid options."""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.serve.access import AccessPolicy

TOKEN = "correct-horse-battery-staple"


def run(*options, **environment):
    return subprocess.run(
        [sys.executable, "-m", "runtime.serve", "--port", "0", *map(str, options)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    ("host", "loopback", "allowed"),
    [
        ("localhost", True, True),
        ("LOCALHOST:8080", True, True),
        ("127.0.0.1:8080", True, True),
        ("127.8.9.1", True, True),
        ("[::1]:8080", True, True),
        ("192.168.1.5:8080", True, False),
        ("192.168.1.5:8080", False, True),
        ("[fe80::1]:8080", False, True),
        ("pi.local:8080", False, True),
        ("evil.example", False, False),
        ("evil.example", True, False),
        ("localhost.evil.example", True, False),
        ("127.0.0.1.evil.example", False, False),
        ("", True, False),
        ("[", True, False),
    ],
)
def test_host_header_is_allowed_only_for_own_names_and_addresses(host, loopback, allowed):
    assert AccessPolicy(None, loopback, ("pi.local",)).allows_host(host) is allowed


@pytest.mark.parametrize(
    ("header", "valid"),
    [
        (f"Bearer {TOKEN}", True),
        (f"bearer  {TOKEN} ", True),
        (f"Bearer {TOKEN}x", False),
        (f"Bearer {TOKEN[:-1]}", False),
        (f"Basic {TOKEN}", False),
        (TOKEN, False),
        ("Bearer ", False),
        ("Bearer \xff\xfe", False),
        ("", False),
    ],
)
def test_only_the_exact_bearer_token_is_accepted(header, valid):
    assert AccessPolicy(TOKEN).knows_token(header) is valid


def test_policy_without_token_accepts_no_authorization_header():
    assert not AccessPolicy(None).knows_token("Bearer ")


@pytest.mark.parametrize("path", ["/", "/v1/model", "/healthz"])
def test_unknown_host_header_is_rejected(server, path):
    response = server.client.get(path, headers={"Host": "evil.example"})
    assert response.status_code == 421
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}],
)
def test_request_of_another_site_is_rejected(server, photo, headers):
    response = server.client.post("/v1/classify", content=photo, headers=headers)
    assert response.status_code == 403


def test_request_of_the_own_page_is_accepted(server, photo):
    headers = {"Origin": server.url.rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    response = server.client.post("/v1/classify", content=photo, headers=headers)
    assert response.status_code == 200


@pytest.fixture
def server_with_token(serve, tmp_path):
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "token").chmod(0o600)
    return serve("--token-file", tmp_path / "token")


def test_api_needs_the_token(server_with_token, photo):
    client = server_with_token.client
    for headers in ({}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": f"Basic {TOKEN}"}):
        for method, path in (("POST", "/v1/classify"), ("GET", "/v1/model"), ("GET", "/metrics")):
            response = client.request(method, path, headers=headers)
            assert response.status_code == 401
            assert response.headers["www-authenticate"].startswith("Bearer")
            assert response.json()["status"] == 401
    authorized = {"Authorization": f"Bearer {TOKEN}"}
    assert client.post("/v1/classify", content=photo, headers=authorized).status_code == 200


def test_page_and_document_are_public_and_do_not_contain_the_token(server_with_token):
    for path in ("/", "/app.js", "/healthz", "/openapi.json"):
        response = server_with_token.client.get(path)
        assert response.status_code == 200
        assert TOKEN not in response.text
    document = server_with_token.client.get("/openapi.json").json()
    assert document["security"] == [{"token": []}]


def test_listening_on_the_network_without_a_token_is_an_error():
    done = run("--host", "0.0.0.0")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "error: --host 0.0.0.0 accepts connections from other machines: pass --token-file"
    )


def test_no_auth_allows_everybody_on_the_network(serve):
    server = serve("--host", "0.0.0.0", "--no-auth", DIGIT_EDGE_TOKEN=TOKEN)
    assert "0.0.0.0" not in server.url  # it prints an address that a browser can open
    assert server.client.get("/v1/model").status_code == 200
    assert server.client.get(f"http://127.0.0.1:{server.port}/v1/model").status_code == 200


def test_token_of_the_environment_is_required_on_the_network(serve):
    server = serve("--host", "0.0.0.0", DIGIT_EDGE_TOKEN=TOKEN)
    url = f"http://127.0.0.1:{server.port}/v1/model"
    assert server.client.get(url).status_code == 401
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert server.client.get(url, headers=headers).status_code == 200
    response = server.client.get(url, headers={**headers, "Host": "evil.example"})
    assert response.status_code == 421


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--token", "short"], "error: --token: a token has at least 16 ASCII characters"),
        (["--token-file", "absent"], "error: cannot read the token in absent: No such file"),
        (["--token-file", "/"], "error: cannot read the token in /: Is a directory; pass "),
        (["--host", "no.such.name.invalid"], "error: --host no.such.name.invalid: unknown host"),
        (["--host", "192.0.2.1", "--no-auth"], "error: cannot listen on 192.0.2.1:0"),
        (["--model", "absent.tflite"], "error: cannot read the model absent.tflite"),
        (
            ["--certificate", "absent.pem"],
            "error: cannot use the certificate absent.pem: cannot read absent.pem: No such file",
        ),
        (
            ["--certificate", __file__],
            f"error: cannot use the certificate {__file__}: it is not a PEM file with a",
        ),
        (["--key", "absent.pem"], "usage"),
        (["--no-auth", "--token", TOKEN], "usage"),
        (["--port", "70000"], "usage"),
        (["--port", "1" * 5000], "usage"),
        (["--port", "\u0668\u0660"], "usage"),  # digits that are not ASCII
        (["--port", "8_080"], "usage"),
        (["--host", "[[[127.0.0.1"], "error: --host [[[127.0.0.1: unknown host"),
        (["--host", "2001:db8::1", "--no-auth"], "error: cannot listen on [2001:db8::1]:0"),
        (["--timeout", "0"], "usage"),
        (["--max-body", "0"], "usage"),
        (["--max-body", "x"], "usage"),
    ],
)
def test_invalid_options_give_one_message_and_exit_status_2(options, message):
    done = run(*options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(message)
    for internal in ("Traceback", "Errno", "_ssl.c", "_positive"):
        assert internal not in done.stderr
    if message != "usage":
        assert len(done.stderr.splitlines()) == 1


def test_port_in_use_is_reported(server):
    done = run("--port", server.port)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: cannot listen on 127.0.0.1:{server.port}: Address")


def test_missing_starlette_names_the_extra_to_install():
    script = "import sys, runpy; sys.modules['starlette'] = None; sys.argv = ['serve']\n"
    script += "runpy.run_module('runtime.serve', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: starlette is not installed: ")
    assert 'pip install "digit-edge[serve]"' in done.stderr


def test_certificate_enables_https(serve, tmp_path):
    certificate, key = make_certificate(tmp_path)
    server = serve("--certificate", certificate, "--key", key)
    assert server.url.startswith("https://")
    assert server.client.get("/healthz").json() == {"status": "ok"}


def test_unfinished_tls_handshakes_take_little_memory_and_end(serve, tmp_path):
    certificate, key = make_certificate(tmp_path)
    server = serve("--certificate", certificate, "--key", key, "--timeout", "2")

    def resident_mb() -> float:
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1000

    assert server.client.get("/healthz").status_code == 200
    before = resident_mb()
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(server.connect()) for _ in range(300)]
        assert server.client.get("/healthz").status_code == 200
        assert resident_mb() - before < 30  # 256 KiB each would be 75 MB
        assert waiting[0].recv(1) == b""


def make_certificate(folder):
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(private, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder / "cert.pem", folder / "key.pem"
