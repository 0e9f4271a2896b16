"""Mutate files: random bytes, and fields of the formats, with checksums and digests renewed.

A mutation of random bytes is mostly rejected by a checksum. `mutate_image` and `mutate_artifact`
therefore change the parts of a file: chunks of a PNG, segments of a JPEG, tags of a TIFF, offsets
of a flatbuffer, varints of a protobuf.
"""

import json
import random
import re
import struct
from collections.abc import Callable
from typing import Any

from runtime.model import artifact
from tests.fuzz.images import png_chunk

_MAX_MUTATIONS = 4  # of one file
_MAX_BYTES = 16 << 20  # of a mutated file, the largest that the promises are about
# Numbers at which programs often fail.
_NUMBERS = (
    0, 1, 2, 7, 8, 15, 16, 31, 32, 63, 64, 127, 128, 255, 256, 1000, 4095, 32767, 32768, 65500,
    65535, 65536, 1 << 20, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1,
)  # fmt: skip
_HEADER_BYTES = 64  # most fields of a header are in the first bytes of a file
_DIGEST_BYTES = 64  # the digest, at the end of an artifact


def mutate_bytes(rng: random.Random, data: bytes, other: bytes = b"") -> bytes:
    """Change, insert, remove, repeat or exchange some bytes."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, _MAX_MUTATIONS)):
        at = rng.randrange(len(changed)) if changed else 0
        if changed and rng.random() < 0.4:
            at = rng.randrange(min(len(changed), _HEADER_BYTES))
        end = at + round(len(changed) ** rng.random())
        match rng.randrange(8):
            case 0 if changed:
                changed[at] ^= 1 << rng.randrange(8)
            case 1 if changed:
                changed[at] = rng.randrange(256)
            case 2:
                changed[at:at] = rng.randbytes(rng.choice((1, 4, 100)))
            case 3:
                del changed[at:end]
            case 4:
                changed[at:at] = changed[at:end] * rng.choice((1, 1, 2, 50))
            case 5:
                size = rng.choice((1, 2, 4, 8))
                number = rng.choice(_NUMBERS) & ((1 << 8 * size) - 1)
                changed[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))
            case 6:
                del changed[at:]
            case 7 if other:
                start = rng.randrange(len(other))
                changed[at:end] = other[start : start + end - at]
    return bytes(changed[:_MAX_BYTES])


def mutate_image(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Mutate an image by the structure of its format, or by its bytes."""
    for _ in range(rng.randint(1, _MAX_MUTATIONS)):
        by_format = next((do for magic, do in _BY_FORMAT if data.startswith(magic)), None)
        try:
            if by_format is None or rng.random() < 0.3:
                data = mutate_bytes(rng, data, other)
            else:
                data = by_format(rng, data)
        except (struct.error, IndexError, ValueError):
            data = mutate_bytes(rng, data, other)  # a former mutation has destroyed the structure
    return data[:_MAX_BYTES]


def _number(rng: random.Random, bits: int) -> int:
    return rng.choice(_NUMBERS) & ((1 << bits) - 1)


def _mutate_parts(rng: random.Random, parts: list[bytes], change: Callable[[bytes], bytes]) -> None:
    """Change, remove, repeat or move one of the parts of a file."""
    at = rng.randrange(len(parts))
    match rng.randrange(5):
        case 0:
            del parts[at]
        case 1:
            most = _MAX_BYTES // max(len(parts[at]), 1)
            parts[at:at] = [parts[at]] * min(round(10 ** rng.uniform(0, 4.5)), most)
        case 2:
            parts.insert(rng.randrange(len(parts)), parts.pop(at))
        case _:
            parts[at] = change(parts[at])


def _mutate_png(rng: random.Random, data: bytes) -> bytes:
    parts, at = [], 8
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        parts.append(data[at + 4 : at + 8 + length])  # type and content
        at += length + 12

    def change(part: bytes) -> bytes:
        kind, content = part[:4], bytearray(part[4:])
        if kind == b"IHDR":
            field = rng.randrange(7)
            if field < 2:
                struct.pack_into(">I", content, 4 * field, _number(rng, 32))
            else:
                content[6 + field] = rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
            return kind + bytes(content)
        return kind + mutate_bytes(rng, bytes(content) or b"\0")

    _mutate_parts(rng, parts, change)
    return data[:8] + b"".join(png_chunk(part[:4], part[4:]) for part in parts)


def _mutate_jpeg(rng: random.Random, data: bytes) -> bytes:
    starts = [match.start() for match in re.finditer(rb"\xff[\xc0-\xcf\xd8-\xef\xfe]", data)]
    parts = [data[a:b] for a, b in zip(starts, [*starts[1:], len(data)], strict=True)]

    def change(part: bytes) -> bytes:
        content = bytearray(part)
        if content[1] in (0xC0, 0xC1, 0xC2, 0xC9):  # the frame: size, components, sampling
            if rng.random() < 0.5:
                struct.pack_into(">H", content, rng.choice((5, 7)), _number(rng, 16))
            else:
                content[rng.randrange(9, len(content))] = rng.choice((0, 1, 0x11, 0x22, 0x41, 0x44))
            if rng.random() < 0.2:
                content[1] = rng.choice((0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA))
            return bytes(content)
        return bytes(content[:4]) + mutate_bytes(rng, bytes(content[4:]) or b"\0")

    _mutate_parts(rng, parts, change)
    return b"".join(parts)


def _mutate_webp(rng: random.Random, data: bytes) -> bytes:
    parts, at = [], 12
    while at + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, at + 4)
        parts.append(data[at : at + 8 + length + length % 2])
        at += 8 + length + length % 2
    _mutate_parts(rng, parts, lambda part: part[:8] + mutate_bytes(rng, part[8:] or b"\0"))
    body = b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _mutate_tiff(rng: random.Random, data: bytes) -> bytes:
    order = "<" if data[:2] == b"II" else ">"
    changed = bytearray(data)
    (start,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, start)
    entry = start + 2 + 12 * rng.randrange(count)
    match rng.randrange(5):
        case 0:
            struct.pack_into(
                order + "H", changed, entry, rng.choice((256, 257, 258, 277, 322, 330))
            )
        case 1:
            struct.pack_into(order + "H", changed, entry + 2, rng.randrange(20))
        case 2:
            struct.pack_into(order + "I", changed, entry + 4, _number(rng, 32))
        case 3:
            struct.pack_into(order + "I", changed, entry + 8, _number(rng, 32))
        case 4:
            changed[entry : entry + 12] = changed[start + 2 : start + 14]
    return bytes(changed)


def _mutate_pnm(rng: random.Random, data: bytes) -> bytes:
    head = data[:_HEADER_BYTES]
    numbers = list(re.finditer(rb"\d+", head[2:]))
    chosen = rng.choice(numbers)
    new = rng.choice((b"0", b"-1", b"#\n8", b"1" * 12, b"%d" % _number(rng, 32)))
    return data[: 2 + chosen.start()] + new + data[2 + chosen.end() :]


_BY_FORMAT: tuple[tuple[bytes, Callable[[random.Random, bytes], bytes]], ...] = (
    (b"\x89PNG", _mutate_png),
    (b"\xff\xd8", _mutate_jpeg),
    (b"RIFF", _mutate_webp),
    (b"II", _mutate_tiff),
    (b"P", _mutate_pnm),
)


def mutate_artifact(rng: random.Random, data: bytes, suffix: str, forge: bool) -> bytes:
    """Mutate a model file.

    Args:
        rng: random numbers.
        data: an artifact.
        suffix: suffix of its format.
        forge: whether to renew the digest, as somebody who means harm would.
    """
    changed = bytearray(data)
    for _ in range(rng.randint(1, _MAX_MUTATIONS)):
        end = len(changed) - (_DIGEST_BYTES + 22 if forge else 0)
        if end < 4:
            break
        kind = rng.random()
        if kind < 0.3:
            changed[:end] = mutate_bytes(rng, bytes(changed[:end]))
        elif suffix == ".tflite" and kind < 0.8:  # a 32-bit offset, length or index
            at = rng.randrange(0, min(end, 20_000 if rng.random() < 0.7 else end) // 4) * 4
            struct.pack_into("<I", changed, at, _number(rng, 32))
        else:
            # A varint of protobuf: often a length. Directories of zip archives are at the end.
            at = rng.randrange(end) if rng.random() < 0.6 else max(end - 1 - rng.randrange(3000), 0)
            changed[at] = rng.choice(
                (0, 1, 0x7F, 0x80, 0xFF, changed[at] ^ 1, changed[at] + 1 & 255)
            )
    if forge and len(changed) > _DIGEST_BYTES:
        changed[-_DIGEST_BYTES:] = artifact._digest(bytes(changed)).encode()
    return bytes(changed)


_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 1e308, 2**63, "", "x", "\0", "\x1b[2J", "9" * 5000, [], {}, [[]],
    ["0"] * 10, float("nan"), float("inf"), "NaN", [1e400], {"a": {}}, "⁂",
)  # fmt: skip


def mutate_spec(rng: random.Random, spec: str) -> str:
    """Mutate the JSON of an artifact's spec: values, keys and nesting, or its characters."""
    if rng.random() < 0.15:
        return mutate_bytes(rng, spec.encode()).decode("utf-8", "replace")
    document = json.loads(spec)
    for _ in range(rng.randint(1, _MAX_MUTATIONS)):
        place: Any = document
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(place[key], (dict, list)) and place[key] and rng.random() < 0.7:
                place = place[key]
                continue
            match rng.randrange(4):
                case 0:
                    del place[key]
                case 1 if isinstance(place, list):
                    place.append(rng.choice((place[key], *_VALUES)))
                case 2 if isinstance(place[key], (int, float)) and not isinstance(place[key], bool):
                    place[key] = rng.choice((-place[key], place[key] * 1e9, place[key] + 1, 0.5))
                case _:
                    place[key] = rng.choice(_VALUES)
            break
    text = json.dumps(document)
    return text if rng.random() < 0.95 else "[" * rng.choice((10, 100_000)) + text


_PATHS = ("/v1/classify", "/v1/read", "/v1/model", "/healthz", "/metrics", "/", "/openapi.json")


def request(rng: random.Random, image: bytes) -> bytes:
    """Return an HTTP request, valid or not, that posts an image.

    Args:
        rng: random numbers.
        image: the bytes of the image file, already mutated or not.
    """
    method = rng.choice(("POST", "POST", "POST", "GET", "PUT", "HEAD", "OPTIONS", "post", "P\0ST"))
    path = rng.choice(_PATHS) if rng.random() < 0.2 else rng.choice(_PATHS[:2])
    path += rng.choice(("", "", "", "?drawing=true", "?drawing=%00", "?" + "a=b&" * 500, "/../x"))
    body, kind = (
        image,
        rng.choice(("image/png", "application/octet-stream", "text/html", "image/\xe9")),
    )
    if rng.random() < 0.4:
        boundary = rng.choice(("xyz", "a" * 70, "a" * 3000, ""))
        kind = f"multipart/form-data; boundary={boundary}"
        disposition = rng.choice(
            (
                'form-data; name="image"; filename="a.png"',
                'form-data; name="image"; filename="../../\x01"',
                "form-data",
                'form-data; name="' + "n" * 9000 + '"',
                "attachment; filename*=UTF-8''%ff%fe; name=\"x\"",
            )
        )
        part = f"--{boundary}\r\nContent-Disposition: {disposition}\r\n\r\n".encode("latin-1")
        body = part * rng.choice((1, 1, 1, 2, 300)) + image + f"\r\n--{boundary}--\r\n".encode()
        if rng.random() < 0.3:
            body = mutate_bytes(rng, body)
    lines = [f"{method} {path} HTTP/{rng.choice(('1.1', '1.1', '1.1', '1.0', '2.0', '9'))}"]
    lines += ["Host: " + rng.choice(("127.0.0.1", "127.0.0.1", "127.0.0.1", "evil.example", ""))]
    lines += [f"Content-Type: {kind}"]
    framing = rng.random()
    if framing < 0.6:
        length = rng.choice(
            (len(body),) * 8 + (0, len(body) + 9, -1, 1 << 40, "9" * 400, "1, 2", "x")
        )
        lines += [f"Content-Length: {length}"] * rng.choice((1, 1, 1, 2))
    else:
        lines += ["Transfer-Encoding: " + rng.choice(("chunked",) * 6 + ("gzip, chunked", "x"))]
        size = rng.choice((1, 100, 5000, 1 << 20))
        parts = [body[at : at + size] for at in range(0, min(len(body), 3000 * size), size)]
        extension = rng.choice((b"", b"", b";a=b", b";" + b"e" * 20_000))
        chunks = [b"%x%s\r\n%s\r\n" % (len(part), extension, part) for part in parts]
        if rng.random() < 0.2:
            chunks.insert(0, rng.choice((b"-1\r\n\r\n", b"g\r\n", b"ffffffffffffffffff\r\n")))
        body = b"".join(chunks) + rng.choice(
            (b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\nTrailer: x\r\n\r\n", b"")
        )
    if framing > 0.9:
        lines += [f"Content-Length: {len(body)}"]
    lines += rng.choice(([], ["Expect: 100-continue"], ["X: " + "y" * 50_000], ["A: b"] * 500))
    lines += rng.choice(
        ([], ["Connection: close"], ["Upgrade: websocket"], [" folded"], ["no colon"])
    )
    head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
    if rng.random() < 0.2:
        head = mutate_bytes(rng, head)
    return head + body
