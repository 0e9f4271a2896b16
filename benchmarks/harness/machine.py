"""The machine a benchmark ran on: what must match before two runs are compared."""

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass

from runtime.system.host import celsius, peak_memory_bytes, text, throttled, usable_cores

__all__ = ["Host", "describe", "peak_memory_bytes", "usable_cores"]


@dataclass(frozen=True)
class Host:
    """A machine and its state; names of users and of the machine itself stay out of reports.

    Attributes:
        machine: the processor's architecture, "x86_64" or "aarch64".
        cpu: the processor's name, or the board's.
        cores: those this process may use.
        memory_bytes: physical memory; 0 where the system does not say.
        system: the operating system and its release.
        python, numpy: versions.
        governor: the frequency governor; empty where the system does not say, as in most virtual
            machines.
        mhz: the frequency of the first core now; 0 where the system does not say.
        celsius: the first thermal zone; 0 where the system does not say.
        throttled: a Raspberry Pi's `get_throttled` flags; empty elsewhere.
        gpu: the graphics cards that NVIDIA's driver names; empty without it.
        load: processes that ran or waited to run in the last minute, on average.
    """

    machine: str
    cpu: str
    cores: int
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
        """What two runs must share for their timings to be comparable."""
        return self.machine, self.cpu, self.cores, self.system.split()[0]


def describe() -> Host:
    """The machine as it is now."""
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
            _said("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").splitlines()
        ),
    )


def _cpu() -> str:
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
    now = text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
    if now:
        return int(now) // 1000
    for line in text("/proc/cpuinfo").splitlines():
        if line.startswith("cpu MHz"):
            return int(float(line.partition(":")[2]))
    return 0


def _said(program: str, *arguments: str) -> str:
    if shutil.which(program) is None:
        return ""
    answer = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else ""
