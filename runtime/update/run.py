"""Replaces the model of a running device atomically, if it is signed and passes its self-test.

Whatever happens, a power cut at any moment included, the place holds a whole model that has passed
its self-test: a new one is fetched and proven under another name, the old one gets a second name,
and one `rename` switches.
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

MAX_BYTES = 64 << 20
_SUFFIXES = (".tflite", ".onnx")
# Names of what is not in its place yet; a power cut may leave some, the next update removes them.
_TEMPORARY = ".update-"


class SelfTestFailed(EdgeError):
    """The new model does not pass its self-test on this machine."""

    exit_code = CHECK_FAILED


def update(source: str, into: Path, keys: Path | None, allow_unsigned: bool = False) -> list[str]:
    """Put a model into its place when its signature, its digest and its self-test are right.

    Args:
        source: a file, or an http(s) URL; its signature has the same name with `.sig` behind it.
        into: the model's place, or a folder, where it gets the source's name.
        keys: the folder of trusted keys; without one, `keys` beside the model's place.
        allow_unsigned: take a model without a signature; a wrong one is never taken.

    Returns:
        What was done, in lines for a user.

    Raises:
        SignatureError: there is no signature, or none of a trusted key.
        SelfTestFailed: the self-test fails; the model before is in its place.
        ArtifactError, EdgeError: no such source, damaged, or a folder that cannot be written.
    """
    name = _name(source)
    target = into / name if _is_folder(into) else into
    if target.suffix != Path(name).suffix:
        raise EdgeError(f"{name} cannot take the place of {target}: a model of another format")
    with _folder(target.parent) as folder:
        new = target.with_name(f"{_TEMPORARY}{os.urandom(4).hex()}{target.suffix}")
        try:
            signature = _bring(source, new)
            done = [f"{name}: {_trusted(new, signature, keys, allow_unsigned, source)}"]
            return done + _install(new, target, source, folder)
        except OSError as error:
            raise EdgeError(
                f"cannot write {target}: {error.strerror or error}; "
                "check the folder, its permissions and the space left"
            ) from error
        finally:
            _clear(target.parent)


def rollback(into: Path) -> list[str]:
    """Swap a model with the one that was in its place before.

    Args:
        into: the model's place, or a folder with one model only that has one before it.

    Raises:
        ArtifactError: there is none, or it is damaged.
        SelfTestFailed: it does not pass its self-test.
        EdgeError: the folder has no such model, or several.
    """
    target = _with_previous(into) if _is_folder(into) else into
    kept = previous(target)
    with _folder(target.parent) as folder:
        _prove(kept, str(kept))
        back, away = (
            target.with_name(f"{_TEMPORARY}{os.urandom(4).hex()}{target.suffix}") for _ in range(2)
        )
        try:
            _second_name(kept, back)
            if target.exists():
                _second_name(target, away)
            _switch(back, target, folder)
            if away.exists():
                _switch(away, kept, folder)
        except OSError as error:
            raise EdgeError(f"cannot write {target}: {error.strerror or error}") from error
        finally:
            _clear(target.parent)
    return [f"{target}: the model before is back; the other one is {kept}"]


def _with_previous(folder: Path) -> Path:
    """The one model of a folder that has a model before it."""
    models = [path for path in folder.glob("*") if path.suffix in _SUFFIXES]
    found = sorted(path for path in models if previous(path).exists())
    if len(found) == 1:
        return found[0]
    names = ", ".join(path.name for path in found) or "none"
    raise EdgeError(
        f"--back: which model of {folder}? Those with the one before it beside it: {names}; "
        "give --into FILE"
    )


def _install(new: Path, target: Path, source: str, folder: int) -> list[str]:
    """Prove `new` and put it in the place of `target`, which is kept."""
    digest = _prove(new, source)
    current = _digest(target)
    if current == digest:
        return [f"{target}: is this model already, digest {digest[:12]}…"]
    kept = previous(target)
    if current is not None:  # a damaged one is not worth keeping, and what was kept before it is
        second = target.with_name(f"{_TEMPORARY}{os.urandom(4).hex()}{target.suffix}")
        _second_name(target, second)
        _switch(second, kept, folder)
    _switch(new, target, folder)
    try:
        _prove(target, str(target))
    except EdgeError as error:
        if not kept.exists():
            target.unlink()
            raise SelfTestFailed(f"{error}; it was removed again") from error
        _second_name(kept, new)
        _switch(new, target, folder)
        raise SelfTestFailed(f"{error}; the model before is back in its place") from error
    lines = [f"{target}: digest {digest[:12]}…, self-test passed, in its place"]
    return lines + ([f"{kept}: the model before; --back returns to it"] if kept.exists() else [])


def _prove(path: Path, shown: str) -> str:
    """Return a model's digest; raise SelfTestFailed if its self-test fails."""
    opened = artifact.read(path)
    report = selftest(path)
    if not report:
        raise SelfTestFailed(report.failures().replace(str(path), shown))
    return opened.spec.digest


def _digest(path: Path) -> str | None:
    try:
        return artifact.read(path).spec.digest
    except ArtifactError:
        return None


def _switch(new: Path, place: Path, folder: int) -> None:
    """Rename `new` over `place`; on the disk before this returns, first the file, then its name."""
    with open(new, "rb") as file:
        os.fsync(file.fileno())
    os.replace(new, place)
    os.fsync(folder)


def _second_name(path: Path, name: Path) -> None:
    """Give a file another name, or where the file system has no such thing, a copy."""
    with suppress(FileNotFoundError):
        name.unlink()
    path = path.resolve()
    try:
        os.link(path, name)
    except OSError:
        shutil.copyfile(path, name)


def _bring(source: str, new: Path) -> bytes | None:
    """Write the source's content to `new`; returns its signature, if it has one."""
    if _is_url(source):
        fetch(source, new, MAX_BYTES)
        address = urllib.parse.urlsplit(source)
        beside = new.with_name(f"{new.name}.sig")
        try:
            fetch(address._replace(path=f"{address.path}.sig").geturl(), beside, 1 << 10)
        except NotFound:
            return None
        return beside.read_bytes()
    path = Path(source)
    try:
        data = path.read_bytes() if path.stat().st_size <= MAX_BYTES else None
        signature = signing.signature_of(path)
        signed = signature.read_bytes() if signature.exists() else None
    except OSError as error:
        raise EdgeError(f"cannot read {source}: {error.strerror or error}") from error
    if data is None:
        raise EdgeError(f"{source} is larger than {MAX_BYTES >> 20} MiB: no such model")
    new.write_bytes(data)
    return signed


def _trusted(
    new: Path, signature: bytes | None, keys: Path | None, allow_unsigned: bool, source: str
) -> str:
    """Return who signed a model; raise SignatureError if it is not trusted."""
    if signature is None:
        if allow_unsigned:
            return "not signed, taken as --allow-unsigned says"
        raise signing.SignatureError(
            f"{source} is not signed: there is no {source}.sig; sign it with python -m "
            "runtime.signing sign, or take it with --allow-unsigned"
        )
    try:
        name = signing.verify(new.read_bytes(), signature, keys or new.parent / "keys")
    except signing.SignatureError as error:
        raise signing.SignatureError(f"{source}: {error}") from error
    return f"signed by {name}"


def _name(source: str) -> str:
    try:
        path = urllib.parse.urlsplit(source).path if _is_url(source) else source
    except ValueError as error:
        raise EdgeError(f"{source} is no address: {error}") from error
    name = Path(urllib.parse.unquote(path) if _is_url(source) else path).name
    if Path(name).suffix not in _SUFFIXES:
        raise EdgeError(f"{source} is no model's name: give a .tflite or .onnx file or its URL")
    return name


def _is_folder(into: Path) -> bool:
    return into.is_dir() or not into.suffix


def _is_url(source: str) -> bool:
    return source.startswith(("http://", "https://"))


@contextmanager
def _folder(path: Path) -> Iterator[int]:
    """A folder's descriptor, for one update at a time; what a broken one left is removed."""
    import fcntl  # not on Windows, where --help works all the same

    try:
        path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise EdgeError(f"cannot write into {path}: {error.strerror or error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _clear(path)
        yield descriptor
    except BlockingIOError as error:
        raise EdgeError(f"another update of {path} is under way: wait for its end") from error
    finally:
        os.close(descriptor)


def _clear(folder: Path) -> None:
    for path in folder.glob(f"{_TEMPORARY}*"):
        with suppress(OSError):
            path.unlink()
