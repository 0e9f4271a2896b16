"""Exports an artifact as C: the work of `python -m export.c`."""

from pathlib import Path

from export.c.source import CSource, write_c
from runtime.backends import open_backend
from runtime.errors import printable
from runtime.model import artifact
from runtime.system import atomic_write


def export(model: Path, out: Path) -> list[str]:
    """Write the C files of an artifact into a folder.

    Returns:
        What was written, in lines to print.

    Raises:
        ArtifactError: the artifact is not an int8 .tflite file that can be written as C.
        BackendUnavailable: LiteRT, which checks it, is not installed.
        EdgeError: the folder cannot be written.
    """
    source = read(model)
    for suffix, text in ((".h", source.header), (".c", source.code)):
        atomic_write.write(out / f"{source.name}{suffix}", text)
    where = printable(str(out / source.name))
    return [
        f"{where}.c, {where}.h: {source.constants / 1000:.0f} KB of constants, "
        f"{source.workspace:,} bytes of workspace, "
        f"{source.multiplications / 1e6:.2f} million multiplications an image",
    ]


def read(model: Path) -> CSource:
    """Return an artifact as C, after LiteRT opened it.

    Raises:
        ArtifactError: the artifact is not an int8 .tflite file that can be written as C.
        BackendUnavailable: LiteRT is not installed.
    """
    opened = artifact.read(model)
    source = write_c(opened)
    open_backend(opened, "litert")
    return source
