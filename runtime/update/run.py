"""Replace the model of a running device, if the new model is signed and passes its self-test.

`digit-edge update` calls `update` to install a model, and `rollback` to return to the previous one.

The installed file is a complete, tested model at all times, even after a power cut. The new model
is downloaded and tested under a temporary name. The old model gets a second name (a hard link).
Then one `rename` replaces the installed file.
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
_MAX_SIGNATURE_BYTES = 1 << 10  # a larger signature file at a URL is rejected
_SUFFIXES = (".tflite", ".onnx")  # suffixes of models; other files are rejected

# The names of temporary files begin with this text. A power cut may leave temporary files behind;
# the next update of a model in this folder removes them.
_TEMPORARY_PREFIX = ".update-"
_SHOWN_DIGEST_CHARACTERS = 12  # first characters of a digest (64 hex characters) in messages


class SelfTestFailed(EdgeError):
    """A model fails its self-test on this machine."""

    exit_code = CHECK_FAILED


def update(source: str, into: Path, keys: Path | None, allow_unsigned: bool = False) -> list[str]:
    """Install a model, if its signature and digest are valid and its self-test passes.

    The replaced model is kept as the previous model: `x.previous.tflite` beside `x.tflite`.

    Args:
        source: a .tflite or .onnx file, or its http(s) URL. The signature is read from the same
            path or URL with the suffix `.sig` appended.
        into: the model to replace, or a folder, in which the model keeps its file name. A path
            without a suffix is a folder. A missing folder is created.
        keys: the folder of trusted keys; None uses the folder `keys` beside the installed model.
        allow_unsigned: accept a model without a signature; an invalid signature is always rejected.

    Returns:
        Lines for the user that describe the result. If the same model is already installed, nothing
        changes.

    Raises:
        SignatureError: there is no signature, or the signature was not made with a trusted key.
        SelfTestFailed: the self-test fails; the model before stays installed.
        ArtifactError: the new model is damaged.
        EdgeError: the source cannot be read, is too large or has another format than `into`. Also
            if the folder cannot be written, or if another update of the folder is running.
    """
    name = _name(source)
    target = into / name if _is_folder(into) else into
    if target.suffix != Path(name).suffix:
        raise EdgeError(
            f"{name} cannot replace {target}: the formats differ; pass --model a folder or a "
            f"{Path(name).suffix} file"
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
    """Swap a model with the previous model. Signatures are not checked.

    Args:
        into: the model, or a folder in which exactly one model has a previous model.

    Returns:
        Lines for the user that describe the result.

    Raises:
        ArtifactError: there is no previous model, or the previous model is damaged.
        SelfTestFailed: the previous model fails its self-test.
        EdgeError: no model or several models of the folder have a previous model. Also if the
            folder cannot be written, or if another update of the folder is running.
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
    return [f"{target}: the previous model is installed again; the replaced model is {kept}"]


def _with_previous(folder: Path) -> Path:
    """Return the only model of a folder that has a previous model.

    Raises:
        EdgeError: the folder contains no such model, or several.
    """
    models = [path for path in folder.glob("*") if path.suffix in _SUFFIXES]
    candidates = sorted(path for path in models if previous(path).exists())
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise EdgeError(
            f"--back: no model in {folder} has a previous one; pass --model the folder, or the "
            "model, that digit-edge update wrote"
        )
    names = ", ".join(path.name for path in candidates)
    raise EdgeError(
        f"--back: which model of {folder}? Models with a previous one: {names}; pass --model FILE"
    )


def _temporary_name(target: Path) -> Path:
    return target.with_name(f"{_TEMPORARY_PREFIX}{os.urandom(4).hex()}{target.suffix}")


def _install(new: Path, target: Path, source: str, folder: int) -> list[str]:
    """Test a model and install it; keep the replaced model as the previous model.

    Args:
        new: path of the new model, under a temporary name.
        target: the file to replace.
        source: name of the new model in error messages.
        folder: descriptor of the folder of `target`.

    Returns:
        Lines for the user that describe the result.

    Raises:
        SelfTestFailed: the new model fails its self-test.
        ArtifactError: the new model is damaged.
    """
    digest = _run_selftest(new, source)
    current_digest = _digest(target)
    if current_digest == digest:
        shown = digest[:_SHOWN_DIGEST_CHARACTERS]
        return [f"{target}: this model is already installed, digest {shown}…"]
    kept = previous(target)
    if current_digest is not None:  # a damaged model must not replace a good previous model
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
    shown = digest[:_SHOWN_DIGEST_CHARACTERS]
    lines = [f"{target}: digest {shown}…, self-test passed, installed"]
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
    try:
        opened = artifact.read(path)
    except ArtifactError as error:
        raise ArtifactError(str(error).replace(str(path), name)) from error
    report = selftest(path)
    passed = bool(report)
    if not passed:
        raise SelfTestFailed(report.failures().replace(str(path), name))
    return opened.spec.digest


def _digest(path: Path) -> str | None:
    """Return a model's digest; None if the model is missing or damaged."""
    try:
        return artifact.read(path).spec.digest
    except ArtifactError:
        return None


def _replace(new: Path, target: Path, folder: int) -> None:
    """Rename a file so that a power cut loses neither its content nor its name.

    Args:
        new: the file to rename.
        target: the new name; an existing file is replaced.
        folder: descriptor of the folder that contains both.
    """
    with open(new, "rb") as file:
        os.fsync(file.fileno())
    os.replace(new, target)
    os.fsync(folder)


def _link(path: Path, name: Path) -> None:
    """Create a hard link to a file, or a copy if the file system does not support hard links.

    Args:
        path: the file; a symbolic link is followed.
        name: path of the hard link; an existing file is replaced.
    """
    with suppress(FileNotFoundError):
        name.unlink()
    path = path.resolve()
    try:
        os.link(path, name)
    except OSError:
        shutil.copyfile(path, name)


def _fetch(source: str, new: Path) -> bytes | None:
    """Copy or download a model; return the signature, or None if there is no signature file.

    Args:
        source: a file or an http(s) URL.
        new: the file to write.

    Raises:
        EdgeError: the source or the signature cannot be read or is too large.
    """
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
        unreadable = source if error.filename == str(path) else error.filename
        raise EdgeError(
            f"cannot read {unreadable}: {error.strerror or error}; pass a model file, or its "
            "http:// or https:// URL"
        ) from error
    if data is None:
        raise EdgeError(
            f"{source} is larger than {MAX_BYTES >> 20} MiB, so it is not a model of this project; "
            "check the file name"
        )
    new.write_bytes(data)
    return signature


def _check_signature(
    new: Path, signature: bytes | None, keys: Path | None, allow_unsigned: bool, source: str
) -> str:
    """Check the signature of a model; return a description of the signer, for the user.

    Args:
        new: the model.
        signature: the signature, or None.
        keys: see `update`.
        allow_unsigned: see `update`.
        source: name of the model in error messages.

    Raises:
        SignatureError: the model is not signed, or not with a trusted key.
    """
    if signature is None:
        if allow_unsigned:
            return "not signed, accepted because of --allow-unsigned"
        raise signing.SignatureError(
            f"{source} is not signed: {source}.sig is missing; sign it with digit-edge "
            "sign sign, or pass --allow-unsigned"
        )
    try:
        name = signing.verify(new.read_bytes(), signature, keys or new.parent / "keys")
    except signing.SignatureError as error:
        raise signing.SignatureError(f"{source}: {error}") from error
    return f"signed by {name}"


def _name(source: str) -> str:
    """Return the file name of a path or URL.

    Raises:
        EdgeError: the URL is invalid, or the name does not end with .tflite or .onnx.
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
    """Return whether a path is a folder, or has no suffix and so names a folder to create."""
    return into.is_dir() or not into.suffix


def _is_url(source: str) -> bool:
    return source.startswith(("http://", "https://"))


@contextmanager
def _folder(path: Path) -> Iterator[int]:
    """Create and lock a folder; yield its descriptor.

    Temporary files of interrupted updates are removed.

    Raises:
        EdgeError: the folder cannot be created or opened, or another update of the folder is
            running.
    """
    import fcntl  # here, because Windows does not have this module, and --help works on Windows

    try:
        path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise EdgeError(
            f"cannot write into {path}: {error.strerror or error}; pass --model another folder, or "
            "check its permissions"
        ) from error
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
