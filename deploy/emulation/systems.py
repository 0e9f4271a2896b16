"""The systems and the processors that are emulated, and which engine runs on which."""

from dataclasses import dataclass

from deploy.emulation.debian import Suite


@dataclass(frozen=True)
class System:
    """An operating system of the Raspberry Pi, as it is flashed.

    Attributes:
        name: the suite and the architecture, as in the table of results.
        python: its Python.
        engines: those that exist for it, the installer's choice first.
        cpus: QEMU's names of the processors it runs on.
        wheels: pip's names of its platform; none where NumPy has no wheel for it either.
    """

    suite: str
    architecture: str
    python: str
    engines: tuple[str, ...]
    cpus: tuple[str, ...]
    wheels: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.suite}-{self.architecture}"

    @property
    def debian(self) -> Suite:
        return Suite(self.suite, self.architecture)


# Pi 3 and Zero 2 W, Pi 4, Pi 5. A 32-bit system runs on the same, and on the Pi 2.
_CPUS = ("cortex-a53", "cortex-a72", "cortex-a76")
_ARM64 = tuple(f"manylinux_2_{minor}_aarch64" for minor in (28, 27, 17, 34, 35)) + (
    "manylinux2014_aarch64",
)
_ARMHF = ("manylinux_2_34_armv7l", "manylinux_2_31_armv7l")

SYSTEMS = (
    System("bookworm", "arm64", "3.11", ("litert", "tflite", "onnx"), _CPUS, _ARM64),
    System("trixie", "arm64", "3.13", ("litert", "onnx"), _CPUS, _ARM64),
    System("bookworm", "armhf", "3.11", ("tflite",), ("cortex-a7",), _ARMHF),
    System("trixie", "armhf", "3.13", ("onnx",), ("cortex-a7",), ()),
)
