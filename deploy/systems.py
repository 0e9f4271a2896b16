"""Systems and processors that are emulated, and the engines of each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class System:
    """An operating system of the Raspberry Pi, as it is flashed.

    Attributes:
        name: the suite and the architecture, as in the table of results.
        python: its Python.
        engines: those that exist for it, the installer's choice first.
        absent: why the others do not.
        cpus: QEMU's names of the processors it runs on.
        wheels: pip's names of its platform; none where no engine has a wheel for it.
    """

    suite: str
    architecture: str
    python: str
    engines: tuple[str, ...]
    absent: dict[str, str]
    cpus: tuple[str, ...]
    wheels: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.suite}-{self.architecture}"

    @property
    def bits(self) -> int:
        return 64 if self.architecture == "arm64" else 32

    @property
    def measured_on(self) -> tuple[str, ...]:
        """The processors of full-system mode: a 32-bit system runs there under a 64-bit kernel."""
        return self.cpus if self.bits == 64 else ("cortex-a53",)


# Pi 3 and Zero 2 W, Pi 4, Pi 5. A 32-bit system runs on the same, and on the Pi 2.
_CPUS = ("cortex-a53", "cortex-a72", "cortex-a76")
_ARM64 = (
    *tuple(f"manylinux_2_{minor}_aarch64" for minor in (28, 27, 17, 34, 35)),
    "manylinux2014_aarch64",
)
_ARMHF = ("manylinux_2_34_armv7l", "manylinux_2_31_armv7l")

_NO_32_BIT = "no 32-bit wheel"
_PYTHON_311 = "its last wheel is for Python 3.11"

SYSTEMS = (
    System("bookworm", "arm64", "3.11", ("litert", "tflite", "onnx"), {}, _CPUS, _ARM64),
    System("trixie", "arm64", "3.13", ("litert", "onnx"), {"tflite": _PYTHON_311}, _CPUS, _ARM64),
    System(
        "bookworm",
        "armhf",
        "3.11",
        ("tflite",),
        {"litert": _NO_32_BIT, "onnx": f"{_NO_32_BIT}, and not in Debian 12"},
        ("cortex-a7",),
        _ARMHF,
    ),
    System(
        "trixie",
        "armhf",
        "3.13",
        ("onnx",),
        {"litert": _NO_32_BIT, "tflite": _PYTHON_311},
        ("cortex-a7",),
        (),
    ),
)
# Raspberry Pi OS for the Pi Zero and the Pi 1.
NO_ENGINE = {"armv6": "no engine is built for it, and Debian's programs die there (SIGILL)"}
