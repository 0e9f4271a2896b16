"""Artifact: one model file that explains itself. Writes a ModelSpec into a file and reads it back.

A `.tflite` and a `.keras` carry it as members of a zip archive (`model_spec.json`, `labels.txt`),
the way TFLite's own metadata packs its files; an `.onnx` in its `metadata_props`. In all three the
last 64 bytes of the file are its digest: SHA-256 of the whole file, those 64 bytes taken as zeros.
The standard library writes and reads all of them.
"""

import io
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

try:
    # hashlib loads OpenSSL: 3.6 MB and 3 ms at every start, to hash a file of 90 KB.
    from _sha2 import sha256
except ImportError:
    try:
        from _sha256 import sha256  # before Python 3.12
    except ImportError:
        from hashlib import sha256

from runtime.errors import ArtifactError
from runtime.model.spec import ModelSpec, check
from runtime.system import atomic_write

SPEC_MEMBER = "model_spec.json"
LABELS_MEMBER = "labels.txt"
MAX_FILE_BYTES = 256 << 20

_DIGEST_SIZE = 64
_ZEROS = b"0" * _DIGEST_SIZE
# What stands right before the digest: a zip's end record announcing a comment of 64 bytes, or the
# last metadata_props entry (ModelProto field 14: {1: "digest", 2: 64 bytes}) of an ONNX file.
_ZIP_END = b"PK\x05\x06"
_ZIP_END_SIZE = 22
_ONNX_DIGEST_ENTRY = b"\x72\x4a\x0a\x06digest\x12\x40"
_ONNX_METADATA_FIELD = 14


@dataclass(frozen=True)
class Artifact:
    """One model file that explains itself: where it was read, its bytes, and its spec."""

    path: Path
    data: bytes = field(repr=False)
    spec: ModelSpec

    @property
    def format(self) -> str:
        """`.tflite`, `.onnx` or `.keras`."""
        return self.path.suffix


def read(path: str | os.PathLike[str]) -> Artifact:
    """Read an artifact, check its digest, and only then its spec.

    Raises:
        ArtifactError: no such file, not a model, without a spec, or damaged.
    """
    path = Path(path)
    data = _read_file(path)
    digest = _stored_digest(path, data)
    if digest != _digest(data):
        raise ArtifactError(
            f"{path} is damaged: its SHA-256 is not the one it carries; copy or export it again"
        )
    try:
        return Artifact(path, data, ModelSpec.from_json(_spec_text(path.suffix, data), digest))
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error.__cause__


def write(path: str | os.PathLike[str], model: bytes, spec: ModelSpec) -> Artifact:
    """Write `model` with `spec` in it to `path`, whole or not at all, and read it back.

    Args:
        path: its suffix says the format.
        model: the bare model file's bytes; the same bytes and spec always give the same file.

    Raises:
        ArtifactError: the suffix or the spec is not one this project knows.
        EdgeError: the file cannot be written.
    """
    path = Path(path)
    check(spec)
    with atomic_write.atomic_file(path) as temporary:
        temporary.write_bytes(embed(path.suffix, model, spec))
        artifact = read(temporary)
    return replace(artifact, path=path)


def read_bare(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a model made elsewhere, to be given a spec.

    Raises:
        ArtifactError: no such file, not a model, or one that has a spec already.
    """
    path = Path(path)
    data = _read_file(path)
    if _has_digest(path.suffix, data):
        raise ArtifactError(f"{path} carries a spec already: use it as it is")
    return data


def embed(suffix: str, model: bytes, spec: ModelSpec) -> bytes:
    """The bytes of `model`, a bare file of the format `suffix`, with `spec` and digest in it."""
    text, labels = spec.to_json().encode(), "\n".join(spec.labels).encode() + b"\n"
    if suffix == ".onnx":
        # Appending a repeated protobuf field extends it: no parsing of the model is needed.
        data = (
            model
            + _onnx_entry(SPEC_MEMBER, text)
            + _onnx_entry(LABELS_MEMBER, labels)
            + _onnx_entry("digest", _ZEROS)
        )
    else:
        import zipfile  # reading does without, see _zip_member

        buffer = io.BytesIO(model)
        with zipfile.ZipFile(buffer, "a") as archive:
            for member, content in ((SPEC_MEMBER, text), (LABELS_MEMBER, labels)):
                # A fixed time, so that the same model gives the same bytes.
                archive.writestr(zipfile.ZipInfo(member, (1980, 1, 1, 0, 0, 0)), content)
            archive.comment = _ZEROS
        data = buffer.getvalue()
    return data[:-_DIGEST_SIZE] + _digest(data).encode()


def _read_file(path: Path) -> bytes:
    if path.suffix not in (".tflite", ".onnx", ".keras"):
        raise ArtifactError(f"{path} is no model file: give a .tflite, .onnx or .keras file")
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ArtifactError(f"{path} is larger than {MAX_FILE_BYTES >> 20} MiB: no such model")
        data = path.read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"cannot read the model {path}: {error.strerror or error}; give another with --model, "
            "or make one: python -m train, then python -m export"
        ) from error
    magic = {
        ".tflite": data[4:8] == b"TFL3",
        ".onnx": data[:1] == b"\x08",
        ".keras": data[:4] == b"PK\x03\x04",
    }
    if not magic[path.suffix]:
        raise ArtifactError(
            f"{path} is not a {path.suffix} model, whatever its name says; copy or export it again"
        )
    return data


def _digest(data: bytes) -> str:
    hashed = sha256(memoryview(data)[:-_DIGEST_SIZE])
    hashed.update(_ZEROS)
    return str(hashed.hexdigest())


def _has_digest(suffix: str, data: bytes) -> bool:
    if suffix == ".onnx":
        return data[:-_DIGEST_SIZE].endswith(_ONNX_DIGEST_ENTRY)
    end = data[-_DIGEST_SIZE - _ZIP_END_SIZE : -_DIGEST_SIZE]
    return end.startswith(_ZIP_END) and end.endswith(_DIGEST_SIZE.to_bytes(2, "little"))


def _stored_digest(path: Path, data: bytes) -> str:
    if not _has_digest(path.suffix, data):
        raise ArtifactError(
            f"{path} carries no model spec at its end: it was cut short (copy it again) or made "
            f"elsewhere (add one: python -m export.spec {path} --labels 0,1,2,…)"
        )
    return data[-_DIGEST_SIZE:].decode("ascii", "replace")


def _spec_text(suffix: str, data: bytes) -> bytes:
    if suffix == ".onnx":
        for key, value in _onnx_metadata(data):
            if key == SPEC_MEMBER.encode():
                return value
        raise ArtifactError("it has no model spec in its metadata: export it again")
    return _zip_member(data, SPEC_MEMBER.encode())


def _zip_member(data: bytes, name: bytes) -> bytes:
    """A member of the zip archive at the end of `data`, as `embed` stores it: uncompressed.

    `zipfile` would do, and cost every start of a command 1.6 MB and 5 ms.
    Layout: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3.
    """
    try:
        count, at = struct.unpack_from("<H4xI", data, len(data) - _DIGEST_SIZE - 12)
        for _ in range(count):
            method, size, length, extra, comment, local = struct.unpack_from(
                "<10xH12xIHHH8xI", data, at
            )
            if data[at + 46 : at + 46 + length] == name and method == 0:
                skipped = struct.unpack_from("<26xHH", data, local)
                start = local + 30 + sum(skipped)
                return data[start : start + size]
            at += 46 + length + extra + comment
    except struct.error as error:
        raise ArtifactError(f"its spec cannot be unpacked ({error}): export it again") from error
    raise ArtifactError(f"it has no {name.decode()}: export it again")


def _onnx_entry(key: str, value: bytes) -> bytes:
    entry = b"\x0a" + _varint(len(key)) + key.encode() + b"\x12" + _varint(len(value)) + value
    return b"\x72" + _varint(len(entry)) + entry


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _onnx_metadata(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The (key, value) pairs of an ONNX file's metadata_props."""
    for number, entry in _fields(memoryview(data)):
        if number == _ONNX_METADATA_FIELD:
            pair = dict(_fields(entry))
            yield bytes(pair.get(1, b"")), bytes(pair.get(2, b""))


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The length-delimited fields of a protobuf message; others are stepped over.

    Wire format: https://protobuf.dev/programming-guides/encoding/
    """
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    try:
        while at < len(message):
            tag = varint()
            match tag & 7:
                case 0:
                    varint()
                case 1:
                    at += 8
                case 2:
                    size = varint()
                    if at + size > len(message):
                        raise IndexError
                    yield tag >> 3, message[at : at + size]
                    at += size
                case 5:
                    at += 4
                case _:
                    raise IndexError
    except IndexError:
        raise ArtifactError("it is not a protobuf message: export it again") from None
