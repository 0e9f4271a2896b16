"""Replace the model of a running device atomically, if it is signed and passes its self-test.

The target file is a complete, tested model at all times, even after a power cut: the new model is
fetched and tested under a temporary name, the old one gets a hard link, and one `rename` replaces
the target. `update` installs a model, `rollback` swaps it with the previous one.
"""

import os
import shutil
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runtime import signing
from runtime.errors import CHECK_FAILED, ArtifactError, EdgeError
from runtime.model import artifact
from runtime.reload import previous
from runtime.selftest import selftest
from runtime.update.download import NotFound, fetch

MAX_BYTES = 64 << 20  # a larger model is rejected
_MAX_SIGNATURE_BYTES = 1 << 10  # a larger signature is not downloaded
_SUFFIXES = (".tflite", ".onnx")
# Temporary files begin with this. A power cut may leave some; the next update removes them.
_TEMPORARY_PREFIX = ".update-"


class SelfTestFailed(EdgeError):
    """A model fails its self-test on this machine."""

    exit_code = CHECK_FAILED


def update(source: str, into: Path, keys: Path | None, allow_unsigned: bool = False) -> list[str]:
    """Install a model, if its signature and digest are valid and it passes its self-test.

    Args:
        source: a file, or an http(s) URL; the signature has the same name plus `.sig`.
        into: the model to replace, or a folder, in which the model keeps its file name.
        keys: the folder of trusted keys; None for the folder `keys` beside the target.
        allow_unsigned: accept a model without a signature; an invalid signature is always rejected.

    Returns:
        Lines for the user that describe the result.

    Raises:
        SignatureError: there is no signature, or it is not by a trusted key.
        SelfTestFailed: the self-test fails; the previous model stays installed.
        ArtifactError: the model is damaged.
        EdgeError: the source cannot be read, or the folder cannot be written.
    """
    name = _name(source)
    target = into / name if _is_folder(into) else into
    if target.suffix != Path(name).suffix:
        raise EdgeError(
            f"{name} cannot replace {target}: the formats differ; pass a {target.suffix} model"
        )
    with _folder(target.parent) as folder:
        new = _temporary_name(target)
        try:
            signature = _fetch(source, new)
            signer = _check_signature(new, signature, keys, allow_unsigned, source)
            return [f"{name}: {signer}", *_install(new, target, source, folder)]
        except OSError as error:
            raise EdgeError(
                f"cannot write {target}: {error.strerror or error}; "
                "check the folder, its permissions and the space left"
            ) from error
        finally:
            _remove_temporary(target.parent)


def rollback(into: Path) -> list[str]:
    """Swap a model with the previous one.

    Args:
        into: the model, or a folder that contains exactly one model with a previous one.

    Returns:
        Lines for the user that describe the result.

    Raises:
        ArtifactError: there is no previous model, or it is damaged.
        SelfTestFailed: the previous model fails its self-test.
        EdgeError: the folder contains no model with a previous one, or several, or it cannot be
            written.
    """
    target = _with_previous(into) if _is_folder(into) else into
    kept = previous(target)
    with _folder(target.parent) as folder:
        _run_selftest(kept, str(kept))
        kept_link, current_link = _temporary_name(target), _temporary_name(target)
        try:
            _link(kept, kept_link)
            if target.exists():
                _link(target, current_link)
            _replace(kept_link, target, folder)
            if current_link.exists():
                _replace(current_link, kept, folder)
        except OSError as error:
            raise EdgeError(
                f"cannot write {target}: {error.strerror or error}; "
                "check the folder, its permissions and the space left"
            ) from error
        finally:
            _remove_temporary(target.parent)
    return [f"{target}: the previous model is installed again; the other one is {kept}"]


def _with_previous(folder: Path) -> Path:
    """Return the only model of a folder that has a previous one.

    Raises:
        EdgeError: the folder contains no such model, or several.
    """
    models = [path for path in folder.glob("*") if path.suffix in _SUFFIXES]
    candidates = sorted(path for path in models if previous(path).exists())
    if len(candidates) == 1:
        return candidates[0]
    names = ", ".join(path.name for path in candidates) or "none"
    raise EdgeError(
        f"--back: which model of {folder}? Models with a previous one: {names}; pass --model FILE"
    )


def _temporary_name(target: Path) -> Path:
    return target.with_name(f"{_TEMPORARY_PREFIX}{os.urandom(4).hex()}{target.suffix}")


def _install(new: Path, target: Path, source: str, folder: int) -> list[str]:
    """Test `new` and replace `target` with it; keep the old target as the previous model."""
    digest = _run_selftest(new, source)
    current_digest = _digest(target)
    if current_digest == digest:
        return [f"{target}: this model is already installed, digest {digest[:12]}…"]
    kept = previous(target)
    if current_digest is not None:  # a damaged target does not replace a good previous model
        link = _temporary_name(target)
        _link(target, link)
        _replace(link, kept, folder)
    _replace(new, target, folder)
    try:
        _run_selftest(target, str(target))
    except EdgeError as error:
        if not kept.exists():
            target.unlink()
            raise SelfTestFailed(f"{error}; the new model was removed again") from error
        _link(kept, new)
        _replace(new, target, folder)
        raise SelfTestFailed(f"{error}; the previous model is installed again") from error
    lines = [f"{target}: digest {digest[:12]}…, self-test passed, installed"]
    return lines + ([f"{kept}: the previous model; --back returns to it"] if kept.exists() else [])


def _run_selftest(path: Path, name: str) -> str:
    """Return a model's digest, after its self-test.

    Args:
        path: the model.
        name: the name of the model in messages.

    Raises:
        SelfTestFailed: the self-test fails.
        ArtifactError: the model is damaged.
    """
    opened = artifact.read(path)
    report = selftest(path)
    if not report:
        raise SelfTestFailed(report.failures().replace(str(path), name))
    return opened.spec.digest


def _digest(path: Path) -> str | None:
    """Return a model's digest; None if it is missing or damaged."""
    try:
        return artifact.read(path).spec.digest
    except ArtifactError:
        return None


def _replace(new: Path, target: Path, folder: int) -> None:
    """Rename `new` to `target`, durably: the file reaches the disk before its name does.

    Args:
        new: the file to rename.
        target: its new name; an existing file is replaced.
        folder: descriptor of the folder of both.
    """
    with open(new, "rb") as file:
        os.fsync(file.fileno())
    os.replace(new, target)
    os.fsync(folder)


def _link(path: Path, name: Path) -> None:
    """Create a hard link to a file, or a copy if the file system does not support links."""
    with suppress(FileNotFoundError):
        name.unlink()
    path = path.resolve()
    try:
        os.link(path, name)
    except OSError:
        shutil.copyfile(path, name)


def _fetch(source: str, new: Path) -> bytes | None:
    """Copy or download the source to `new`; return its signature, or None if it has none."""
    if _is_url(source):
        fetch(source, new, MAX_BYTES)
        url = urllib.parse.urlsplit(source)
        signature_url = url._replace(path=f"{url.path}.sig").geturl()
        signature_path = new.with_name(f"{new.name}.sig")
        try:
            fetch(signature_url, signature_path, _MAX_SIGNATURE_BYTES)
        except NotFound:
            return None
        return signature_path.read_bytes()
    path = Path(source)
    try:
        data = path.read_bytes() if path.stat().st_size <= MAX_BYTES else None
        signature_path = signing.signature_of(path)
        signature = signature_path.read_bytes() if signature_path.exists() else None
    except OSError as error:
        raise EdgeError(f"cannot read {source}: {error.strerror or error}") from error
    if data is None:
        raise EdgeError(
            f"{source} is larger than {MAX_BYTES >> 20} MiB: not a model of this project; check "
            "the file name"
        )
    new.write_bytes(data)
    return signature


def _check_signature(
    new: Path, signature: bytes | None, keys: Path | None, allow_unsigned: bool, source: str
) -> str:
    """Return a description of the signer, for the user.

    Raises:
        SignatureError: the model is not signed, or not by a trusted key.
    """
    if signature is None:
        if allow_unsigned:
            return "not signed, accepted because of --allow-unsigned"
        raise signing.SignatureError(
            f"{source} is not signed: {source}.sig is missing; sign it with python -m "
            "runtime.signing sign, or pass --allow-unsigned"
        )
    try:
        name = signing.verify(new.read_bytes(), signature, keys or new.parent / "keys")
    except signing.SignatureError as error:
        raise signing.SignatureError(f"{source}: {error}") from error
    return f"signed by {name}"


def _name(source: str) -> str:
    """Return the file name of a path or URL.

    Raises:
        EdgeError: the URL is invalid, or the name is not that of a model.
    """
    try:
        path = urllib.parse.urlsplit(source).path if _is_url(source) else source
    except ValueError as error:
        raise EdgeError(f"{source}: invalid URL ({error}); check its spelling") from error
    name = Path(urllib.parse.unquote(path) if _is_url(source) else path).name
    if Path(name).suffix not in _SUFFIXES:
        raise EdgeError(f"{source} is not a model: pass a .tflite or .onnx file, or its URL")
    return name


def _is_folder(into: Path) -> bool:
    """Return whether `into` is a folder, or looks like one that does not exist yet."""
    return into.is_dir() or not into.suffix


def _is_url(source: str) -> bool:
    return source.startswith(("http://", "https://"))


@contextmanager
def _folder(path: Path) -> Iterator[int]:
    """Create and lock a folder, remove temporary files of interrupted updates, yield a descriptor.

    Raises:
        EdgeError: the folder cannot be written, or another update is running.
    """
    import fcntl  # late: Windows does not have it, but --help should work there

    try:
        path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise EdgeError(f"cannot write into {path}: {error.strerror or error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove_temporary(path)
        yield descriptor
    except BlockingIOError as error:
        raise EdgeError(f"another update of {path} is running: wait until it ends") from error
    finally:
        os.close(descriptor)


def _remove_temporary(folder: Path) -> None:
    for path in folder.glob(f"{_TEMPORARY_PREFIX}*"):
        with suppress(OSError):
            path.unlink()
