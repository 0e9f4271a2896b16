"""Unpacks a ZIP archive with a data set into a temporary folder, within limits.

The folder is removed when the process ends.
"""

import atexit
import shutil
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from runtime.errors import DatasetError

SUFFIX = ".zip"
MAX_UNPACKED_BYTES = 4 << 30
_MAX_MEMBERS = 1_000_000
_MAX_RATIO = 1100  # of unpacked to packed bytes; Deflate reaches 1032
_CHUNK_BYTES = 1 << 20


def unpack(path: Path) -> Path:
    """Unpack an archive and return the folder of its members, which has the archive's name.

    Raises:
        DatasetError: the archive is damaged, encrypted or too large; or a member has a path outside
            the folder, is a link, or is packed by other methods than Deflate.
    """
    base = Path(tempfile.mkdtemp(prefix="digit-edge-"))
    atexit.register(shutil.rmtree, base, ignore_errors=True)
    folder = base / (path.stem or "archive")
    folder.mkdir()
    size = 0
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            _check(path, members)
            for member in members:
                target = folder.joinpath(*PurePosixPath(member.filename).parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, open(target, "xb") as file:
                    while chunk := source.read(_CHUNK_BYTES):
                        size += len(chunk)
                        if size > MAX_UNPACKED_BYTES:
                            raise _too_large(path)
                        file.write(chunk)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        raise DatasetError(
            f"{path} is damaged or encrypted ({error}); unpack it yourself"
        ) from None
    except (FileExistsError, NotADirectoryError):
        raise DatasetError(f"{path} contains two members of one name; unpack it yourself") from None
    return folder


def _too_large(path: Path) -> DatasetError:
    return DatasetError(
        f"{path} unpacks to more than {MAX_UNPACKED_BYTES >> 30} GiB; unpack it yourself and pass "
        "the folder"
    )


def _check(path: Path, members: list[zipfile.ZipInfo]) -> None:
    """Raise DatasetError if unpacking the members is not safe."""
    if len(members) > _MAX_MEMBERS or sum(m.file_size for m in members) > MAX_UNPACKED_BYTES:
        raise _too_large(path)
    for member in members:
        name = PurePosixPath(member.filename)
        unsafe = (
            name.is_absolute()
            or ".." in name.parts
            or "\\" in member.filename
            or ":" in member.filename
            or stat.S_ISLNK(member.external_attr >> 16)
        )
        if unsafe:
            raise DatasetError(
                f"{path}: the member {member.filename!r} leaves the folder or is a link; unpack it "
                "yourself and pass the folder"
            )
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DatasetError(
                f"{path} is not packed with Deflate; unpack it yourself and pass the folder"
            )
        if member.file_size > _MAX_RATIO * max(member.compress_size, 1):
            raise DatasetError(
                f"{path}: {member.filename!r} declares an impossible size; copy it again"
            )
