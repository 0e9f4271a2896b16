"""The protocol between the server and its worker process, over a socket pair.

A message consists of two sizes in bytes (`SIZES`), a JSON header, and a body. The body is an image,
the body of an HTTP response, or empty. `runtime.serve.worker` describes the fields of the header.
The server (`runtime.serve.supervisor`) has a non-blocking socket, and uses `pack` and `unpack`. The
worker has a blocking socket, and uses `send` and `receive`.
"""

import json
import socket
import struct
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from runtime.numbers.options import NumberOptions
from runtime.serve.limits import Limits

Header = dict[str, Any]  # name of a field → JSON value

# `id` of a worker's first message. The header of this message contains `model`, the description of
# the open model. If the model cannot be opened, the header contains the error as `refused`.
READY = -1
SIZES = struct.Struct("!II")  # sizes of the header and the body in bytes, big-endian


@dataclass(frozen=True)
class ModelOptions:
    """The artifact that a worker opens, and the engine that runs it.

    Attributes:
        path: path of the artifact; None for the published artifact in the package.
        backend: name of the engine; None chooses the engine by the artifact.
        threads: number of threads of the engine.
        device: "cpu" or "gpu".
    """

    path: str | None
    backend: str | None
    threads: int
    device: str


def pack_options(model: ModelOptions, limits: Limits, numbers: NumberOptions | None) -> str:
    """Encode the options as one command-line argument of the worker process."""
    return json.dumps([asdict(model), asdict(limits), numbers and asdict(numbers)])


def unpack_options(text: str) -> tuple[ModelOptions, Limits, NumberOptions | None]:
    """Decode the argument that `pack_options` made to (model, limits, numbers)."""
    model, limits, numbers = json.loads(text)
    return (
        ModelOptions(**model),
        Limits(**limits),
        None if numbers is None else NumberOptions.from_json(numbers),
    )


def pack(header: Header, body_bytes: int) -> bytes:
    """Return the start of a message: the two sizes and the header.

    Args:
        header: the fields of the header, as JSON types.
        body_bytes: size of the body, which the caller sends next.
    """
    text = json.dumps(header).encode()
    return SIZES.pack(len(text), body_bytes) + text


def send(connection: socket.socket, header: Header, body: bytes = b"") -> None:
    """Send a message on a blocking socket.

    Args:
        connection: the blocking socket.
        header: the fields of the header, as JSON types.
        body: the body of the message; empty for none.

    Raises:
        OSError: the other process has ended.
    """
    connection.sendall(pack(header, len(body)))
    connection.sendall(body)


def receive(file: BinaryIO) -> tuple[Header, bytes] | None:
    """Read a message from a blocking socket.

    Args:
        file: the socket as a file, from `socket.makefile("rb")`.

    Returns:
        (header, body); None if the other process has closed the socket.
    """
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
    """Remove the first message from a buffer, and return its (header, body).

    Args:
        received: the bytes received so far.

    Returns:
        None if the message is incomplete; the buffer is then unchanged.
    """
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
