"""Messages between the server and its worker process: a JSON header and a body of bytes."""

import json
import socket
import struct
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from runtime.serve.limits import Limits

Header = dict[str, Any]

READY = -1  # number of a worker's first message, whose header holds `model` or `refused`
# Sizes of header and body in bytes, big-endian.
SIZES = struct.Struct("!II")


@dataclass(frozen=True)
class ModelOptions:
    """The artifact that a worker opens; see `Classifier.load`."""

    path: str | None
    backend: str | None
    threads: int
    device: str


def pack_options(model: ModelOptions, limits: Limits) -> str:
    """Return a worker's options as one command-line argument."""
    return json.dumps([asdict(model), asdict(limits)])


def unpack_options(text: str) -> tuple[ModelOptions, Limits]:
    """Return what `pack_options` was given."""
    model, limits = json.loads(text)
    return ModelOptions(**model), Limits(**limits)


def pack(header: Header, body_bytes: int) -> bytes:
    """Return the start of a message, which the body follows."""
    text = json.dumps(header).encode()
    return SIZES.pack(len(text), body_bytes) + text


def send(connection: socket.socket, header: Header, body: bytes = b"") -> None:
    """Send a message on a blocking socket."""
    connection.sendall(pack(header, len(body)))
    connection.sendall(body)


def receive(file: BinaryIO) -> tuple[Header, bytes] | None:
    """Read a message from a blocking socket's file; None if the connection has ended."""
    sizes = file.read(SIZES.size)
    if len(sizes) < SIZES.size:
        return None
    header_bytes, body_bytes = SIZES.unpack(sizes)
    text, body = file.read(header_bytes), file.read(body_bytes)
    if len(text) < header_bytes or len(body) < body_bytes:
        return None
    header: Header = json.loads(text)
    return header, body


def unpack(received: bytearray) -> tuple[Header, bytes] | None:
    """Take the first message out of what was received; None if it is not there as a whole."""
    if len(received) < SIZES.size:
        return None
    header_bytes, body_bytes = SIZES.unpack_from(received)
    body_at = SIZES.size + header_bytes
    end = body_at + body_bytes
    if len(received) < end:
        return None
    header: Header = json.loads(received[SIZES.size : body_at])
    body = bytes(received[body_at:end])
    del received[:end]
    return header, body
