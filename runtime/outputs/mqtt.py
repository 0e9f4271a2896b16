"""Publishes results to an MQTT broker, with its availability and Home Assistant's discovery."""

import json
import os
import re
import sys
import threading
import time
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from runtime.errors import EdgeError, printable, report

# Identifiers of MQTT messages are 16 bits wide.
MAX_KEPT = 10_000
# Room besides them for what is said of the reader itself, a few messages each connection.
_ROOM = 64
CLOSE_S = 5.0
_KEEPALIVE_S = 30
_CONNECT_S = 5.0
_PORTS = {"mqtt": 1883, "mqtts": 8883}
_TOPIC = "some words and slashes, without + and #"


class MqttPublisher:
    """A client of one broker; results are published to its topic with QoS 1, at least once.

    `TOPIC` carries the records, `TOPIC/error` those with an `error`, and `TOPIC/availability`,
    retained, `online` or `offline`; the last will says `offline` where the program dies. While the
    broker is away the results are kept, as many as `MAX_KEPT`, and follow in their order.
    """

    def __init__(self, url: str, discovery: str | None = None) -> None:
        """Begin to connect; a broker that is away is a message, not an error.

        Raises:
            EdgeError: `url` is no mqtt[s]://host/topic, `discovery` no prefix of topics, or
                paho-mqtt is not installed.
        """
        address = _split(url)
        self._topic = unquote(address.path[1:])
        if discovery is not None and not _is_topic(discovery):
            raise EdgeError(f"--mqtt-discovery takes a prefix of topics: {_TOPIC}")
        self._name = f"{address.scheme}://{address.hostname}:{_port(address)}"
        self._discovery = discovery
        self._sent = 0
        self._announced = 0
        self._acknowledged = 0
        self._dropped = 0
        self._reason: str | None = "no connection yet"
        self._told = False
        self._closing = False
        self._lock = threading.Lock()
        self._client = self._connect(address)

    @property
    def waiting(self) -> int:
        """Messages that the broker has not acknowledged yet."""
        return self._sent + self._announced - self._acknowledged

    @property
    def full(self) -> bool:
        """Whether the next results may not be published."""
        return self.waiting > MAX_KEPT - _ROOM

    def write(self, record: dict[str, object]) -> None:
        """Publish a record, now or when the broker is back."""
        topic = f"{self._topic}/error" if "error" in record else self._topic
        with self._lock:
            if self.waiting >= MAX_KEPT:
                self._dropped += 1
                if self._dropped == 1:
                    report(EdgeError(f"{self._name}: {MAX_KEPT} results wait for the broker; what "
                                     "comes now is not published"))  # fmt: skip
            else:
                self._client.publish(topic, json.dumps(record), qos=1)
                self._sent += 1

    def close(self) -> None:
        """Wait some seconds for what is kept, say `offline` and leave.

        Raises:
            EdgeError: results were not acknowledged by the broker.
        """
        self._closing = True
        self._wait()
        lost = self.waiting + self._dropped
        if self._client.is_connected():
            self._client.publish(f"{self._topic}/availability", "offline", qos=1, retain=True)
            self._sent += 1
            self._wait()
        self._client.disconnect()
        # The client's thread may be waiting for a name server, which nothing can cut short.
        end = threading.Thread(target=self._client.loop_stop, daemon=True)
        end.start()
        end.join(CLOSE_S)
        if lost:
            raise EdgeError(
                f"{lost} results were not published to {self._name}: "
                f"{self._reason or 'it did not acknowledge them'}"
            )

    def _wait(self) -> None:
        end = time.monotonic() + CLOSE_S
        while self.waiting and time.monotonic() < end:
            time.sleep(0.01)

    def _connect(self, address: SplitResult) -> Any:
        try:
            from paho.mqtt import client as mqtt
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError as error:
            raise EdgeError(
                f'paho-mqtt 2 is not installed ({error}): pip install "digit-edge[mqtt]"'
            ) from error
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"digit-edge-{_random()}")
        client.connect_timeout = _CONNECT_S
        client.reconnect_delay_set(1, 30)
        client.will_set(f"{self._topic}/availability", "offline", qos=1, retain=True)
        if address.scheme == "mqtts":
            client.tls_set()  # the system's authorities, or those of $SSL_CERT_FILE
        if address.username:
            password = address.password
            client.username_pw_set(
                unquote(address.username),
                unquote(password) if password is not None else os.environ.get("MQTT_PASSWORD"),
            )
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.connect_async(str(address.hostname), _port(address), _KEEPALIVE_S)
        client.loop_start()
        return client

    # What follows runs on the client's own thread.

    def _on_connect(self, client: Any, _data: Any, _flags: Any, code: Any, _more: Any) -> None:
        if code.is_failure:
            self._lost(f"the broker refuses: {code}; check user and password")
            return
        kept, self._reason = self.waiting, None
        if self._told:
            self._told = False
            back = f"{self._name}: connected, {kept} kept results follow"
            print(printable(back), file=sys.stderr)
        messages = [(f"{self._topic}/availability", "online")]
        if self._discovery is not None:
            messages += _discovery(self._discovery, self._topic)
        # Where a broker takes connections and no messages, those kept say the same already.
        if kept < MAX_KEPT + _ROOM:
            for topic, payload in messages:
                client.publish(topic, payload, qos=1, retain=True)
                self._announced += 1

    def _on_connect_fail(self, _client: Any, _data: Any) -> None:
        # paho calls this while it handles the error that it does not pass on.
        error = sys.exc_info()[1]
        self._lost(str(getattr(error, "strerror", None) or error or "no connection"))

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, code: Any, _more: Any) -> None:
        if not self._closing:
            self._lost(f"connection lost ({code})")

    def _on_publish(self, _client: Any, _data: Any, _mid: Any, _code: Any, _more: Any) -> None:
        self._acknowledged += 1

    def _lost(self, reason: str) -> None:
        """Say why the broker is away, once until it is back."""
        if self._reason is None or not self._told:
            self._reason = reason
        if not self._told:
            self._told = True
            report(EdgeError(f"{self._name}: {reason}; results are kept, the connection is tried "
                             "again"))  # fmt: skip


def _split(url: str) -> SplitResult:
    """A URL's parts; nothing of it is shown where it is wrong, as it may hold a password."""
    wrong = "--mqtt takes mqtt[s]://[user[:password]@]host[:port]/topic"
    try:
        address = urlsplit(url)
        port = address.port
        (address.hostname or "").encode("idna")  # as the client's thread will do
        url.encode()
    except ValueError as error:
        raise EdgeError(wrong) from error
    if address.scheme not in _PORTS or not address.hostname or port == 0:
        raise EdgeError(wrong)
    if "?" in url or "#" in url:
        raise EdgeError(f"{wrong}: write ? as %3F and # as %23 in a password")
    if not _is_topic(unquote(address.path[1:])):
        raise EdgeError(f"{wrong}; a topic is {_TOPIC}")
    return address


def _is_topic(text: str) -> bool:
    return (
        0 < len(text) <= 1000
        and not text.startswith("$")
        and re.search("[+#\0-\x1f\x7f-\x9f\ud800-\udfff]", text) is None
    )


def _port(address: SplitResult) -> int:
    return address.port or _PORTS[address.scheme]


def _random() -> str:
    return os.urandom(6).hex()


def _discovery(prefix: str, topic: str) -> list[tuple[str, str]]:
    """Home Assistant's retained configuration of the two sensors, (topic, JSON).

    Source: https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
    """
    reader = "digit_edge_" + re.sub("[^A-Za-z0-9_-]", "_", topic)
    shared = {
        "state_topic": topic,
        "availability_topic": f"{topic}/availability",
        "device": {"identifiers": [reader], "name": f"Digit reader {topic}", "model": "digit-edge"},
        "origin": {"name": "digit-edge"},
    }
    accepted = "value_json.accepted | default(true)"
    sensors = {
        "digit": {
            "name": "Digit",
            "icon": "mdi:numeric",
            # The text None is what Home Assistant takes for "unknown".
            "value_template": "{{ value_json.label if " + accepted + " else None }}",
            "json_attributes_topic": topic,
        },
        "confidence": {
            "name": "Confidence",
            "unit_of_measurement": "%",
            "state_class": "measurement",
            "entity_category": "diagnostic",
            "value_template": "{{ (value_json.confidence * 100) | round(1) }}",
        },
    }
    return [
        (
            f"{prefix}/sensor/{reader}/{name}/config",
            json.dumps({**shared, **sensor, "unique_id": f"{reader}_{name}"}),
        )
        for name, sensor in sensors.items()
    ]
