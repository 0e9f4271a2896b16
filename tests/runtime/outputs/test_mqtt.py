"""Publishing results to an MQTT broker: a real mosquitto, which is killed and restarted."""

import contextlib
import io
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from runtime.errors import EdgeError
from runtime.outputs import mqtt
from runtime.outputs.home_assistant import number_sensors
from runtime.outputs.mqtt import MqttPublisher

pytest.importorskip("paho.mqtt", reason='needs paho-mqtt: pip install "digit-edge[mqtt]"')


def captured_stderr(monkeypatch) -> io.StringIO:
    """Replace stderr; unlike capfd, this loses nothing that a thread prints during a read."""
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    return stderr


def write(publisher: MqttPublisher, *labels: int) -> None:
    for label in labels:
        publisher.write({"image": "a.png", "label": str(label), "confidence": 0.5})


def labels(texts: list[str]) -> list[int]:
    return [int(json.loads(text)["label"]) for text in texts]


def test_results_errors_and_availability_are_published(until, broker, reader):
    running = broker()
    subscriber = reader(running)
    publisher = MqttPublisher(f"mqtt://127.0.0.1:{running.port}/house/digit%20reader")
    write(publisher, 1, 2)
    publisher.write({"image": "b.png", "error": "no image"})
    publisher.close()
    assert publisher.waiting == 0
    topic = "house/digit reader"
    until(lambda: "offline" in subscriber.of(f"{topic}/availability"), "no availability")
    assert subscriber.of(f"{topic}/availability") == ["online", "offline"]
    assert labels(subscriber.of(topic)) == [1, 2]
    assert json.loads(subscriber.of(f"{topic}/error")[0])["error"] == "no image"


def test_discovery_announces_two_sensors_to_home_assistant(until, broker, reader):
    running = broker()
    publisher = MqttPublisher(f"mqtt://127.0.0.1:{running.port}/digits", "homeassistant")
    write(publisher, 1)
    publisher.close()
    subscriber = reader(running, "homeassistant/#")  # after the end: gets retained messages only
    topics = [f"homeassistant/sensor/digit_edge_digits/{n}/config" for n in ("digit", "confidence")]
    until(lambda: len(subscriber.seen) == 2, "no discovery")
    digit, confidence = (json.loads(subscriber.of(topic)[0]) for topic in topics)
    assert digit["state_topic"] == confidence["state_topic"] == "digits"
    assert digit["availability_topic"] == "digits/availability"
    assert digit["unique_id"] != confidence["unique_id"]
    assert digit["device"] == confidence["device"]
    assert digit["device"]["identifiers"] == ["digit_edge_digits"]
    assert digit["origin"]["name"] == "digit-edge"
    assert confidence["unit_of_measurement"] == "%"


def test_numbers_are_retained_below_the_topic_and_announced(until, broker, reader):
    running = broker()
    numbers = number_sensors(("main", "flow"), "m³", "water", None, True, 1)
    url = f"mqtt://127.0.0.1:{running.port}/house/meter"
    publisher = MqttPublisher(url, "homeassistant", numbers=numbers)
    rejected = {"value": None, "accepted": False, "reason": "7 digits, not 8", "last_value": 1.5}
    publisher.write({"region": "main", "value": 1.5, "accepted": True, "last_value": 1.5})
    publisher.write({"region": "main", **rejected})
    publisher.write({"image": "b.png", "error": "no image"})
    publisher.close()
    subscriber = reader(running)  # after the end: gets retained messages only
    until(lambda: len(subscriber.seen) == 4, "no retained messages")
    assert json.loads(subscriber.of("house/meter/main")[0]) == {"region": "main", **rejected}
    assert subscriber.of("house/meter/error") == subscriber.of("house/meter") == []
    topics = {topic for topic, _ in subscriber.seen if topic.startswith("homeassistant/")}
    prefix = "homeassistant/sensor/digit_edge_house_meter"
    assert topics == {f"{prefix}/main/config", f"{prefix}/flow/config"}


def test_last_will_sets_a_killed_program_offline(popen, until, broker, reader):
    running = broker()
    subscriber = reader(running)
    program = (
        "from runtime.outputs.mqtt import MqttPublisher\n"
        f"MqttPublisher('mqtt://127.0.0.1:{running.port}/digits').write({{}})\n"
        "import time; time.sleep(60)"
    )
    process = popen([sys.executable, "-c", program])
    until(lambda: subscriber.of("digits/availability") == ["online"], "not online")
    process.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: subscriber.of("digits/availability") == ["online", "offline"], "no last will")


def test_results_are_kept_while_the_broker_is_down_and_published_in_order(
    until, broker, reader, monkeypatch
):
    stderr = captured_stderr(monkeypatch)
    running = broker()
    subscriber = reader(running)
    publisher = MqttPublisher(f"mqtt://127.0.0.1:{running.port}/digits")
    write(publisher, *range(100))
    until(lambda: publisher.waiting == 0, "not acknowledged")
    until(lambda: len(subscriber.of("digits")) == 100, "not delivered")
    until(running.store.exists, "mosquitto does not save its sessions")
    running.kill()
    write(publisher, *range(100, 200))
    assert publisher.waiting >= 100
    until(lambda: "\n" in stderr.getvalue(), "the lost connection is not reported")
    write(publisher, *range(200, 300))
    running.start()
    publisher.close()
    assert publisher.waiting == 0
    until(lambda: 299 in labels(subscriber.of("digits")), "not delivered")
    arrived = labels(subscriber.of("digits"))
    # QoS 1 (at least once): results without an acknowledgment are published again.
    assert sorted(set(arrived)) == list(range(300))
    assert [n for i, n in enumerate(arrived) if n not in arrived[:i]] == list(range(300))
    disconnected, reconnected = stderr.getvalue().splitlines()
    assert "results are kept" in disconnected
    assert "connected; " in reconnected


class _SlowAnswer:
    """A port that passes each connection to a broker, but keeps the broker's answers back.

    `connected` is set when a client has connected. The answers pass after `release`.
    """

    def __init__(self, port: int) -> None:
        self._broker_port = port
        self.connected, self.release = threading.Event(), threading.Event()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        broker = socket.create_connection(("127.0.0.1", self._broker_port))
        self.connected.set()
        threading.Thread(target=self._copy, args=(client, broker), daemon=True).start()
        self.release.wait(30)
        self._copy(broker, client)
        for each in (client, broker, self._listener):
            each.close()

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)


def test_results_of_the_moment_of_connecting_do_not_overtake_kept_ones(
    until, broker, reader, monkeypatch
):
    stderr = captured_stderr(monkeypatch)
    running = broker()
    subscriber = reader(running)
    slow = _SlowAnswer(running.port)
    publisher = MqttPublisher(f"mqtt://127.0.0.1:{slow.port}/digits")
    write(publisher, *range(10))
    until(lambda: "Connection refused" in stderr.getvalue(), "the missing broker is not reported")
    slow.listen()
    assert slow.connected.wait(30)
    write(publisher, *range(10, 20))
    time.sleep(0.3)  # long enough for a message to arrive that does not wait for the answer
    slow.release.set()
    until(lambda: publisher.waiting == 0, "not acknowledged")
    publisher.close()
    until(lambda: len(subscriber.of("digits")) == 20, "not delivered")
    assert labels(subscriber.of("digits")) == list(range(20))


def test_broker_killed_repeatedly_loses_no_result(until, broker, reader, capfd):
    """The broker is killed twice while results are published."""
    running = broker()
    subscriber = reader(running)
    publisher = MqttPublisher(f"mqtt://127.0.0.1:{running.port}/digits")
    for turn in range(3):
        write(publisher, *range(100 * turn, 100 * turn + 100))
        if turn < 2:
            running.kill()
            running.start()
    until(lambda: publisher.waiting == 0, "not acknowledged")
    publisher.close()
    until(lambda: 299 in labels(subscriber.of("digits")), "not delivered")
    assert len(capfd.readouterr().err.splitlines()) <= 4


def test_broker_that_starts_later_receives_all_results(until, broker, reader, monkeypatch):
    stderr = captured_stderr(monkeypatch)
    running = broker()
    running.kill()
    publisher = MqttPublisher(f"mqtt://127.0.0.1:{running.port}/digits")
    write(publisher, 1, 2, 3)
    until(lambda: "Connection refused" in stderr.getvalue(), "the missing broker is not reported")
    running.start()
    subscriber = reader(running)
    until(lambda: publisher.waiting == 0, "not acknowledged")
    publisher.close()
    until(lambda: subscriber.of("digits/availability"), "nothing arrives")


def test_status_messages_are_published_even_if_the_result_queue_is_full(
    until, broker, reader, monkeypatch
):
    monkeypatch.setattr(mqtt, "MAX_KEPT_RESULTS", 5)
    running = broker()
    publisher = MqttPublisher(f"mqtt://127.0.0.1:{running.port}/digits", "homeassistant")
    until(lambda: publisher.waiting == 0 and publisher._announced == 3, "not announced")
    running.kill()
    running.store.unlink(missing_ok=True)  # a new broker has no retained messages
    write(publisher, *range(5))
    assert publisher.waiting == 5
    running.start()
    subscriber = reader(running)
    until(lambda: publisher.waiting == 0, "not acknowledged")
    until(lambda: len({name for name, _ in subscriber.seen} - {"digits"}) == 3, "not announced")
    assert subscriber.of("digits/availability")[-1] == "online"
    publisher.close()


def test_broker_that_is_never_reachable_is_an_error_on_close(monkeypatch, capfd):
    monkeypatch.setattr(mqtt, "CLOSE_TIMEOUT_S", 0.5)
    monkeypatch.setattr(mqtt, "MAX_KEPT_RESULTS", 10)
    publisher = MqttPublisher("mqtt://user:secret@127.0.0.1:1/digits")
    write(publisher, *range(15))
    assert publisher.waiting == 10
    assert publisher.full
    with pytest.raises(EdgeError, match=r"^15 results could not be published .*Connection refused"):
        publisher.close()
    stderr = capfd.readouterr().err
    assert stderr.count("Connection refused") == 1
    assert stderr.count("10 results are waiting for the broker") == 1
    assert "secret" not in stderr


@pytest.fixture
def protected_broker(broker, tmp_path):
    """A broker that accepts only the user `maker` with the password `p@ss/word`."""
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    passwords.chmod(0o600)
    program = shutil.which("mosquitto_passwd")
    subprocess.run([program, "-b", passwords, "maker", "p@ss/word"], check=True)
    return broker("allow_anonymous false", f"password_file {passwords}")


def test_password_from_url_or_environment_is_accepted(
    until, protected_broker, reader, monkeypatch, capfd
):
    address = f"127.0.0.1:{protected_broker.port}/digits"
    subscriber = reader(protected_broker, username="maker", password="p@ss/word")
    publisher = MqttPublisher(f"mqtt://maker:p%40ss%2Fword@{address}")
    write(publisher, 1)
    publisher.close()
    monkeypatch.setenv("MQTT_PASSWORD", "p@ss/word")
    publisher = MqttPublisher(f"mqtt://maker@{address}")
    write(publisher, 2)
    publisher.close()
    until(lambda: labels(subscriber.of("digits")) == [1, 2], "not delivered")
    assert capfd.readouterr().err == ""


def test_wrong_password_is_reported(until, protected_broker, monkeypatch, capfd):
    monkeypatch.setattr(mqtt, "CLOSE_TIMEOUT_S", 0.5)
    publisher = MqttPublisher(f"mqtt://maker:wrong@127.0.0.1:{protected_broker.port}/digits")
    write(publisher, 3)
    until(lambda: publisher._reported, "no rejection")
    with pytest.raises(EdgeError, match="Not authorized"):
        publisher.close()
    assert (
        "the broker rejects the connection: Not authorized; check user and password"
        in capfd.readouterr().err
    )


# paho leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket")
def test_mqtts_rejects_an_untrusted_certificate_and_accepts_a_trusted_one(
    until, broker, reader, tmp_path, monkeypatch, capfd
):
    pytest.importorskip("cryptography")
    certificate, key = certify(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = broker(
        "allow_anonymous true",
        f"listener {port} 127.0.0.1",
        f"certfile {certificate}",
        f"keyfile {key}",
    )
    monkeypatch.setattr(mqtt, "CLOSE_TIMEOUT_S", 2.0)
    subscriber = reader(running)
    publisher = MqttPublisher(f"mqtts://localhost:{port}/digits")
    write(publisher, 1)
    with pytest.raises(EdgeError, match=r"certificate verify failed|self.signed certificate"):
        publisher.close()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    publisher = MqttPublisher(f"mqtts://localhost:{port}/digits")
    write(publisher, 2)
    publisher.close()
    until(lambda: labels(subscriber.of("digits")) == [2], "not delivered")


@pytest.fixture
def encrypted(broker, tmp_path):
    """Return a broker with a plain and an encrypted port, the latter's number, and its CA file."""
    pytest.importorskip("cryptography")
    authority, certificate, key = sign_certificate(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = broker(
        "allow_anonymous true",
        f"listener {port} 127.0.0.1",
        f"certfile {certificate}",
        f"keyfile {key}",
    )
    return running, port, authority


@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket")
def test_certificate_of_an_own_authority_is_trusted_with_mqtt_ca(
    until, encrypted, reader, monkeypatch
):
    running, port, authority = encrypted
    monkeypatch.setattr(mqtt, "CLOSE_TIMEOUT_S", 2.0)
    subscriber = reader(running)
    publisher = MqttPublisher(f"mqtts://localhost:{port}/digits")
    write(publisher, 1)
    with pytest.raises(EdgeError, match="--mqtt-ca FILE"):
        publisher.close()
    publisher = MqttPublisher(f"mqtts://localhost:{port}/digits", ca=str(authority))
    write(publisher, 2)
    publisher.close()
    until(lambda: labels(subscriber.of("digits")) == [2], "not delivered")


@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket")
@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("mqtts://127.0.0.1:{tls}/digits", "write the host name that is in"),
        ("mqtts://localhost:{plain}/digits", "write mqtt://"),
        ("mqtt://localhost:{tls}/digits", "write mqtts://"),
    ],
    ids=["other name", "plain port", "encrypted port"],
)
def test_wrong_host_or_port_is_reported_with_the_remedy(encrypted, monkeypatch, url, remedy):
    running, port, authority = encrypted
    monkeypatch.setattr(mqtt, "CLOSE_TIMEOUT_S", 2.0)
    ca = str(authority) if url.startswith("mqtts") else None
    publisher = MqttPublisher(url.format(tls=port, plain=running.port), ca=ca)
    write(publisher, 1)
    with pytest.raises(EdgeError, match=remedy):
        publisher.close()


@pytest.mark.parametrize(
    ("url", "content", "message"),
    [
        ("mqtts://localhost/d", None, "No such file"),
        ("mqtts://localhost/d", "no certificate", "BEGIN CERTIFICATE"),
        ("mqtt://localhost/d", "no certificate", "write --mqtt mqtts://"),
    ],
    ids=["missing", "not a certificate", "plain URL"],
)
def test_unusable_mqtt_ca_is_rejected(tmp_path, url, content, message):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(EdgeError, match=message):
        MqttPublisher(url, ca=str(path))


def sign_certificate(folder: Path) -> tuple[Path, Path, Path]:
    """Create an authority, and a certificate of `localhost` that it signed.

    Returns:
        The paths of the authority's certificate, of that of `localhost`, and of its key.
    """
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def name(text):
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    def certificate(subject, key, *extensions):
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder(name("our authority"), name(subject))
        builder = builder.serial_number(x509.random_serial_number()).public_key(key.public_key())
        builder = builder.not_valid_before(now - datetime.timedelta(days=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=1))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(root, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    root, leaf = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    paths = folder / "ca.pem", folder / "localhost.pem", folder / "localhost.key"
    identity = x509.SubjectKeyIdentifier.from_public_key(root.public_key())
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key())
    basic = x509.BasicConstraints(ca=True, path_length=None)
    paths[0].write_bytes(certificate("our authority", root, basic, identity))
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    paths[1].write_bytes(certificate("localhost", leaf, names, issuer))
    paths[2].write_bytes(
        leaf.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    for path in paths:
        path.chmod(0o644)
    return paths


def certify(folder: Path) -> tuple[Path, Path]:
    """Create a self-signed certificate of `localhost`; return its path and that of its key."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


@pytest.mark.parametrize(
    "url",
    [
        "http://host/topic",
        "mqtt://host",
        "mqtt://host/",
        "mqtt:///topic",
        "mqtt://host:0/topic",
        "mqtt://host:70000/topic",
        "mqtt://user:secret@host/a/#",
        "mqtt://user:secret@host/a/+/b",
        "mqtt://user:sec?ret@host/topic",
        "mqtt://user:secret@host/$SYS/x",
        "mqtt://user:secret@host/" + "x" * 2000,
        "mqtt://user:secret@host/a%01b",
        "mqtt://user:secret@a..b/topic",
        "mqtt://user:secret@host.with." + "x" * 64 + "/topic",
        "mqtt://user:sec\udcff@host/topic",
    ],
)
def test_invalid_url_is_rejected_without_showing_its_password(url):
    with pytest.raises(EdgeError, match=r"^--mqtt: invalid URL; write mqtt\[s\]://") as caught:
        MqttPublisher(url)
    assert "sec" not in str(caught.value)


@pytest.mark.parametrize("prefix", ["home#", "a/+", "", "$SYS"])
def test_invalid_discovery_prefix_is_rejected(prefix):
    with pytest.raises(EdgeError, match=r"^--mqtt-discovery: invalid topic prefix"):
        MqttPublisher("mqtt://127.0.0.1:1/digits", prefix)


def test_missing_paho_is_one_message_with_the_install_command():
    program = (
        "import sys\n"
        "sys.modules['paho'] = None\n"
        "from runtime.cli.exit_status import exit_status\n"
        "from runtime.outputs.mqtt import MqttPublisher\n"
        "sys.exit(exit_status(lambda: MqttPublisher('mqtt://host/topic')))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 2
    assert 'pip install "digit-edge[mqtt]"' in done.stderr
    assert len(done.stderr.splitlines()) == 1
