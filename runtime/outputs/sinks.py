"""Where results go: JSON lines on stdout and in a file, an MQTT broker, a command of the user's.

A command calls `add_arguments`, then `open_sinks`, then `write` for each result: a record that JSON
can hold. A digit has at least `label` and `confidence` in it and, where it was no digit after all,
`accepted: false`; what could not be read has `error`. No sink makes its caller wait: what cannot be
delivered now is kept, tried again, and counted in `waiting` until it is delivered. What is written
while a sink is `full` may be dropped, which it says once. That is right for a camera, whose digits
pass; a caller that can come back for the rest, as to the files of a folder, holds back meanwhile.
"""

import argparse
import contextlib
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Protocol

from runtime.errors import EdgeError, report
from runtime.outputs.json_lines import JsonLinesWriter
from runtime.system import streams

Record = dict[str, object]


class Sink(Protocol):
    """One place where results go."""

    @property
    def waiting(self) -> int:
        """Results taken and not delivered yet."""

    @property
    def full(self) -> bool:
        """Whether so many wait that further ones may be dropped."""

    def write(self, record: Record) -> None:
        """Take a result; deliver it now, keep it, or where it is full drop one."""

    def close(self) -> None:
        """Deliver what was kept, within seconds; EdgeError where that cannot be done."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--out`, `--sync`, `--mqtt`, `--mqtt-discovery` and `--on-digit` to a command."""
    group = parser.add_argument_group("where results go")
    group.add_argument("--out", metavar="FILE", help="append each result to FILE, a JSON line")
    group.add_argument(
        "--sync",
        action="store_true",
        help="wait until each line of --out is on the disk: a power cut then loses none",
    )
    group.add_argument(
        "--mqtt",
        metavar="URL",
        help="publish each result: mqtt[s]://[user[:password]@]host[:port]/topic; the password may "
        'stand in $MQTT_PASSWORD (pip install "digit-edge[mqtt]")',
    )
    group.add_argument(
        "--mqtt-discovery",
        nargs="?",
        const="homeassistant",
        metavar="PREFIX",
        help="announce the reader to Home Assistant, under its prefix (default: homeassistant)",
    )
    group.add_argument(
        "--on-digit",
        action="append",
        default=[],
        metavar="COMMAND",
        help="run COMMAND for each digit, without a shell; {label}, {confidence} and {image} are "
        "filled in. May be given again. A light on GPIO 17: 'pinctrl set 17 op dh', or 'gpioset "
        "-t0 GPIO17=1' (Bookworm: 'gpioset gpiochip0 17=1')",
    )


def open_sinks(arguments: argparse.Namespace) -> "Sinks":
    """Open the sinks that the arguments of `add_arguments` name, and stdout for JSON lines.

    Raises:
        EdgeError: a file cannot be written, a URL or a command is none, a package is missing.
    """
    if arguments.mqtt_discovery is not None and arguments.mqtt is None:
        raise EdgeError("--mqtt-discovery needs a broker: give --mqtt URL too")
    if arguments.sync and arguments.out is None:
        raise EdgeError("--sync is about a file: give --out FILE too")
    with contextlib.ExitStack() as opened:
        sinks: list[Sink] = []
        if arguments.out is not None:
            sinks.append(JsonLinesWriter(Path(arguments.out), arguments.sync))
            opened.callback(sinks[-1].close)
        for command in arguments.on_digit:
            from runtime.outputs.command_hook import CommandHook

            sinks.append(CommandHook(command))
            opened.callback(sinks[-1].close)
        if arguments.mqtt is not None:
            from runtime.outputs.mqtt import MqttPublisher

            sinks.append(MqttPublisher(arguments.mqtt, arguments.mqtt_discovery))
        opened.pop_all()
    if streams.is_closed():
        if not sinks:
            raise EdgeError("standard output is closed: give --out FILE, --mqtt or --on-digit")
    elif sys.stdout is not None:
        # The last one: when the reader of a pipe leaves, the others have their result already.
        sinks.append(JsonLinesWriter(None))
    return Sinks(sinks)


class Sinks:
    """All of a command's sinks as one; safe to share between threads."""

    def __init__(self, sinks: list[Sink]) -> None:
        self._sinks = sinks
        self._full: list[Sink] = []
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """Results that the slowest sink holds undelivered; 0 says that every one has arrived."""
        return max((sink.waiting for sink in self._sinks), default=0)

    @property
    def full(self) -> bool:
        """Whether a sink is full, or was and has not delivered everything since."""
        self._full = [
            sink for sink in self._sinks if sink.full or (sink in self._full and sink.waiting)
        ]
        return bool(self._full)

    def write(self, record: Record) -> None:
        """Give a result to every sink.

        Raises:
            BrokenPipeError: the reader of stdout has left.
        """
        with self._lock:
            for sink in self._sinks:
                sink.write(record)

    def close(self) -> None:
        """Deliver what is kept, within seconds.

        Raises:
            EdgeError: something could not be delivered; all failures stand in one message.
        """
        failed = []
        for sink in self._sinks:
            try:
                sink.close()
            except EdgeError as error:
                failed.append(str(error))
        if failed:
            raise EdgeError("; ".join(failed))

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
            report(failure)  # the first reason stays the command's own
