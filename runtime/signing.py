"""Make Ed25519 keys and sign model files with them.

`digit-edge update` checks the signature of a new model with `verify`, and rejects a model whose
signature is invalid, or whose version is lower than that of a model installed before. A signature
file, `FILE.sig`, has four lines:

    digit-edge signature 1
    version NUMBER
    sha256 DIGEST_OF_THE_FILE
    BASE64

The last line is the Ed25519 signature (RFC 8032) of the first three lines with their newlines. Keys
are PEM files, so OpenSSL 3 can make keys and check signatures too:

    head -n 3 FILE.sig > statement; tail -n 1 FILE.sig | base64 -d > signature
    openssl pkeyutl -verify -rawin -pubin -inkey NAME.pub -in statement -sigfile signature
    sha256sum FILE

Signature files of digit-edge 0.1 are the 64 bytes of Ed25519 over the whole file. They are still
valid, and their version is 0.
"""

import argparse
import base64
import hashlib
import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.cli.secret_file import warn_if_readable
from runtime.errors import CHECK_FAILED, EdgeError, printable
from runtime.model import artifact
from runtime.system import atomic_write

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )


MAX_VERSION = 10**18 - 1  # a higher version is rejected
_STATEMENT = "digit-edge signature 1\nversion {version}\nsha256 {sha256}\n"
_STATEMENT_START = b"digit-edge signature "  # no model file starts with these bytes
# A whole signature file; the groups are the statement, its version and digest, and the signature.
_SIGNATURE_FILE = re.compile(
    rb"(digit-edge signature 1\nversion (0|[1-9][0-9]{0,17})\nsha256 ([0-9a-f]{64})\n)"
    rb"([A-Za-z0-9+/]{86}==)\n"
)


class SignatureError(EdgeError):
    """The signature of a file is missing, or was not made with a trusted key."""

    exit_code = CHECK_FAILED


@dataclass(frozen=True)
class Signer:
    """Who signed a model, and as which version.

    Attributes:
        key: file name of the trusted key.
        version: the version in the signature; 0 in a signature of digit-edge 0.1.
    """

    key: str
    version: int


def make_key(name: Path) -> tuple[Path, Path]:
    """Make a key pair: the private `NAME.key`, readable by its owner only, and `NAME.pub`.

    Args:
        name: path of the key files without a suffix; the folder must exist or be creatable.

    Returns:
        The paths of the private and the public key.

    Raises:
        EdgeError: one of the files exists already or cannot be written, or the package
            cryptography is not installed.
    """
    _need_cryptography()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private, public = (name.with_name(f"{name.name}.{suffix}") for suffix in ("key", "pub"))
    for path in (private, public):
        if path.exists():
            raise EdgeError(f"{path} exists: choose another name, or remove this file")
    key = Ed25519PrivateKey.generate()
    private_pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public_pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    atomic_write.write(public, public_pem)
    try:
        descriptor = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(private_pem)
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        raise EdgeError(
            f"cannot write {private}: {error.strerror or error}; check the folder, its permissions "
            "and the space left"
        ) from error
    return private, public


def sign(model: Path, key: Path, version: int | None = None) -> Path:
    """Sign a model file with a private key; return the path of the signature, `MODEL.sig`.

    An existing signature is replaced.

    Args:
        model: the model file.
        key: a .key file of `make_key`, or another Ed25519 key in PEM without a password.
        version: version of the model, 0 to `MAX_VERSION`; None uses the current time in
            microseconds since 1970, so a model that is signed later has a higher version.

    Raises:
        ArtifactError: the model file is missing, damaged or lacks the metadata of this project.
        EdgeError: the version is out of range, the key cannot be read, the signature cannot be
            written, or the package cryptography is not installed.
    """
    if version is None:
        version = time.time_ns() // 1000
    if not 0 <= version <= MAX_VERSION:
        raise EdgeError(f"version {version} is not a number from 0 to {MAX_VERSION}: pass another")
    private = _read_private(key)
    digest = hashlib.sha256(artifact.read(model).data).hexdigest()
    statement = _STATEMENT.format(version=version, sha256=digest).encode()
    signature = base64.b64encode(private.sign(statement))
    path = signature_of(model)
    atomic_write.write(path, statement + signature + b"\n")
    return path


def signature_of(model: Path) -> Path:
    """Return the path of a model file's signature: `MODEL.sig`."""
    return model.with_name(f"{model.name}.sig")


def verify(data: bytes, signature: bytes, keys: Path) -> Signer:
    """Check a signature against all trusted keys and return the signer.

    Args:
        data: the signed bytes: the whole model file.
        signature: the content of the signature file; any other content is an invalid signature.
        keys: a folder with the trusted public keys, `*.pub`.

    Raises:
        SignatureError: no trusted key made the signature, it is of another file, or the folder is
            missing or has no keys.
        EdgeError: a key cannot be read, or the package cryptography is not installed.
    """
    _need_cryptography()
    from cryptography.exceptions import InvalidSignature

    trusted = sorted(keys.glob("*.pub"))
    if not trusted:
        raise SignatureError(f"no trusted keys in {keys}: put the signer's .pub file there")
    message, version = data, 0
    if signature.startswith(_STATEMENT_START):
        parts = _SIGNATURE_FILE.fullmatch(signature)
        if parts is None:
            raise SignatureError(
                "the signature file is damaged, so no trusted key made it: copy it again, or "
                "upgrade digit-edge"
            )
        if parts[3].decode() != hashlib.sha256(data).hexdigest():
            raise SignatureError(
                "the signature is that of another file, so the model is not trusted: copy the "
                "model and its .sig file again"
            )
        message, version = parts[1], int(parts[2])
        signature = base64.b64decode(parts[4])
    for path in trusted:
        try:
            _read_public(path).verify(signature, message)
        except InvalidSignature:
            continue
        return Signer(path.name, version)
    names = ", ".join(path.name for path in trusted)
    raise SignatureError(
        f"the signature was not made with a trusted key ({names} in {keys}): sign the model with "
        "one of these keys, or put the signer's .pub file into that folder"
    )


def _need_cryptography() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise EdgeError(
            f'cryptography is not installed ({error}): pip install "digit-edge[update]"'
        ) from error


def _read_private(path: Path) -> "Ed25519PrivateKey":
    _need_cryptography()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        key = serialization.load_pem_private_key(_read(path), None)
    except (ValueError, TypeError) as error:
        raise EdgeError(
            f"{path} is not a private key in PEM without a password: pass the .key file that "
            "digit-edge sign key made"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise EdgeError(f"{path} is not an Ed25519 key: make a key with digit-edge sign key")
    return key


def _read_public(path: Path) -> "Ed25519PublicKey":
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = serialization.load_pem_public_key(_read(path))
    except ValueError as error:
        raise EdgeError(
            f"{path} is not a public key in PEM: replace it with the signer's .pub file, or remove "
            "it"
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise EdgeError(f"{path} is not an Ed25519 key: remove this file")
    return key


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EdgeError(
            f"cannot read the key {path}: {error.strerror or error}; check the path, or make a key "
            "with digit-edge sign key"
        ) from error


def main(argv: list[str] | None = None) -> int:
    """Make a key pair or sign model files, and print the paths of the written files."""
    arguments = parse_args(argv)
    if arguments.action == "key":
        private, public = make_key(Path(arguments.name))
        print(printable(f"{private}: the private key; keep it off the device"))
        print(printable(f"{public}: put it into the folder `keys` beside the device's model"))
        return 0
    for model in arguments.models:
        print(printable(str(sign(Path(model), Path(arguments.key), arguments.model_version))))
    warn_if_readable(Path(arguments.key))
    return 0


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command's options."""
    parser = CommandParser(
        "digit-edge sign",
        "Make a key pair and sign model files, for digit-edge update.",
    )
    actions = parser.add_subparsers(
        dest="action", required=True, metavar="ACTION", help="what to do; ACTION --help says more"
    )
    key = actions.add_parser(
        "key", help="make a key pair", description="Make a key pair, NAME.key and NAME.pub."
    )
    key.add_argument("name", metavar="NAME", help="path of the key files, without the suffix")
    signing = actions.add_parser(
        "sign",
        help="sign model files",
        description="Sign each FILE, a model: write FILE.sig.",
    )
    signing.add_argument("key", metavar="KEY", help="the private key, a .key file")
    signing.add_argument(
        "--model-version",
        type=int,
        metavar="N",
        help="version of the models; a device rejects a lower version than it had before (default: "
        "the current time, so that a model signed later is newer)",
    )
    signing.add_argument("models", nargs="+", metavar="FILE", help="a model file")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_status(main))
