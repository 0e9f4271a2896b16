"""Send results to sinks: JSON lines on stdout and in a file, an MQTT broker, a user's command.

`digit-edge watch` and `digit-edge camera` call `add_arguments`, then `open_sinks`, then `write` for
each result. A result is a record: a dictionary that JSON can represent. The record of a digit has
the keys `label` and `confidence`; the record of a number has `region`, `value` and `confidence`. If
it has `accepted: false`, the digit or number was rejected. The record of an unreadable image has
the key `error`.

`write` does not wait for a broker, a command or room on a disk. A sink keeps results that it cannot
deliver, retries later, and counts these results in `waiting`. A `full` sink may drop results, and
reports this once. `digit-edge camera` accepts the loss. `digit-edge watch` stops writing while a
sink is full, because its images remain in the folder.
"""

import argparse
import contextlib
import sys
import threading
from collections import deque
from operator import le
from pathlib import Path
from types import TracebackType
from typing import Protocol

from runtime.errors import EdgeError, report
from runtime.outputs.home_assistant import NumberSensors
from runtime.outputs.json_lines import JsonLinesWriter
from runtime.system import streams

Record = dict[str, object]  # key → a value that JSON can represent


class Sink(Protocol):
    """A destination of results."""

    @property
    def accepted(self) -> int:
        """Number of results that `write` took and did not ignore or drop."""

    @property
    def waiting(self) -> int:
        """Number of accepted results that are not delivered yet: the latest ones."""

    @property
    def full(self) -> bool:
        """Whether the next results may be dropped."""

    def write(self, record: Record) -> None:
        """Deliver a result, or keep the result for later; a full sink may drop a result."""

    def close(self) -> None:
        """Deliver the kept results, within seconds.

        Raises:
            EdgeError: a result could not be delivered.
        """


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options `--out`, `--sync`, `--mqtt…`, `--on-digit` and `--on-number`."""
    group = parser.add_argument_group("where results go")
    group.add_argument("--out", metavar="FILE", help="append each result to FILE, a JSON line")
    group.add_argument(
        "--sync",
        action="store_true",
        help="wait until each line of --out is on the disk, so that a power cut loses none",
    )
    group.add_argument(
        "--mqtt",
        metavar="URL",
        help="publish each result: mqtt[s]://[user[:password]@]host[:port]/topic; the password may "
        'also be in $MQTT_PASSWORD (pip install "digit-edge[mqtt]")',
    )
    group.add_argument(
        "--mqtt-ca",
        metavar="FILE",
        help="the certificate, as PEM, of the authority that signed the certificate of an mqtts:// "
        "broker, or a self-signed certificate itself (default: the system's authorities, or those "
        "in $SSL_CERT_FILE)",
    )
    group.add_argument(
        "--mqtt-discovery",
        nargs="?",
        const="homeassistant",
        metavar="NAME",
        help="announce the sensors to Home Assistant, under its prefix (default: homeassistant)",
    )
    group.add_argument(
        "--on-digit",
        action="append",
        default=[],
        metavar="COMMAND",
        help="run COMMAND for each digit, without a shell; {label}, {confidence} and {image} are "
        "filled in. They are also in $DIGIT_EDGE_LABEL, $DIGIT_EDGE_CONFIDENCE and "
        "$DIGIT_EDGE_IMAGE; in the text of a shell use these, in quotes: sh -c 'echo "
        '"$DIGIT_EDGE_IMAGE" >> log\'. '
        "Its output goes to stderr. May be repeated. A light on GPIO 17: 'pinctrl set "
        "17 op dh', or 'gpioset -t0 GPIO17=1' (Bookworm: 'gpioset gpiochip0 17=1')",
    )
    group.add_argument(
        "--on-number",
        action="append",
        default=[],
        metavar="COMMAND",
        help="with --read, run COMMAND for each accepted number, as --on-digit does; {value}, "
        "{region}, {confidence} and {image}, and $DIGIT_EDGE_VALUE, $DIGIT_EDGE_REGION and so on, "
        "are filled in",
    )


def open_sinks(arguments: argparse.Namespace, numbers: NumberSensors | None = None) -> "Sinks":
    """Open the sinks that the options name, and stdout for JSON lines.

    If standard output is closed, results go to the other sinks only.

    Args:
        arguments: parsed by a parser with the options of `add_arguments`.
        numbers: how Home Assistant shows the numbers; None if the records are of digits.

    Raises:
        EdgeError: an option is invalid, a file cannot be written, a package is missing, or there is
            neither an option nor standard output.
    """
    if arguments.mqtt_discovery is not None and arguments.mqtt is None:
        raise EdgeError("--mqtt-discovery needs a broker: pass --mqtt URL too")
    if arguments.mqtt_ca is not None and arguments.mqtt is None:
        raise EdgeError("--mqtt-ca needs a broker: pass --mqtt mqtts://… too")
    if arguments.sync and arguments.out is None:
        raise EdgeError("--sync needs a file: pass --out FILE too")
    if arguments.on_number and numbers is None:
        raise EdgeError("--on-number needs numbers: pass --read too, or --on-digit in its place")
    if arguments.on_digit and numbers is not None:
        raise EdgeError("--on-digit is for one digit: with --read, pass --on-number in its place")
    with contextlib.ExitStack() as opened:
        sinks: list[Sink] = []
        if arguments.out is not None:
            sinks.append(JsonLinesWriter(Path(arguments.out), arguments.sync))
            opened.callback(sinks[-1].close)
        for option, commands in (
            ("--on-digit", arguments.on_digit),
            ("--on-number", arguments.on_number),
        ):
            for command in commands:
                from runtime.outputs.command_hook import CommandHook

                sinks.append(CommandHook(command, option))
                opened.callback(sinks[-1].close)
        if arguments.mqtt is not None:
            from runtime.outputs.mqtt import MqttPublisher

            sinks.append(
                MqttPublisher(arguments.mqtt, arguments.mqtt_discovery, arguments.mqtt_ca, numbers)
            )
        opened.pop_all()
    if streams.is_closed():
        if not sinks:
            raise EdgeError("standard output is closed: pass --out FILE, --mqtt or --on-digit")
    elif sys.stdout is not None:
        # Stdout is the last sink: if its pipe is closed, BrokenPipeError is raised after the other
        # sinks have received the result.
        sinks.append(JsonLinesWriter(None))
    return Sinks(sinks)


class Sinks:
    """Several sinks as one. At the end of a `with` block, the sinks are closed.

    `write` is safe to call from several threads.

    Args:
        sinks: the sinks, in the order in which they receive a result.
    """

    def __init__(self, sinks: list[Sink]) -> None:
        self._sinks = sinks
        self._full: list[Sink] = []
        self._written = 0  # number of results that were written
        self._delivered = 0  # number of the first results that every sink has delivered
        # Of each further result: how many results each sink had accepted after it.
        self._accepted: deque[tuple[int, ...]] = deque()
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """Number of results that the slowest sink has not delivered yet; 0 without sinks."""
        return max((sink.waiting for sink in self._sinks), default=0)

    @property
    def delivered(self) -> int:
        """Number n of results: every sink has delivered the first n results.

        A later result counts only after all earlier ones.
        """
        with self._lock:
            delivered = [sink.accepted - sink.waiting for sink in self._sinks]
            while self._accepted and all(map(le, self._accepted[0], delivered)):
                self._accepted.popleft()
                self._delivered += 1
            return self._delivered

    @property
    def full(self) -> bool:
        """Whether a sink is full, or was full and has not delivered all its results since then."""
        self._full = [
            sink for sink in self._sinks if sink.full or (sink in self._full and sink.waiting)
        ]
        return bool(self._full)

    def write(self, record: Record) -> int:
        """Write a result to every sink; return its number, from 1.

        Raises:
            BrokenPipeError: stdout is a pipe that its reader has closed.
        """
        with self._lock:
            for sink in self._sinks:
                sink.write(record)
            self._accepted.append(tuple(sink.accepted for sink in self._sinks))
            self._written += 1
            return self._written

    def close(self) -> None:
        """Deliver the kept results, within seconds.

        Raises:
            EdgeError: a result could not be delivered; the message has the failures of all sinks.
        """
        failures = []
        for sink in self._sinks:
            try:
                sink.close()
            except EdgeError as error:
                failures.append(str(error))
        if failures:
            raise EdgeError("; ".join(failures))

    def __enter__(self) -> "Sinks":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except EdgeError as failure:
            if kind is None:
                raise
            report(failure)  # only printed, because the exception of the `with` block is raised
