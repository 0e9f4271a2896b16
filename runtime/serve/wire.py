"""The protocol between the server and its worker process, over a socket pair.

A message is two sizes in bytes (`SIZES`), a JSON header, and a body of bytes (an image or the body
of an HTTP response). `runtime.serve.worker` describes the fields of the header. The server uses
`pack` and `unpack` on a non-blocking socket, the worker `send` and `receive` on a blocking one.
"""

import json
import socket
import struct
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from runtime.serve.limits import Limits

Header = dict[str, Any]

# `id` of a worker's first message. Its header contains `model`, or `refused` with the error if the
# model cannot be opened.
READY = -1
SIZES = struct.Struct("!II")  # sizes of the header and the body in bytes, big-endian


@dataclass(frozen=True)
class ModelOptions:
    """The artifact that a worker opens, and how.

    Attributes:
        path: path of the artifact; None for the default one.
        backend: name of the engine; None to choose it by the artifact.
        threads: number of threads of the engine.
        device: cpu or gpu.
    """

    path: str | None
    backend: str | None
    threads: int
    device: str


def pack_options(model: ModelOptions, limits: Limits) -> str:
    """Encode a worker's options as one command-line argument."""
    return json.dumps([asdict(model), asdict(limits)])


def unpack_options(text: str) -> tuple[ModelOptions, Limits]:
    """Decode the argument made by `pack_options`."""
    model, limits = json.loads(text)
    return ModelOptions(**model), Limits(**limits)


def pack(header: Header, body_bytes: int) -> bytes:
    """Return a message up to its body."""
    text = json.dumps(header).encode()
    return SIZES.pack(len(text), body_bytes) + text


def send(connection: socket.socket, header: Header, body: bytes = b"") -> None:
    """Send a message on a blocking socket."""
    connection.sendall(pack(header, len(body)))
    connection.sendall(body)


def receive(file: BinaryIO) -> tuple[Header, bytes] | None:
    """Read a message from the file of a blocking socket; return None at the end of the stream."""
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
    """Remove the first message from a buffer and return it; None if it is incomplete."""
    if len(received) < SIZES.size:
        return None
    header_bytes, body_bytes = SIZES.unpack_from(received)
    body_start = SIZES.size + header_bytes
    end = body_start + body_bytes
    if len(received) < end:
        return None
    header: Header = json.loads(received[SIZES.size : body_start])
    body = bytes(received[body_start:end])
    del received[:end]
    return header, body
