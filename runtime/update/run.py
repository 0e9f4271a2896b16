"""Replace the model of a running device, if the new model is signed and passes its self-test.

`digit-edge update` calls `update` to install a model, and `rollback` to return to the previous one.

The installed file is a complete, tested model at all times, even after a power cut. The new model
is downloaded into memory, checked and tested there, and then written under a temporary name. The
old model gets a second name (a hard link). Then one `rename` replaces the installed file.

Beside the model `x.tflite`, `x.tflite.version` contains the highest version that was ever installed
there. Otherwise a server could bring back any older model, whose signature remains valid.
"""

import filecmp
import os
import shutil
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runtime import signing
from runtime.errors import CHECK_FAILED, ArtifactError, EdgeError
from runtime.model import artifact
from runtime.model.artifact import Artifact
from runtime.reload import previous
from runtime.selftest import selftest_artifact
from runtime.signing import Signer
from runtime.system.atomic_write import exchange, keep_mode
from runtime.update.download import NotFound, fetch

MAX_BYTES = 64 << 20  # a larger model is rejected
_MAX_SIGNATURE_BYTES = 1 << 10  # a larger signature file at a URL is rejected
_SUFFIXES = (".tflite", ".onnx")  # suffixes of models; other files are rejected

# The names of temporary files begin with this text. A power cut may leave temporary files behind;
# the next update of a model in this folder removes them.
_TEMPORARY_PREFIX = ".update-"
# Prefix of a second name of the model during a rollback; then follows the name of the previous
# model. Used if the file system cannot swap two files in one step.
_SWAP_PREFIX = ".update-swap-"
_SHOWN_DIGEST_CHARACTERS = 12  # first characters of a digest (64 hex characters) in messages


class OlderModelError(EdgeError):
    """A model has a lower version than a model that was installed before."""

    exit_code = CHECK_FAILED


class SelfTestFailed(EdgeError):
    """A model fails its self-test on this machine."""

    exit_code = CHECK_FAILED


def update(
    source: str,
    into: Path,
    keys: Path | None,
    allow_unsigned: bool = False,
    allow_older: bool = False,
) -> list[str]:
    """Install a model, if its signature and digest are valid and its self-test passes.

    The replaced model is kept as the previous model: `x.previous.tflite` beside `x.tflite`. The new
    one gets the mode and the owner of the replaced one.

    Args:
        source: a .tflite or .onnx file, or its http(s) URL. The signature is read from the same
            path or URL with the suffix `.sig` appended.
        into: the model to replace, or a folder, in which the model keeps its file name. A path
            without a suffix is a folder. A missing folder is created.
        keys: the folder of trusted keys; None uses the folder `keys` beside the installed model.
        allow_unsigned: accept a model without a signature, which has no version; an invalid
            signature is always rejected.
        allow_older: accept a lower version than that of a model installed before.

    Returns:
        Lines for the user that describe the result. If the same model is already installed, nothing
        changes.

    Raises:
        SignatureError: there is no signature, or the signature was not made with a trusted key.
        OlderModelError: a model with a higher version was installed before.
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
        try:
            # Read once: the bytes that are checked and tested are the ones that are installed.
            data, signature = _fetch(source)
            signer = _check_signature(
                data, signature, keys or target.parent / "keys", allow_unsigned, source
            )
            opened = artifact.parse(Path(name if _is_url(source) else source), data)
            version = None if signer is None else signer.version
            if version is not None and not allow_older:
                _check_version(target, version, source)
            lines = [f"{name}: {_describe(signer)}"]
            return lines + _install(opened, version, target, folder)
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
        _run_selftest(artifact.read(kept))
        try:
            _swap(target, kept, folder)
        except OSError as error:
            raise EdgeError(
                f"cannot write {target}: {error.strerror or error}; "
                "check the folder, its permissions and the space left"
            ) from error
        finally:
            _remove_temporary(target.parent)
    return [f"{target}: the previous model is installed again; the replaced model is {kept}"]


def _swap(target: Path, kept: Path, folder: int) -> None:
    """Swap the model with the previous one, so that a kill at any time loses neither.

    Args:
        target: the model; if it is missing, the previous model gets a second name.
        kept: the previous model.
        folder: descriptor of the folder that contains both.
    """
    for path in (target, kept):
        with suppress(FileNotFoundError), open(path, "rb") as file:
            os.fsync(file.fileno())
    if target.exists():
        if exchange(target, kept):
            os.fsync(folder)
            return
        swapped = target.with_name(f"{_SWAP_PREFIX}{kept.name}")
        _link(target, swapped)
    link = _temporary_name(target)
    _link(kept, link)
    _replace(link, target, folder)
    _finish_swaps(target.parent)


def _finish_swaps(folder: Path) -> None:
    """Give replaced models their name as the previous model; a killed rollback left them."""
    for swapped in folder.glob(f"{_SWAP_PREFIX}*"):
        kept = folder / swapped.name.removeprefix(_SWAP_PREFIX)
        target = kept.with_name(kept.name.replace(".previous", "", 1))
        if kept.exists() and target.exists() and filecmp.cmp(kept, target, shallow=False):
            os.replace(swapped, kept)


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


def _install(opened: Artifact, version: int | None, target: Path, folder: int) -> list[str]:
    """Test a model and install it; keep the replaced model as the previous model.

    Args:
        opened: the new model.
        version: the version in its signature; None if it is not signed.
        target: the file to replace.
        folder: descriptor of the folder of `target`.

    Returns:
        Lines for the user that describe the result.

    Raises:
        SelfTestFailed: the new model fails its self-test.
    """
    _run_selftest(opened)
    digest = opened.spec.digest
    shown = digest[:_SHOWN_DIGEST_CHARACTERS]
    current_digest = _digest(target)
    # Before the model: a kill in between must not leave a new model with an old version.
    _write_version(target, version, folder)
    if current_digest == digest:
        return [f"{target}: this model is already installed, digest {shown}…"]
    kept, new = previous(target), _temporary_name(target)
    new.write_bytes(opened.data)
    keep_mode(target, new)
    if current_digest is not None:  # a damaged model must not replace a good previous model
        link = _temporary_name(target)
        _link(target, link)
        _replace(link, kept, folder)
    _replace(new, target, folder)
    try:
        _run_selftest(artifact.read(target))
    except EdgeError as error:
        if not kept.exists():
            target.unlink()
            raise SelfTestFailed(f"{error}; the new model was removed again") from error
        _link(kept, new)
        _replace(new, target, folder)
        raise SelfTestFailed(f"{error}; the previous model is installed again") from error
    lines = [f"{target}: digest {shown}…, self-test passed, installed"]
    return lines + ([f"{kept}: the previous model; --back returns to it"] if kept.exists() else [])


def _run_selftest(opened: Artifact) -> None:
    """Test a model on this machine.

    Raises:
        SelfTestFailed: the self-test fails.
    """
    report = selftest_artifact(opened)
    passed = bool(report)
    if not passed:
        raise SelfTestFailed(report.failures())


def _version_file(target: Path) -> Path:
    return target.with_name(f"{target.name}.version")


def _check_version(target: Path, version: int, source: str) -> None:
    """Check that no model with a higher version was installed before.

    Args:
        target: the model to replace.
        version: version of the new model.
        source: name of the new model in error messages.

    Raises:
        OlderModelError: a higher version was installed, or the record is damaged.
    """
    file = _version_file(target)
    try:
        text = file.read_text("ascii", "replace").strip()
    except FileNotFoundError:
        return
    if not text.isdecimal() or len(text) > len(str(signing.MAX_VERSION)):
        raise OlderModelError(
            f"{file} does not contain a version, so an older model cannot be recognized: pass "
            "--allow-older to install the model and replace this file"
        )
    if version < int(text):
        raise OlderModelError(
            f"{source} has version {version}, but version {text} was installed before: pass a "
            "newer model, or --allow-older"
        )


def _write_version(target: Path, version: int | None, folder: int) -> None:
    """Record the version of a model; one without a signature keeps the record."""
    file = _version_file(target)
    if version is None or (version == 0 and not file.exists()):
        return
    new = _temporary_name(target)
    new.write_text(f"{version}\n")
    keep_mode(file, new)
    _replace(new, file, folder)


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
        keep_mode(path, name)


def _fetch(source: str) -> tuple[bytes, bytes | None]:
    """Read or download a model and its signature; None if there is no signature file.

    Args:
        source: a file or an http(s) URL.

    Raises:
        EdgeError: the source or the signature cannot be read or is too large.
    """
    if _is_url(source):
        data = fetch(source, MAX_BYTES)
        url = urllib.parse.urlsplit(source)
        signature_url = url._replace(path=f"{url.path}.sig").geturl()
        try:
            return data, fetch(signature_url, _MAX_SIGNATURE_BYTES)
        except NotFound:
            return data, None
    data = _read(source, MAX_BYTES)
    has_signature = signing.signature_of(Path(source)).exists()
    return data, _read(f"{source}.sig", _MAX_SIGNATURE_BYTES) if has_signature else None


def _read(path: str, limit: int) -> bytes:
    """Return the content of a file of at most `limit` bytes.

    Raises:
        EdgeError: the file cannot be read, or is too large.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise EdgeError(
            f"cannot read {path}: {error.strerror or error}; pass a model file, or its "
            "http:// or https:// URL"
        ) from error
    if len(data) > limit:
        raise EdgeError(
            f"{path} is larger than {limit >> 10} KiB, so it is not a file of this project; check "
            "the file name"
        )
    return data


def _check_signature(
    data: bytes, signature: bytes | None, keys: Path, allow_unsigned: bool, source: str
) -> Signer | None:
    """Check the signature of a model; return the signer, or None if there is no signature.

    Args:
        data: the model.
        signature: the signature, or None.
        keys: the folder of trusted keys.
        allow_unsigned: see `update`.
        source: name of the model in error messages.

    Raises:
        SignatureError: the model is not signed, or not with a trusted key.
    """
    if signature is None:
        if allow_unsigned:
            return None
        raise signing.SignatureError(
            f"{source} is not signed: {source}.sig is missing; sign it with digit-edge "
            "sign sign, or pass --allow-unsigned"
        )
    try:
        return signing.verify(data, signature, keys)
    except signing.SignatureError as error:
        raise signing.SignatureError(f"{source}: {error}") from error


def _describe(signer: Signer | None) -> str:
    """Return who signed a model, for the user."""
    if signer is None:
        return "not signed, accepted because of --allow-unsigned"
    if signer.version == 0:
        return f"signed by {signer.key}, without a version"
    return f"signed by {signer.key}, version {signer.version}"


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
        with suppress(OSError):
            _finish_swaps(path)
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
