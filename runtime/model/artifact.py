"""Read and write artifacts: model files that contain their own metadata.

The metadata are the spec (`ModelSpec` as JSON), the labels and a digest. A `.tflite` or `.keras`
file stores spec and labels as members of a zip archive, as TFLite's own metadata does. An `.onnx`
file stores spec and labels in `metadata_props`, a `.c` file in comments at its end. The last 64
bytes of a file (of a `.c` file, the last before the end of the comment) are the digest: the SHA-256
of the whole file in hex. The digest is computed with these 64 bytes set to "0".

`train` and `export` write artifacts; every command that uses a model reads one. This module needs
the standard library only.
"""

import io
import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

try:
    # hashlib would load OpenSSL, which takes 3.6 MB and 3 ms at every start of a command.
    from _sha2 import sha256
except ImportError:
    try:
        from _sha256 import sha256  # before Python 3.12
    except ImportError:
        from hashlib import sha256

from runtime.errors import ArtifactError
from runtime.model import protobuf
from runtime.model.external_data import external_file
from runtime.model.spec import ModelSpec, check
from runtime.system import atomic_write

# Names of zip members, or of keys in an ONNX file's metadata_props.
SPEC_MEMBER = "model_spec.json"  # the spec as JSON
LABELS_MEMBER = "labels.txt"  # the labels, one a line, for other programs
MAX_FILE_BYTES = 256 << 20  # a larger file is rejected before it is read

# Suffix of a model format that is not supported → how to convert it.
_CONVERSIONS = {
    ".h5": "convert it with digit-edge export --model {path} --labels 0,1,2,…",
    ".hdf5": "convert it with digit-edge export --model {path} --labels 0,1,2,…",
    ".pt": "convert it with torch.onnx.export in the program that trained it",
    ".pth": "convert it with torch.onnx.export in the program that trained it",
    ".safetensors": "it has weights only; convert the model with torch.onnx.export",
    ".pb": "convert it with tf.lite.TFLiteConverter in the program that trained it",
    ".pkl": "convert it with skl2onnx in the program that trained it",
    ".joblib": "convert it with skl2onnx in the program that trained it",
}

_DIGEST_BYTES = 64  # length of the digest, a SHA-256 in hex, at the end of the file
_DIGEST_PLACEHOLDER = b"0" * _DIGEST_BYTES  # replaces the digest while the SHA-256 is computed
# A zip archive ends with a record (end of central directory) and a comment. The digest is the
# comment.
_ZIP_END_MAGIC = b"PK\x05\x06"  # start of this record
_ZIP_END_BYTES = 22  # size of this record without the comment
# An ONNX file ends with a protobuf entry of metadata_props, {1: "digest", 2: the digest}. These are
# the bytes of this entry before the digest.
_ONNX_DIGEST_ENTRY = b"\x72\x4a\x0a\x06digest\x12\x40"
# A C file ends with comments that contain the spec, the labels and the digest.
_C_COMMENT_START = b"\n/* "  # then the name of the member, a newline and its text
_C_COMMENT_END = b" */\n"
_ONNX_METADATA_FIELD = 14  # number of the field metadata_props in ONNX's ModelProto


@dataclass(frozen=True)
class Artifact:
    """A model file in memory.

    Attributes:
        path: path of the file.
        data: all bytes of the file.
        spec: the spec stored in the file.
    """

    path: Path
    data: bytes = field(repr=False)
    spec: ModelSpec

    @property
    def format(self) -> str:
        """The suffix of the file: `.tflite`, `.onnx`, `.c` or `.keras`."""
        return self.path.suffix


def read(path: str | os.PathLike[str]) -> Artifact:
    """Read an artifact; check the digest and then the spec.

    Args:
        path: a .tflite, .onnx, .c or .keras file of at most `MAX_FILE_BYTES`.

    Raises:
        ArtifactError: the file does not exist, is too large, is not a model, has no spec or an
            invalid one, or is damaged.
    """
    path = Path(path)
    return parse(path, _read_file(path))


def parse(path: Path, data: bytes) -> Artifact:
    """Return the artifact in the bytes of a file; check the digest and then the spec.

    Args:
        path: name of the file, for its suffix and for messages; the file is not read.
        data: all bytes of the file.

    Raises:
        ArtifactError: the bytes are not a model, have no spec or an invalid one, or are damaged. Or
            the model needs data from other files.
    """
    _check_format(path, data)
    digest = _stored_digest(path, data)
    if digest != _digest(data, path.suffix):
        raise ArtifactError(
            f"{path} is damaged: its SHA-256 differs from the one stored in it; copy or export the "
            "file again"
        )
    _check_complete(path, data)
    try:
        return Artifact(path, data, ModelSpec.from_json(_spec_text(path.suffix, data), digest))
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error.__cause__


def write(path: str | os.PathLike[str], model: bytes, spec: ModelSpec) -> Artifact:
    """Write a model with a spec to `path` atomically, and read the written file.

    The same model and spec always result in the same bytes.

    Args:
        path: the file to write, with the suffix .tflite, .onnx, .c or .keras of the model's format.
        model: bytes of a model file without a spec.
        spec: the spec to store.

    Returns:
        The artifact that was read from the written file.

    Raises:
        ArtifactError: the suffix is unknown, the model does not have this format, or the spec is
            invalid.
        EdgeError: the file cannot be written.
    """
    path = Path(path)
    check(spec)
    with atomic_write.atomic_file(path) as temporary:
        temporary.write_bytes(embed(path.suffix, model, spec))
        artifact = read(temporary)
    return replace(artifact, path=path)


def read_bare(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of a model file without a spec, which other tools made.

    A spec that `digit-edge export-spec` added is left out, so that it can be replaced.

    Args:
        path: a .tflite, .onnx or .keras file of at most `MAX_FILE_BYTES`.

    Raises:
        ArtifactError: the file does not exist, is too large, is not a model, or has a spec of this
            project's training.
    """
    path = Path(path)
    data = _read_file(path)
    if path.suffix == ".c":
        raise ArtifactError(
            f"{path}: only digit-edge export-c makes .c models; pass a .tflite, .onnx or .keras "
            "file"
        )
    _check_format(path, data)
    if not _has_digest(path.suffix, data):
        _check_complete(path, data)
        return data
    try:
        provenance = json.loads(_spec_text(path.suffix, data))["provenance"]
        elsewhere = dict(provenance).get("made") == "elsewhere"
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path} is damaged ({error!r}): copy the file again") from error
    if not elsewhere:
        raise ArtifactError(f"{path} has a spec already: use this file unchanged")
    return _without_spec(path.suffix, data)


def has_spec(path: str | os.PathLike[str]) -> bool:
    """Return whether a model file has a spec; the spec may be invalid.

    Raises:
        ArtifactError: the file does not exist, is too large or is not a model.
    """
    path = Path(path)
    data = _read_file(path)
    _check_format(path, data)
    return _has_digest(path.suffix, data)


def _without_spec(suffix: str, data: bytes) -> bytes:
    """Return the model that `embed` added a spec to."""
    if suffix == ".onnx":
        return data[: data.rindex(_onnx_entry(SPEC_MEMBER, _spec_text(suffix, data)))]
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [m for m in archive.infolist() if m.filename not in (SPEC_MEMBER, LABELS_MEMBER)]
        start = min(member.header_offset for member in archive.infolist())
        buffer = io.BytesIO(data[:start])
        if members:
            with zipfile.ZipFile(buffer, "a") as bare:
                for member in members:
                    bare.writestr(member, archive.read(member))
    return buffer.getvalue()


def embed(suffix: str, model: bytes, spec: ModelSpec) -> bytes:
    """Return the bytes of an artifact.

    Args:
        suffix: suffix of the format: ".tflite", ".onnx", ".c" or ".keras".
        model: bytes of a model file of this format without a spec; not checked.
        spec: the spec to store.
    """
    text, labels = spec.to_json().encode(), "\n".join(spec.labels).encode() + b"\n"
    if suffix == ".onnx":
        # metadata_props is a repeated protobuf field. Appending entries extends the field, so the
        # model need not be parsed.
        data = (
            model
            + _onnx_entry(SPEC_MEMBER, text)
            + _onnx_entry(LABELS_MEMBER, labels)
            + _onnx_entry("digest", _DIGEST_PLACEHOLDER)
        )
    elif suffix == ".c":
        data = (
            model
            + b"".join(
                _C_COMMENT_START + name.encode() + b"\n" + _inside_comment(content) + _C_COMMENT_END
                for name, content in ((SPEC_MEMBER, text), (LABELS_MEMBER, labels))
            )
            + _C_COMMENT_START
            + b"digest "
            + _DIGEST_PLACEHOLDER
            + _C_COMMENT_END
        )
    else:
        import zipfile  # here, because reading does not need it: see _zip_member

        buffer = io.BytesIO(model)
        with zipfile.ZipFile(buffer, "a") as archive:
            for member, content in ((SPEC_MEMBER, text), (LABELS_MEMBER, labels)):
                # A fixed date: the same model must result in the same bytes.
                archive.writestr(zipfile.ZipInfo(member, (1980, 1, 1, 0, 0, 0)), content)
            archive.comment = _DIGEST_PLACEHOLDER
        data = buffer.getvalue()
    head, _, tail = _split(suffix, data)
    return b"".join((head, _digest(data, suffix).encode(), tail))


def remedy(path: Path) -> str:
    """Return how to convert a model of a format that is not supported; empty if it is unknown."""
    if (path / "saved_model.pb").exists() or path.name == "saved_model.pb":
        return (
            "Keras 3 cannot open a SavedModel; save the model again with "
            'model.save("m.keras") in the program that trained it, or convert the folder with '
            "tf.lite.TFLiteConverter.from_saved_model and run digit-edge export-spec on the "
            ".tflite file"
        )
    return _CONVERSIONS.get(path.suffix.lower(), "").format(path=path)


def _read_file(path: Path) -> bytes:
    _check_suffix(path)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ArtifactError(
                f"{path} is larger than {MAX_FILE_BYTES >> 20} MiB: pass a smaller model"
            )
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"cannot read the model {path}: {error.strerror or error}; check the path, or make a "
            "model with digit-edge train and digit-edge export"
        ) from error


def _check_suffix(path: Path) -> None:
    if path.suffix not in (".tflite", ".onnx", ".c", ".keras"):
        way = remedy(path) or "pass a .tflite, .onnx, .c or .keras file"
        raise ArtifactError(f"{path} is not a model file: {way}")


def _check_format(path: Path, data: bytes) -> None:
    _check_suffix(path)
    magic = {
        ".tflite": data[4:8] == b"TFL3",
        ".onnx": data[:1] == b"\x08",
        ".c": data[:2] == b"/*",
        ".keras": data[:4] == b"PK\x03\x04",
    }
    if not magic[path.suffix]:
        raise ArtifactError(f"{path} is not a {path.suffix} model; copy or export it again")


def _check_complete(path: Path, data: bytes) -> None:
    """Check that a model needs no data from other files.

    Raises:
        ArtifactError: the model needs data from another file, or is damaged.
    """
    try:
        part = external_file(path.suffix, data)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from None
    if part is not None:
        raise ArtifactError(
            f"{path}: {part} is stored in another file, which the digest does not cover: save the "
            "model with all its data in one file"
        )


def _split(suffix: str, data: bytes) -> tuple[memoryview, memoryview, bytes]:
    """Split a file into the bytes before its digest, the digest, and the bytes after the digest."""
    tail = _C_COMMENT_END if suffix == ".c" else b""
    end = len(data) - len(tail)
    view = memoryview(data)
    return view[: end - _DIGEST_BYTES], view[end - _DIGEST_BYTES : end], tail


def _digest(data: bytes, suffix: str = "") -> str:
    head, _, tail = _split(suffix, data)
    hashed = sha256(head)
    hashed.update(_DIGEST_PLACEHOLDER + tail)
    return str(hashed.hexdigest())


def _inside_comment(text: bytes) -> bytes:
    """Write the slashes of a JSON text or of labels so that they cannot end a C comment."""
    return (
        text.replace(b"*/", b"*\\u002f").replace(b"/*", b"\\u002f*").replace(b"??/", b"??\\u002f")
    )


def _has_digest(suffix: str, data: bytes) -> bool:
    if suffix == ".onnx":
        return data[:-_DIGEST_BYTES].endswith(_ONNX_DIGEST_ENTRY)
    if suffix == ".c":
        head, _, tail = _split(suffix, data)
        return data.endswith(tail) and bytes(head[-11:]) == _C_COMMENT_START + b"digest "
    record = data[-_DIGEST_BYTES - _ZIP_END_BYTES : -_DIGEST_BYTES]
    # The record's last two bytes are the length of the comment.
    return record.startswith(_ZIP_END_MAGIC) and record.endswith(
        _DIGEST_BYTES.to_bytes(2, "little")
    )


def _stored_digest(path: Path, data: bytes) -> str:
    if not _has_digest(path.suffix, data):
        raise ArtifactError(
            f"{path} has no model spec: if the file was truncated, copy it again; if it was made "
            f"with other tools, run digit-edge export-spec {path} --labels 0,1,2,…"
        )
    return bytes(_split(path.suffix, data)[1]).decode("ascii", "replace")


def _spec_text(suffix: str, data: bytes) -> bytes:
    if suffix == ".onnx":
        for key, value in _onnx_metadata(data):
            if key == SPEC_MEMBER.encode():
                return value
        raise ArtifactError("the model has no spec in its metadata: export the model again")
    if suffix == ".c":
        # The last comment of this name, because a string of the model could contain the name.
        comment = data.rpartition(_C_COMMENT_START + SPEC_MEMBER.encode() + b"\n")[2]
        return comment.partition(_C_COMMENT_END)[0]
    return _zip_member(data, SPEC_MEMBER.encode())


def _zip_member(data: bytes, name: bytes) -> bytes:
    """Return an uncompressed member, as `embed` stores it, of the zip archive in `data`.

    `zipfile` is not imported, because the import takes 1.6 MB and 5 ms at every start of a command.
    Layout: section 4.3 of PKWARE's APPNOTE,
    https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT.

    Raises:
        ArtifactError: the archive is damaged or has no such member.
    """
    try:
        # Offset 10 in the last record: number of entries, size and position of the directory.
        count, entry = struct.unpack_from("<H4xI", data, len(data) - _DIGEST_BYTES - 12)
        for _ in range(count):
            # A central directory header: 46 bytes, then name, extra field and comment.
            method, size, name_length, extra, comment, local = struct.unpack_from(
                "<10xH12xIHHH8xI", data, entry
            )
            if data[entry + 46 : entry + 46 + name_length] == name and method == 0:
                # A local file header: 30 bytes, then name and extra field, then the content.
                local_name_and_extra = struct.unpack_from("<26xHH", data, local)
                start = local + 30 + sum(local_name_and_extra)
                return data[start : start + size]
            entry += 46 + name_length + extra + comment
    except struct.error as error:
        raise ArtifactError(
            f"the model's spec cannot be unpacked ({error}): export the model again"
        ) from error
    raise ArtifactError(f"the model has no member {name.decode()}: export the model again")


def _onnx_entry(key: str, value: bytes) -> bytes:
    """Return the protobuf bytes of one entry of metadata_props: {1: key, 2: value}."""
    entry = protobuf.field(1, key.encode()) + protobuf.field(2, value)
    return protobuf.field(_ONNX_METADATA_FIELD, entry)


def _onnx_metadata(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the (key, value) pairs of an ONNX file's metadata_props."""
    for number, entry in protobuf.fields(memoryview(data)):
        if number == _ONNX_METADATA_FIELD:
            pair = dict(protobuf.fields(entry))
            yield bytes(pair.get(1, b"")), bytes(pair.get(2, b""))
