"""Describes the machine that a benchmark runs on: hardware, versions, temperature, load.

The description is part of every report. `benchmarks.compare` refuses reports of different machines.
"""

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass

from benchmarks.harness.serialize import Positive
from runtime.system.host import celsius, peak_memory_bytes, text, throttled, usable_cores

__all__ = ["Host", "describe", "peak_memory_bytes", "usable_cores"]


@dataclass(frozen=True)
class Host:
    """A machine and its current state, without the host name or any user name.

    Attributes:
        machine: the processor's architecture, "x86_64" or "aarch64".
        cpu: the processor's name, or the board's.
        cores: the number of cores this process may use.
        memory_bytes: physical memory; 0 if unknown.
        system: the operating system and its release.
        python: the version of Python.
        numpy: the version of NumPy.
        governor: the CPU frequency governor; empty if unknown, as in most virtual machines.
        mhz: the current frequency of the first core; 0 if unknown.
        celsius: the temperature of the first thermal zone; 0 if unknown.
        throttled: a Raspberry Pi's `get_throttled` flags; empty on other machines.
        load: the load average of the last minute: processes running or waiting to run.
        gpu: the names of the NVIDIA graphics cards; empty without NVIDIA's driver.
    """

    machine: str
    cpu: str
    cores: Positive
    memory_bytes: int
    system: str
    python: str
    numpy: str
    governor: str
    mhz: int
    celsius: float
    throttled: str
    load: float
    gpu: str = ""

    def identity(self) -> tuple[str, str, int, str]:
        """Return the properties that must be equal in two runs whose timings are compared."""
        return self.machine, self.cpu, self.cores, self.system.partition(" ")[0]


def describe() -> Host:
    """Return a description of this machine in its current state."""
    import numpy as np

    return Host(
        machine=platform.machine(),
        cpu=_cpu(),
        cores=usable_cores(),
        memory_bytes=_memory_bytes(),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        numpy=np.__version__,
        governor=text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        mhz=_mhz(),
        celsius=celsius(),
        throttled=throttled(),
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0,
        gpu=", ".join(
            _stdout_of("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").splitlines()
        ),
    )


def _cpu() -> str:
    """Return the name of the board or the processor."""
    board = text("/proc/device-tree/model")
    if board:
        return board
    for line in text("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def _mhz() -> int:
    khz = text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
    if khz:
        return int(khz) // 1000
    for line in text("/proc/cpuinfo").splitlines():
        if line.startswith("cpu MHz"):
            return int(float(line.partition(":")[2]))
    return 0


def _stdout_of(program: str, *arguments: str) -> str:
    """Run a program and return its standard output; empty if it is missing or fails."""
    if shutil.which(program) is None:
        return ""
    process = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    return process.stdout.strip() if process.returncode == 0 else ""
