"""Exports an artifact as C: the work of `python -m export.c`."""

from pathlib import Path

from export.c.check import check
from export.c.source import write_c
from runtime.backends import open_backend
from runtime.errors import printable
from runtime.model import artifact
from runtime.system import atomic_write
from train.data.splits import Split


def export(model: Path, out: Path, images: Split | None = None) -> list[str]:
    """Write the C files of an artifact into a folder.

    Args:
        model: an int8 .tflite artifact.
        out: the folder; files of the same names in it are replaced.
        images: the C is compiled and compared with LiteRT on these, before it is written.

    Returns:
        What was written, in lines to print.

    Raises:
        ArtifactError: the artifact is not an int8 .tflite file that can be written as C.
        BackendUnavailable: LiteRT is not installed.
        ParityError: an answer of the C differs from LiteRT's.
        EdgeError: the folder cannot be written, or there is no compiler to check with.
    """
    opened = artifact.read(model)
    source = write_c(opened)
    open_backend(opened, "litert")  # refuses what is damaged, or takes another input than pixels
    checked = [] if images is None else [check(opened, source, images)]
    for suffix, text in ((".h", source.header), (".c", source.code)):
        atomic_write.write(out / f"{source.name}{suffix}", text)
    where = printable(str(out / source.name))
    return [
        f"{where}.c, {where}.h: {source.constants / 1000:.0f} KB of constants, "
        f"{source.workspace:,} bytes of workspace, "
        f"{source.multiplications / 1e6:.2f} million multiplications an image",
        *checked,
    ]
