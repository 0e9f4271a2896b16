"""Does a model fit? Its flash, RAM and stack, by the compilers at hand, beside boards' figures."""

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
    """A board, from its vendor's documents.

    Attributes:
        processor: a key of `COMPILERS`.
        flash_kib: for the program.
        ram_kib: for data and stack.
        source: the document with these figures.
    """

    name: str
    processor: str
    flash_kib: int
    ram_kib: int
    source: str


@dataclass(frozen=True)
class Size:
    """What a model takes of a processor's memory, in bytes; RAM without the stack."""

    flash: int
    ram: int
    stack: int


_CORTEX_M = ("arm-none-eabi-gcc", "-mthumb")
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
    """Return the lines of a table: each board, what the model takes of it, and whether it fits.

    Raises:
        EdgeError: a compiler refuses the files.
    """
    sizes = {
        processor: measure(source, command)
        for processor, command in COMPILERS.items()
        if shutil.which(command[0])
    }
    lines = [
        "| board | processor | flash, KiB | RAM, KiB | flash taken | RAM taken | stack | fits | "
        "source |",
        "|---|---|---:|---:|---:|---:|---:|---|---|",
    ]
    for board in BOARDS:
        size = sizes.get(board.processor)
        cells = [board.name, board.processor, f"{board.flash_kib:,}", f"{board.ram_kib:,}"]
        if size is None:
            cells += ["size not measured", "", "", f"no {COMPILERS[board.processor][0]} here"]
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
        "Taken, in bytes, by the model with its self-test at -Os, without the rest of a program: "
        "RAM is the workspace, the pixels and the result; the stack is the deepest chain of calls.",
    ]


def measure(source: CSource, command: Sequence[str]) -> Size:
    """Return what a model takes, compiled for size.

    Raises:
        EdgeError: the compiler refuses the files.
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
    """Return the most stack, in bytes, that a function and those it calls use together.

    Args:
        graph: a file of GCC's -fcallgraph-info=su.
        root: the function's name.


    Functions of the compiler's own library, such as a division, have no figure and count as 0.
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
    """Return the bytes of text, data and bss."""
    text, data, bss, *_ = _run(command, folder).splitlines()[1].split()
    return int(text), int(data), int(bss)


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        printed = " ".join((done.stdout + done.stderr).split())[-1000:]
        raise EdgeError(f"{command[0]} refuses the files: {printed}")
    return done.stdout
