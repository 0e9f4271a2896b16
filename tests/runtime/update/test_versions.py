"""Signed versions: an older model is rejected, also with a signature of digit-edge 0.1."""

import base64
import hashlib
import subprocess
import sys

import pytest

from runtime.errors import EdgeError
from runtime.signing import MAX_VERSION, SignatureError, Signer, sign, verify
from runtime.update.run import OlderModelError, update

pytest.importorskip("cryptography", reason='needs cryptography: pip install "digit-edge[update]"')


def sign_like_0_1(model, key) -> None:
    """Write a signature of digit-edge 0.1: 64 bytes over the whole file."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    private = load_pem_private_key(key.read_bytes(), None)
    model.with_name(f"{model.name}.sig").write_bytes(private.sign(model.read_bytes()))


def recorded(device) -> str:
    return device.target.with_name(f"{device.target.name}.version").read_text()


def run(*arguments):
    command = [sys.executable, "-m", "runtime.update", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_model_signed_later_replaces_one_signed_earlier_but_not_the_reverse(device):
    assert run(device.new, "--model", device.target).returncode == 0  # signed after `old`
    done = run(device.old, "--model", device.target)
    assert (done.returncode, done.stdout) == (3, "")
    assert f"error: {device.old} has version " in done.stderr
    assert done.stderr.endswith("pass a newer model, or --allow-older\n")
    done = run(device.old, "--model", device.target, "--allow-older")
    assert done.returncode == 0


def test_chosen_versions_are_compared_as_numbers(device, maker):
    sign(device.new, maker, 9)
    sign(device.old, maker, 10)
    update(str(device.new), device.target, None)
    update(str(device.old), device.target, None)
    assert recorded(device) == "10\n"
    with pytest.raises(OlderModelError, match=r"has version 9, but version 10 was installed"):
        update(str(device.new), device.target, None)
    update(str(device.new), device.target, None, allow_older=True)
    assert recorded(device) == "9\n"


def test_version_stays_recorded_after_back(device):
    update(str(device.new), device.target, None)
    assert run("--back", "--model", device.target).returncode == 0
    with pytest.raises(OlderModelError):
        update(str(device.old), device.target, None)
    update(str(device.new), device.target, None)


def test_signature_of_0_1_is_valid_and_older_than_every_version(device, maker):
    sign_like_0_1(device.new, maker)
    assert "without a version" in update(str(device.new), device.target, None)[0]
    sign(device.old, maker, 1)
    update(str(device.old), device.target, None)
    with pytest.raises(OlderModelError, match="has version 0, but version 1 "):
        update(str(device.new), device.target, None)


def test_unsigned_model_keeps_the_recorded_version(device):
    update(str(device.new), device.target, None)
    before = recorded(device)
    device.old.with_name("old.tflite.sig").unlink()
    update(str(device.old), device.target, None, allow_unsigned=True)
    assert recorded(device) == before


@pytest.mark.parametrize("content", ["", "x", "-1", "9" * 30, "1 2"])
def test_damaged_record_of_the_version_is_named(device, content):
    file = device.target.with_name(f"{device.target.name}.version")
    file.write_text(content)
    with pytest.raises(OlderModelError, match=r"model\.tflite\.version does not contain a version"):
        update(str(device.new), device.target, None)
    update(str(device.new), device.target, None, allow_older=True)
    assert recorded(device).strip().isdecimal()


def test_version_is_covered_by_the_signature(device):
    signature = device.new.with_name("new.tflite.sig")
    lines = signature.read_text().splitlines()
    lines[1] = "version 999999999999999999"
    signature.write_text("\n".join(lines) + "\n")
    with pytest.raises(SignatureError, match="trusted key"):
        update(str(device.new), device.target, None)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.replace(b"version ", b"version 0"),
        lambda s: s.replace(b"version ", b"version +"),
        lambda s: s.replace(b"\n", b"\r\n"),
        lambda s: s + b"\n",
        lambda s: s[:-1],
        lambda s: s.replace(b"signature 1", b"signature 2"),
        lambda s: b"",
        lambda s: bytes(64),
        lambda s: bytes(1000),
    ],
)
def test_malformed_signature_is_rejected(device, change):
    signature = device.new.with_name("new.tflite.sig")
    signature.write_bytes(change(signature.read_bytes()))
    with pytest.raises(SignatureError, match="trusted key"):
        update(str(device.new), device.target, None)


@pytest.mark.parametrize("version", [-1, MAX_VERSION + 1])
def test_version_out_of_range_is_rejected(device, maker, version):
    with pytest.raises(EdgeError, match="is not a number from 0 to"):
        sign(device.new, maker, version)


def test_verify_returns_key_and_version(device, maker):
    sign(device.new, maker, 7)
    signature = device.new.with_name("new.tflite.sig").read_bytes()
    keys = device.target.parent / "keys"
    assert verify(device.new.read_bytes(), signature, keys) == Signer("maker.pub", 7)


def test_openssl_checks_the_signature_as_documented(device, maker, tmp_path):
    lines = device.new.with_name("new.tflite.sig").read_bytes().splitlines(keepends=True)
    (tmp_path / "statement").write_bytes(b"".join(lines[:3]))
    (tmp_path / "signature").write_bytes(base64.b64decode(lines[3]))
    command = f"openssl pkeyutl -verify -rawin -pubin -inkey {maker.with_suffix('.pub')}"
    done = subprocess.run(
        [*command.split(), "-in", "statement", "-sigfile", "signature"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert "Signature Verified Successfully" in done.stdout
    assert hashlib.sha256(device.new.read_bytes()).hexdigest() in lines[2].decode()
