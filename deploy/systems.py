"""List the supported Raspberry Pi systems: operating system, processors and available engines.

`deploy.bundle` downloads wheels for these systems, and `deploy.emulation` tests and measures them.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class System:
    """A Raspberry Pi operating system.

    Attributes:
        suite: Debian release that the system is based on, such as "trixie".
        architecture: Debian architecture: "arm64", "armhf" (ARMv7), or "armel" (ARMv6).
        python: version of the system's Python, such as "3.13".
        engines: available engines, by the names of the package's extras; install-pi.sh chooses the
            first.
        absent: unavailable engine → reason.
        cpus: processors that the system runs on, by their QEMU names.
        wheels: pip platform tags of the wheels that the system can install; empty if no engine has
            a wheel for the system.
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
        """Suite and architecture, such as "trixie-arm64"."""
        return f"{self.suite}-{self.architecture}"

    @property
    def bits(self) -> int:
        """Size of a pointer in bits: 64 or 32."""
        return 64 if self.architecture == "arm64" else 32

    @property
    def measured_on(self) -> tuple[str, ...]:
        """Processors that QEMU's full-system mode emulates to measure the system.

        An armhf system is measured on a 64-bit processor under a 64-bit kernel, as Raspberry Pi OS
        runs it.
        """
        return ("cortex-a53",) if self.architecture == "armhf" else self.cpus


# Processors of 64-bit and of 32-bit systems, by their QEMU names.
_ARM64_CPUS = (
    "cortex-a53",  # Pi 3 and Zero 2 W
    "cortex-a72",  # Pi 4
    "cortex-a76",  # Pi 5
)
_ARMHF_CPUS = ("cortex-a7",)  # Pi 2; the Pi 3, 4, 5 and Zero 2 W run 32-bit systems too
_ARMV6_CPUS = ("arm1176",)  # Pi 1, Zero and Zero W

# Platform tags for pip download: a wheel with the tag manylinux_2_N needs glibc 2.N or newer.
# manylinux2014 is manylinux_2_17.
_ARM64_TAGS = (
    "manylinux_2_28_aarch64",
    "manylinux_2_27_aarch64",
    "manylinux_2_17_aarch64",
    "manylinux_2_34_aarch64",
    "manylinux_2_35_aarch64",
    "manylinux2014_aarch64",
)
# Likewise for 32-bit wheels.
_ARMHF_TAGS = ("manylinux_2_34_armv7l", "manylinux_2_31_armv7l")

# Reasons why an engine is unavailable, for the table benchmarks/results/pi.md.
_NO_32_BIT = "no 32-bit wheel"
_PYTHON_311 = "its last wheel is for Python 3.11"
_NO_ARMV6 = "not built for ARMv6"

SYSTEMS = (  # all supported systems
    System(
        suite="bookworm",
        architecture="arm64",
        python="3.11",
        engines=("litert", "tflite", "onnx"),
        absent={},
        cpus=_ARM64_CPUS,
        wheels=_ARM64_TAGS,
    ),
    System(
        suite="trixie",
        architecture="arm64",
        python="3.13",
        engines=("litert", "onnx"),
        absent={"tflite": _PYTHON_311},
        cpus=_ARM64_CPUS,
        wheels=_ARM64_TAGS,
    ),
    System(
        suite="bookworm",
        architecture="armhf",
        python="3.11",
        engines=("tflite",),
        absent={"litert": _NO_32_BIT, "onnx": f"{_NO_32_BIT}, and not in Debian 12"},
        cpus=_ARMHF_CPUS,
        wheels=_ARMHF_TAGS,
    ),
    System(
        suite="trixie",
        architecture="armhf",
        python="3.13",
        engines=("onnx",),  # Debian's package python3-onnxruntime
        absent={"litert": _NO_32_BIT, "tflite": _PYTHON_311},
        cpus=_ARMHF_CPUS,
        wheels=(),
    ),
    # In place of Raspberry Pi OS for ARMv6, whose packages only its own server has. Debian's armhf
    # does not run on ARMv6. Its armel does: the same packages, without hardware floating point.
    System(
        suite="bookworm",
        architecture="armel",
        python="3.11",
        engines=("native",),  # the C compiler of the system compiles the model
        absent=dict.fromkeys(("litert", "tflite", "onnx"), _NO_ARMV6),
        cpus=_ARMV6_CPUS,
        wheels=(),
    ),
)
