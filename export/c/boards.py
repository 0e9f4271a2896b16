"""Compare the memory that a model's C code needs with the memory of microcontroller boards.

`digit-edge export-c --boards` prints `table`. The sizes are measured with the installed cross
compilers; the program does not run.
"""

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from export.c.source import CSource, file_for
from runtime.errors import EdgeError
from runtime.system import atomic_write


@dataclass(frozen=True)
class Board:
    """A microcontroller board.

    Attributes:
        name: product name.
        processor: processor type, a key of `COMPILERS`.
        flash_kib: size of the memory for code and constants.
        ram_kib: size of the memory for variables and stack.
        source: the vendor's document that states these sizes.
    """

    name: str
    processor: str
    flash_kib: int
    ram_kib: int
    source: str


@dataclass(frozen=True)
class Size:
    """Memory that a model needs on a processor, in bytes.

    Attributes:
        flash: code and constants, including the self-test.
        ram: workspace, pixels and result; the stack is not included.
        stack: largest stack of the classification and of the self-test.
    """

    flash: int
    ram: int
    stack: int


_MESSAGE_CHARACTERS = 1000  # an error message contains at most this much output, the end of it
_CORTEX_M = ("arm-none-eabi-gcc", "-mthumb")  # GCC for all Cortex-M processors
# GCC and its options for each processor. A processor whose compiler is missing is not measured.
COMPILERS: dict[str, tuple[str, ...]] = {
    "Cortex-M0": (*_CORTEX_M, "-mcpu=cortex-m0"),
    "Cortex-M0+": (*_CORTEX_M, "-mcpu=cortex-m0plus"),
    "Cortex-M3": (*_CORTEX_M, "-mcpu=cortex-m3"),
    "Cortex-M4": (*_CORTEX_M, "-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
    "Cortex-M7": (*_CORTEX_M, "-mcpu=cortex-m7", "-mfloat-abi=hard", "-mfpu=fpv5-d16"),
    "Cortex-M33": (*_CORTEX_M, "-mcpu=cortex-m33", "-mfloat-abi=hard"),
    "RV32IMC": ("riscv64-unknown-elf-gcc", "-march=rv32imc", "-mabi=ilp32"),
    "Xtensa LX7": ("xtensa-esp32s3-elf-gcc",),
}
# Board name, processor, flash in KiB, RAM in KiB, source.
BOARDS = (
    Board("BBC micro:bit V1", "Cortex-M0", 256, 16, "Nordic nRF51822 product specification"),
    Board("Arduino Zero", "Cortex-M0+", 256, 32, "Microchip SAM D21 data sheet"),
    Board("Raspberry Pi Pico", "Cortex-M0+", 2048, 264, "Raspberry Pi Pico datasheet"),
    Board("STM32F103C8 (Blue Pill)", "Cortex-M3", 64, 20, "ST STM32F103x8 data sheet"),
    Board("Arduino UNO R4 Minima", "Cortex-M4", 256, 32, "Renesas RA4M1 data sheet"),
    Board("STM32F411CE (Black Pill)", "Cortex-M4", 512, 128, "ST STM32F411xE data sheet"),
    Board("BBC micro:bit V2", "Cortex-M4", 512, 128, "Nordic nRF52833 product specification"),
    Board("Arduino Nano 33 BLE", "Cortex-M4", 1024, 256, "Nordic nRF52840 product specification"),
    Board("Teensy 4.0", "Cortex-M7", 1984, 1024, "PJRC Teensy 4.0 page"),
    Board("Raspberry Pi Pico 2", "Cortex-M33", 4096, 520, "Raspberry Pi Pico 2 datasheet"),
    Board("ESP32-C3-DevKitM-1", "RV32IMC", 4096, 400, "Espressif ESP32-C3 data sheet"),
    Board("ESP32-S3-DevKitC-1", "Xtensa LX7", 8192, 512, "Espressif ESP32-S3 data sheet"),
)


def table(source: CSource) -> list[str]:
    """Return a Markdown table: memory of each board, memory that the model needs, fits or not.

    A model fits if its flash fits into the flash, and the sum of its RAM and stack into the RAM. A
    board without an installed compiler gets the entry "size not measured".

    Args:
        source: the model.

    Returns:
        The lines of the table, an empty line and a line that explains the columns.

    Raises:
        EdgeError: a compiler reports an error.
    """
    sizes = {
        processor: measure(source, command)
        for processor, command in COMPILERS.items()
        if shutil.which(command[0])
    }
    lines = [
        "| board | processor | flash, KiB | RAM, KiB | flash used | RAM used | stack | fits | "
        "source |",
        "|---|---|---:|---:|---:|---:|---:|---|---|",
    ]
    for board in BOARDS:
        size = sizes.get(board.processor)
        cells = [board.name, board.processor, f"{board.flash_kib:,}", f"{board.ram_kib:,}"]
        if size is None:
            cells += [
                "size not measured",
                "",
                "",
                f"{COMPILERS[board.processor][0]} is not installed",
            ]
        else:
            fits = size.flash <= board.flash_kib * 1024
            fits &= size.ram + size.stack <= board.ram_kib * 1024
            cells += [
                f"{size.flash:,}",
                f"{size.ram:,}",
                f"{size.stack:,}",
                "yes" if fits else "no",
            ]
        lines.append(f"| {' | '.join([*cells, board.source])} |")
    return [
        *lines,
        "",
        "Sizes are in bytes, for the model with its self-test, compiled with -Os; the rest of a "
        "program needs more. RAM is the workspace, the pixels and the result. The stack is that of "
        "the deepest chain of calls.",
    ]


def measure(source: CSource, command: Sequence[str]) -> Size:
    """Compile a model with -Os and measure the memory that it needs.

    Args:
        source: the model.
        command: a value of `COMPILERS`: the program and options that select the processor.

    Raises:
        EdgeError: the compiler reports an error.
    """
    with atomic_write.temporary_folder() as folder:
        (folder / f"{source.name}.h").write_text(source.header)
        (folder / f"{source.name}.c").write_text(source.code)
        (folder / "ram.c").write_text(file_for(source, "ram.c"))
        options = ["-std=c99", "-Os", "-ffreestanding", "-ffunction-sections", "-fdata-sections"]
        entry = [f"-Wl,--entry={source.name}_classify", f"-Wl,-u,{source.name}_selftest"]
        link = ["-nostdlib", "-Wl,--gc-sections", *entry, f"{source.name}.c", "-lgcc", "-o", "out"]
        _run([*command, *options, *link], folder)
        flash, data, _ = _size([command[0].replace("gcc", "size"), "out"], folder)
        _run([*command, *options, "-c", "ram.c"], folder)
        *_, ram = _size([command[0].replace("gcc", "size"), "ram.o"], folder)
        calls = ["-fcallgraph-info=su", "-c", f"{source.name}.c"]
        _run([*command, *options, *calls], folder)
        graph = (folder / f"{source.name}.ci").read_text()
        roots = [f"{source.name}_classify", f"{source.name}_selftest"]
        return Size(flash + data, ram, max(deepest_stack(graph, root) for root in roots))


def deepest_stack(graph: str, root: str) -> int:
    """Return the largest stack of a function in bytes, including all functions that it calls.

    GCC prints no stack size for functions of its own library, such as a division. They count as 0.

    Args:
        graph: text of a file that GCC writes with -fcallgraph-info=su. It must not contain
            recursive functions.
        root: name of the function; an unknown name gives 0.
    """
    frames = {
        name: int(size)
        for name, size in re.findall(r'node: \{ title: "([^"]+)" label: "[^"]*?(\d+) bytes', graph)
    }
    calls = re.findall(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"', graph)

    def depth(function: str) -> int:
        below = (depth(called) for caller, called in calls if caller == function)
        return frames.get(function, 0) + max(below, default=0)

    return depth(root)


def _size(command: list[str], folder: Path) -> tuple[int, int, int]:
    """Run GCC's program `size`; return the bytes of the sections text, data and bss."""
    text, data, bss, *_ = _run(command, folder).splitlines()[1].split()
    return int(text), int(data), int(bss)


def _run(command: list[str], folder: Path) -> str:
    """Run a command in `folder` and return its standard output."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        printed = " ".join((done.stdout + done.stderr).split())[-_MESSAGE_CHARACTERS:]
        raise EdgeError(
            f"{command[0]} cannot compile the model for --boards; install another version of this "
            f"compiler; output: {printed}"
        )
    return done.stdout
