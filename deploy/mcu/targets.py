"""Define the emulated microcontrollers: compiler options, QEMU board and memory addresses.

`deploy.mcu.run` measures every target with every optimization option.
"""

from dataclasses import dataclass, replace

OPTIMIZATIONS = ("-O2", "-Os")  # GCC's options: fast code, small code


@dataclass(frozen=True)
class Target:
    """A processor, and a board with this processor that QEMU emulates.

    Attributes:
        name: name in the table of results.
        compiler: prefix of the names of GCC's programs, as "arm-none-eabi-".
        options: GCC's options that select the processor.
        emulator: QEMU's program and the options that select the board.
        flash: address of the code.
        ram: address of the data.
        start: startup code: a file in `firmware/` that calls `main`.
        preprocesses: the board has enough RAM for digits_preprocess, 180 KB.
    """

    name: str
    compiler: str
    options: tuple[str, ...]
    emulator: tuple[str, ...]
    flash: int
    ram: int
    start: str = "start_cortex_m.c"
    preprocesses: bool = True


def _cortex_m(
    name: str, options: tuple[str, ...], board: str, flash: int = 0, ram: int = 0x2000_0000
) -> Target:
    """Return a Cortex-M target; `options` are added to GCC's options for the processor."""
    cpu = (f"-mcpu={name}", "-mthumb", *options)
    return Target(name, "arm-none-eabi-", cpu, ("qemu-system-arm", "-M", board), flash, ram)


# With TrustZone, the same memory has a secure and a non-secure address. The processor starts with
# the secure one, 0x1000_0000. The boards of the other Cortex-M start at address 0.
TARGETS = (
    replace(_cortex_m("cortex-m0", (), "microbit"), preprocesses=False),
    _cortex_m("cortex-m3", (), "mps2-an385"),
    _cortex_m("cortex-m4", ("-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"), "mps2-an386"),
    _cortex_m("cortex-m7", ("-mfloat-abi=hard", "-mfpu=fpv5-d16"), "mps2-an500"),
    _cortex_m("cortex-m33", ("-mfloat-abi=soft",), "mps2-an505", 0x1000_0000, 0x3800_0000),
    _cortex_m("cortex-m55", ("-mfloat-abi=hard",), "mps3-an547", 0x1000_0000, 0x3000_0000),
    Target(
        "rv32imac",
        "riscv64-unknown-elf-",
        # RISC-V's specification 2.2 includes the cycle counter in the base instruction set.
        ("-misa-spec=2.2", "-march=rv32imac", "-mabi=ilp32", "-mcmodel=medany"),
        ("qemu-system-riscv32", "-M", "virt", "-bios", "none"),
        0x8000_0000,
        0x8010_0000,
        "start_riscv.S",
    ),
)
