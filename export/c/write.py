"""Write an artifact as C code, as an Arduino sketch, as a CMake project or as a program.

`digit-edge export-c` calls `export`.
"""

from pathlib import Path

from export.c.check import check
from export.c.network import require_int8_tflite
from export.c.source import CSource, file_for, write_c
from runtime.backends import open_backend
from runtime.errors import printable
from runtime.model import artifact
from runtime.system import atomic_write
from train.data.splits import Split

# Valid layouts: only the .c and the .h file, an Arduino sketch, a CMake project, or a program that
# classifies files.
LAYOUTS = ("files", "arduino", "cmake", "program")


def export(model: Path, out: Path, layout: str = "files", images: Split | None = None) -> list[str]:
    """Write the C files of an artifact.

    Args:
        model: an int8 .tflite artifact.
        out: the folder to write to; existing files with the same names are replaced.
        layout: an element of `LAYOUTS`. "files" writes the .c and the .h file into `out`.
            "arduino", "cmake" and "program" write a sketch, a project or a program into a
            subfolder of `out`, which is named after the model.
        images: test images; before writing, the C code is compiled with cc and its results on
            these images are compared with LiteRT's. None: no comparison.

    Returns:
        Lines to print: the written files and their costs, and the result of the comparison.

    Raises:
        ArtifactError: the artifact is not an int8 .tflite file, it is damaged, or a layer is not
            supported.
        BackendUnavailable: LiteRT is not installed.
        ParityError: a result of the C code differs from LiteRT's; nothing is written.
        EdgeError: a file cannot be written, or a C compiler is missing or fails.
    """
    opened = artifact.read(model)
    require_int8_tflite(opened)
    open_backend(opened, "litert")  # raises ArtifactError for a damaged file or for another input
    source = write_c(opened)
    checked = [] if images is None else [check(opened, source, images)]
    files = files_of(source, layout)
    for name, text in files.items():
        data = text.encode()
        if Path(name).name == f"{source.name}.c":
            data = artifact.embed(".c", data, opened.spec)  # an artifact for the engine native
        atomic_write.write(out / name, data)
    where = printable(", ".join(str(out / name) for name in files))
    return [
        f"{where}: {source.constants / 1000:.0f} KB of constants, "
        f"{source.workspace:,} bytes of workspace, "
        f"{source.multiplications / 1e6:.2f} million multiplications per image",
        *checked,
    ]


def files_of(source: CSource, layout: str) -> dict[str, str]:
    """Return the texts of all files of a layout, by file name relative to the output folder."""
    name = source.name
    if layout == "files":
        return {f"{name}.h": source.header, f"{name}.c": source.code}
    extra = {
        "arduino": {f"{name}.ino": "arduino.ino"},
        "program": {"main.c": "command_line.c"},
        "cmake": {"main.c": "cmake_main.c", "CMakeLists.txt": "CMakeLists.txt"},
    }[layout]
    files = {f"{name}/{file}": text for file, text in files_of(source, "files").items()}
    return files | {f"{name}/{file}": file_for(source, piece) for file, piece in extra.items()}
