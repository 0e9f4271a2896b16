"""Exports an artifact as C: the work of `digit-edge export-c`."""

from pathlib import Path

from export.c.check import check
from export.c.network import require_int8_tflite
from export.c.source import CSource, file_for, write_c
from runtime.backends import open_backend
from runtime.errors import printable
from runtime.model import artifact
from runtime.system import atomic_write
from train.data.splits import Split

LAYOUTS = ("files", "arduino", "cmake")


def export(model: Path, out: Path, layout: str = "files", images: Split | None = None) -> list[str]:
    """Write the C files of an artifact.

    Args:
        model: an int8 .tflite artifact.
        out: the folder; files of the same names in it are replaced.
        layout: "files" writes both files into the folder; "arduino" and "cmake" write a sketch or
            a CMake project, a folder named after the model in it.
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
    require_int8_tflite(opened)
    open_backend(opened, "litert")  # refuses what is damaged, or takes another input than pixels
    source = write_c(opened)
    checked = [] if images is None else [check(opened, source, images)]
    files = files_of(source, layout)
    for name, text in files.items():
        atomic_write.write(out / name, text)
    where = printable(", ".join(str(out / name) for name in files))
    return [
        f"{where}: {source.constants / 1000:.0f} KB of constants, "
        f"{source.workspace:,} bytes of workspace, "
        f"{source.multiplications / 1e6:.2f} million multiplications an image",
        *checked,
    ]


def files_of(source: CSource, layout: str) -> dict[str, str]:
    """Return the texts of a layout's files, by their names."""
    name = source.name
    if layout == "files":
        return {f"{name}.h": source.header, f"{name}.c": source.code}
    extra = {
        "arduino": {f"{name}.ino": "arduino.ino"},
        "cmake": {"main.c": "cmake_main.c", "CMakeLists.txt": "CMakeLists.txt"},
    }[layout]
    files = {f"{name}/{file}": text for file, text in files_of(source, "files").items()}
    return files | {f"{name}/{file}": file_for(source, piece) for file, piece in extra.items()}
