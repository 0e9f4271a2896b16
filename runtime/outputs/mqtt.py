"""Publish results to an MQTT broker: the option `--mqtt`.

The publisher also publishes whether the program is online. With `--mqtt-discovery` it announces the
program to Home Assistant. `runtime.outputs.sinks.open_sinks` creates an `MqttPublisher` for
`digit-edge watch` and `camera`. The package paho-mqtt is needed.
"""

import json
import os
import re
import ssl
import sys
import threading
import time
from collections import deque
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from runtime.errors import EdgeError, printable, report
from runtime.outputs.home_assistant import NumberSensors, discover_digits, discover_numbers

# MQTT's message identifiers have 16 bits, so fewer than 65,536 messages can be kept in total.
MAX_KEPT_RESULTS = 10_000  # results without acknowledgment; beyond it, new results are dropped
# Messages of availability and discovery that are kept in addition; beyond it, new ones are dropped.
# Each connection sends one, and one for each sensor: two of a digit, or at most 32 numbers.
_MAX_STATUS_MESSAGES = 64

CLOSE_TIMEOUT_S = 5.0  # `close` waits this long for acknowledgments; results without one are lost
_CONNECT_TIMEOUT_S = 5.0  # a broker that does not answer for this long counts as unreachable
_KEEPALIVE_S = 30  # after this time without traffic, the client pings the broker
_MIN_RECONNECT_S = 1  # delay before the first reconnection; doubles for each further reconnection
_MAX_RECONNECT_S = 30  # longest delay before a reconnection
_PORTS = {"mqtt": 1883, "mqtts": 8883}  # default port of each URL scheme
_MAX_TOPIC_CHARACTERS = 1000  # a longer topic is rejected
_WRONG_NAME = (62, 64)  # OpenSSL's codes: the certificate is of another host name, or address
_TOPIC_HELP = "use words and slashes, without + and #"  # the remedy for an invalid topic


class MqttPublisher:
    """A client of one broker that publishes results with QoS 1 (at least once).

    Records are published to `TOPIC`, and records with the key `error` to `TOPIC/error`. The record
    of a number is the retained message of `TOPIC/REGION`. The retained message of
    `TOPIC/availability` is `online` or `offline`. If the program dies, the broker sets it to
    `offline` (MQTT's last will).

    While the broker is unreachable, up to `MAX_KEPT_RESULTS` results are kept. They are published
    in order after the reconnection.

    Only the thread `_hand_over` passes results to paho's client. It waits until the broker has
    acknowledged all messages that paho publishes again after a connection. A message that paho gets
    between the TCP connection and the broker's answer would overtake them.
    """

    def __init__(
        self,
        url: str,
        discovery: str | None = None,
        ca: str | None = None,
        numbers: NumberSensors | None = None,
    ) -> None:
        """Start to connect in a thread; an unreachable broker is only reported on stderr.

        Args:
            url: mqtt[s]://[user[:password]@]host[:port]/topic.
            discovery: topic prefix of Home Assistant's discovery; None announces nothing.
            ca: a PEM file with the authority that signed the broker's certificate; None trusts the
                system's authorities, or those in $SSL_CERT_FILE.
            numbers: how Home Assistant shows the numbers; None if the records are of digits.

        Raises:
            EdgeError: an argument is invalid, or paho-mqtt is not installed.
        """
        address = _split(url)
        self._topic = unquote(address.path[1:])
        if discovery is not None and not _is_topic(discovery):
            raise EdgeError(f"--mqtt-discovery: invalid topic prefix; {_TOPIC_HELP}")
        if ca is not None:
            _check_ca(ca, address.scheme)
        self._ca = ca
        self._scheme = address.scheme
        self._was_connected = False  # whether the broker ever accepted this client
        self._name = f"{address.scheme}://{address.hostname}:{_port(address)}"
        self._discovery: list[tuple[str, str]] = []  # (topic, message) of each sensor
        if discovery is not None and numbers is not None:
            self._discovery = discover_numbers(discovery, self._topic, numbers)
        elif discovery is not None:
            self._discovery = discover_digits(discovery, self._topic)
        self._sent = 0  # number of published results
        self._announced = 0  # number of published messages of availability and discovery
        self._acknowledged = 0  # number of acknowledged messages of both kinds
        self._dropped = 0  # number of dropped results
        # Reason for the missing connection; None while connected.
        self._reason: str | None = f"no connection yet{self._scheme_remedy()}"
        self._reported = False  # whether the reason was reported
        self._closing = False  # whether `close` was called
        # Results that paho's client does not have yet: (topic, message, whether it is retained).
        self._kept: deque[tuple[str, str, bool]] = deque()
        self._handed_over = 0  # number of results that paho's client has
        self._ready = False  # whether paho's client would publish the next result at once
        self._ended = False  # whether `close` no longer waits for results
        # Guards the four attributes above and the counts of results. Never held while paho is
        # called: paho calls `_on_publish` while it holds its own lock.
        self._changed = threading.Condition()
        self._client = self._connect(address)
        threading.Thread(target=self._hand_over, daemon=True).start()

    @property
    def accepted(self) -> int:
        """Number of published results."""
        return self._sent

    @property
    def waiting(self) -> int:
        """Number of messages that the broker has not acknowledged yet.

        It includes messages of availability and discovery, so it is at least the number of results.
        """
        return self._sent + self._announced - self._acknowledged

    @property
    def full(self) -> bool:
        """Whether the next results may be dropped."""
        return self.waiting > MAX_KEPT_RESULTS - _MAX_STATUS_MESSAGES

    def write(self, record: dict[str, object]) -> None:
        """Publish a record, now or after the reconnection.

        If too many results are waiting, the record is dropped. The first dropped record is reported
        on stderr.

        Args:
            record: values that JSON can represent; see `runtime.outputs.sinks`.
        """
        # Retained, because Home Assistant shows the last number also after its own restart.
        retain = "region" in record
        level = "error" if "error" in record else record.get("region")
        topic = self._topic if level is None else f"{self._topic}/{level}"
        with self._changed:
            if self.waiting >= MAX_KEPT_RESULTS:
                self._dropped += 1
                if self._dropped == 1:
                    report(
                        EdgeError(
                            f"{self._name}: {MAX_KEPT_RESULTS} results are waiting for the broker; "
                            "further results are dropped"
                        )
                    )
            else:
                self._kept.append((topic, json.dumps(record), retain))
                self._sent += 1
                self._changed.notify()

    def close(self) -> None:
        """Wait for acknowledgments, publish `offline` and disconnect, within seconds.

        Raises:
            EdgeError: results were dropped, or the broker did not acknowledge all results in time.
        """
        self._closing = True
        self._wait()
        lost = self.waiting + self._dropped
        if self._client.is_connected():
            self._client.publish(f"{self._topic}/availability", "offline", qos=1, retain=True)
            self._announced += 1
            self._wait()
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._client.disconnect()
        # The client's thread may wait for a name server, which cannot be interrupted. So stop the
        # client in a thread, and do not wait longer than the limit.
        stopper = threading.Thread(target=self._client.loop_stop, daemon=True)
        stopper.start()
        stopper.join(CLOSE_TIMEOUT_S)
        if lost:
            raise EdgeError(
                f"{lost} result{'s' * (lost > 1)} could not be published to {self._name}: "
                f"{self._reason or 'the broker did not acknowledge them'}"
            )

    def _wait(self) -> None:
        """Wait for acknowledgments of all messages, at most `CLOSE_TIMEOUT_S`."""
        deadline = time.monotonic() + CLOSE_TIMEOUT_S
        while self.waiting and time.monotonic() < deadline:
            time.sleep(0.01)

    def _hand_over(self) -> None:
        """Pass each result to paho's client as soon as the client is ready, until `close` ends."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or (self._ready and self._kept))
                if self._ended:
                    return
                topic, message, retain = self._kept.popleft()
                self._handed_over += 1
            self._client.publish(topic, message, qos=1, retain=retain)

    def _connect(self, address: SplitResult) -> Any:
        """Start paho's client and its thread; return the client.

        Raises:
            EdgeError: paho-mqtt is not installed.
        """
        try:
            from paho.mqtt import client as mqtt
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError as error:
            raise EdgeError(
                f'paho-mqtt 2 is not installed ({error}): pip install "digit-edge[mqtt]"'
            ) from error
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=f"digit-edge-{os.urandom(6).hex()}"
        )
        client.connect_timeout = _CONNECT_TIMEOUT_S
        client.reconnect_delay_set(_MIN_RECONNECT_S, _MAX_RECONNECT_S)
        client.will_set(f"{self._topic}/availability", "offline", qos=1, retain=True)
        if address.scheme == "mqtts":
            client.tls_set(self._ca)
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

    # The methods from here to `_lost` run in the client's thread.

    def _on_connect(self, client: Any, _data: Any, _flags: Any, code: Any, _more: Any) -> None:
        if code.is_failure:
            self._lost(f"the broker rejects the connection: {code}; check user and password")
            return
        kept, self._reason, self._was_connected = self.waiting, None, True
        if self._reported:
            self._reported = False
            message = f"{self._name}: connected; kept results that are published now: {kept}"
            print(printable(message), file=sys.stderr)
        messages = [(f"{self._topic}/availability", "online"), *self._discovery]
        # Publish only below the limit: a broker may accept connections, but never acknowledge.
        if kept < MAX_KEPT_RESULTS + _MAX_STATUS_MESSAGES:
            for topic, payload in messages:
                client.publish(topic, payload, qos=1, retain=True)
                self._announced += 1

    def _on_connect_fail(self, _client: Any, _data: Any) -> None:
        # paho calls this method while it handles the exception, but does not pass the exception.
        error = sys.exc_info()[1]
        reason = str(getattr(error, "strerror", None) or error or "no connection")
        self._lost(f"{reason}{self._tls_remedy(error)}")

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, code: Any, _more: Any) -> None:
        with self._changed:
            self._ready = False
        if not self._closing:
            remedy = "" if self._was_connected else self._scheme_remedy()
            self._lost(f"connection lost ({code}){remedy}")

    def _scheme_remedy(self) -> str:
        """Return what to do if a broker without TLS does not answer; empty with TLS."""
        if self._scheme == "mqtts":
            return ""
        return "; if the broker expects TLS on this port, write mqtts://"

    def _tls_remedy(self, error: BaseException | None) -> str:
        """Return what to do about an error of TLS; empty for other errors."""
        if self._scheme != "mqtts":
            return ""
        if isinstance(error, ssl.SSLCertVerificationError):
            if error.verify_code in _WRONG_NAME:
                return "; write the host name that is in the broker's certificate"
            return "; pass the certificate of the broker's authority with --mqtt-ca FILE"
        if isinstance(error, ssl.SSLError | ConnectionResetError | TimeoutError):
            return "; if the broker does not expect TLS on this port, write mqtt://"
        return ""

    def _on_publish(self, _client: Any, _data: Any, _mid: Any, _code: Any, _more: Any) -> None:
        with self._changed:
            self._acknowledged += 1
            self._ready = self._ready or self._acknowledged == self._handed_over + self._announced
            self._changed.notify()

    def _lost(self, reason: str) -> None:
        """Report the reason for a missing connection, once until the next connection.

        Args:
            reason: the problem, for the message.
        """
        if self._reason is None or not self._reported:
            self._reason = reason
        if not self._reported:
            self._reported = True
            report(
                EdgeError(
                    f"{self._name}: {reason}; results are kept, and the connection is retried"
                )
            )


def _split(url: str) -> SplitResult:
    """Split and check the URL of a broker.

    Raises:
        EdgeError: the URL is invalid. The message does not contain the URL, which may contain a
            password.
    """
    wrong = "--mqtt: invalid URL; write mqtt[s]://[user[:password]@]host[:port]/topic"
    try:
        address = urlsplit(url)
        port = address.port
        (address.hostname or "").encode("idna")  # the client would raise in its thread
        url.encode()
    except ValueError as error:
        raise EdgeError(wrong) from error
    if address.scheme not in _PORTS or not address.hostname or port == 0:
        raise EdgeError(wrong)
    if "?" in url or "#" in url:
        raise EdgeError(f"{wrong}; in a password, write %3F for ? and %23 for #")
    if not _is_topic(unquote(address.path[1:])):
        raise EdgeError(f"{wrong}; in the topic, {_TOPIC_HELP}")
    return address


def _check_ca(path: str, scheme: str) -> None:
    """Check the value of `--mqtt-ca`.

    Raises:
        EdgeError: the file has no certificate, or the broker's URL is not mqtts://.
    """
    if scheme != "mqtts":
        raise EdgeError("--mqtt-ca is for encrypted connections: write --mqtt mqtts://…")
    try:
        ssl.create_default_context(cafile=path)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = error.strerror if isinstance(error, OSError) else error
        raise EdgeError(
            f"--mqtt-ca {path}: no certificate can be read ({reason}); pass the PEM file that "
            "begins with -----BEGIN CERTIFICATE-----"
        ) from error


def _is_topic(text: str) -> bool:
    """Return whether a text is a valid topic.

    A topic has 1 to `_MAX_TOPIC_CHARACTERS` characters, no wildcards, no unprintable characters and
    no leading $.
    """
    return (
        0 < len(text) <= _MAX_TOPIC_CHARACTERS
        and not text.startswith("$")
        and re.search("[+#]", text) is None
        and printable(text) == text
    )


def _port(address: SplitResult) -> int:
    return address.port or _PORTS[address.scheme]
