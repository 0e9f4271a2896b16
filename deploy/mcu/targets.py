"""The microcontrollers that are emulated, and how C is compiled for each."""

from dataclasses import dataclass

OPTIMIZATIONS = ("-O2", "-Os")


@dataclass(frozen=True)
class Target:
    """A processor, and the board that QEMU emulates with it.

    Attributes:
        name: as in the table of results.
        compiler: the prefix of GCC's and the linker's programs.
        options: those that choose the processor.
        emulator: QEMU's program and the board.
        flash: the address of the code.
        ram: the address of the data.
        start: the file of `firmware/` that calls main.
    """

    name: str
    compiler: str
    options: tuple[str, ...]
    emulator: tuple[str, ...]
    flash: int
    ram: int
    start: str = "start_cortex_m.c"


def _cortex_m(
    name: str, options: tuple[str, ...], board: str, flash: int = 0, ram: int = 0x2000_0000
) -> Target:
    cpu = (f"-mcpu={name}", "-mthumb", *options)
    return Target(name, "arm-none-eabi-", cpu, ("qemu-system-arm", "-M", board), flash, ram)


# Boards start at the secure alias of their memory if there is one (0x1000_0000).
TARGETS = (
    _cortex_m("cortex-m0", (), "microbit"),
    _cortex_m("cortex-m3", (), "mps2-an385"),
    _cortex_m("cortex-m4", ("-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"), "mps2-an386"),
    _cortex_m("cortex-m7", ("-mfloat-abi=hard", "-mfpu=fpv5-d16"), "mps2-an500"),
    _cortex_m("cortex-m33", ("-mfloat-abi=soft",), "mps2-an505", 0x1000_0000, 0x3800_0000),
    _cortex_m("cortex-m55", ("-mfloat-abi=hard",), "mps3-an547", 0x1000_0000, 0x3000_0000),
    Target(
        "rv32imac",
        "riscv64-unknown-elf-",
        # The older specification has the cycle counter in the base instructions.
        ("-misa-spec=2.2", "-march=rv32imac", "-mabi=ilp32", "-mcmodel=medany"),
        ("qemu-system-riscv32", "-M", "virt", "-bios", "none"),
        0x8000_0000,
        0x8010_0000,
        "start_riscv.S",
    ),
)
